-- reap: claims to return at most. Takes one consumer whose lease has ended. Returns {consumer or '', returned, left}.
--
-- Invariant: a dead consumer's messages stand at the heads of their lists in their order, each with one death more, and one more
-- "while alone" when it was. Until the last is back its lanes stay closed to others, and its lease cannot be renewed.

local limit = tonumber(ARGV[1])
local dead = redis.call('ZRANGEBYSCORE', CONSUMERS, '-inf', now_ms(), 'LIMIT', 0, 1)[1]
if not dead then
  return {'', 0, 0}
end
redis.call('ZREM', CONSUMERS, dead)
local tokens, left = newest_tokens(dead, limit)
if #tokens > 0 then
  local alone = redis.call('HMGET', ALONE, unpack(tokens))
  local was_alone = {}
  for i, token in ipairs(tokens) do
    was_alone[token] = alone[i] and 1 or 0
  end
  local payloads = hand_back(dead, tokens)
  for i, token in ipairs(tokens) do
    local digest = redis.sha1hex(payloads[i])
    local deaths, lonely = string.match(redis.call('HGET', DEATHS, digest) or '0 0', '^(%d+) (%d+)$')
    redis.call('HSET', DEATHS, digest, (deaths + 1) .. ' ' .. (lonely + was_alone[token]))
  end
end
if left > 0 then
  redis.call('ZADD', CONSUMERS, 0, dead)
else
  redis.call('PUBLISH', WAKE, EPOCH)
  redis.call('HDEL', CONSUMING, dead)
  redis.call('INCR', EPOCH)
end
return {dead, #tokens, left}
