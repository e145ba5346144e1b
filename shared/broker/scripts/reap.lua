-- reap: claims to return at most, the fleet's lease in ms. Takes one consumer whose lease has ended.
-- Returns {consumer or '', returned, left}.
--
-- Invariant: leases that ended while nobody was served are no deaths. Consumers look each third of a lease; when for more than half
-- of one nobody has (the server was down or stood still, or its clock was set forward), nothing is taken for half of one, in which
-- everybody who lives renews. Not twice in a row: a consumer that is alone and always late takes all the same.
-- A lease of 0 asks for no such patience.
--
-- Invariant: a dead consumer's messages stand at the heads of their lists in their order, each with one death more, and one more
-- "while alone" when it was. Until the last is back its lanes stay closed to others, and its lease cannot be renewed.

local limit, lease, now = tonumber(ARGV[1]), tonumber(ARGV[2]), now_ms()
if lease > 0 then
  local last, before, patient = string.match(redis.call('GET', LOOKED) or '0 regular 0', '^(%d+) (%l+) (%d+)$')
  local look = now - last > lease / 2 and 'late' or 'regular'
  if look == 'late' and before == 'regular' then
    patient = now + math.floor(lease / 2)
  elseif patient - now > lease then -- the clock was set back
    patient = 0
  end
  redis.call('DEL', LOOKED)
  redis.call('SET', LOOKED, string.format('%d %s %d', now, look, patient))
  if now < tonumber(patient) then
    return {'', 0, 0}
  end
end
local dead = redis.call('ZRANGEBYSCORE', CONSUMERS, '-inf', now, 'LIMIT', 0, 1)[1]
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
