-- Stands before every script, after the key names of keys.py.
--
-- Rules that all scripts keep:
--   * The first write frees memory (RPOP, HDEL, ZREM): then a Redis over `maxmemory` with `noeviction` lets the whole script run.
--   * Removing and adding happen in one script, so a message is always in exactly one place.
--   * A payload is moved, never parsed. Time is the server's.

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function list_of(token)
  return string.match(token, '^(.*)|%d+$')
end

local function queue_of(list)
  return string.match(list, '^(.*)\6\22%d$') or list
end

-- Whether the consumer's lease stands. Expired and not yet taken away still stands: nobody else has its claims.
local function is_member(consumer)
  local ends = redis.call('ZSCORE', CONSUMERS, consumer)
  return ends and tonumber(ends) > 0
end

-- The consumer holds fewer claims of single-active queues; a queue with none is open to the next.
local function release(consumer, fewer)
  for queue, count in pairs(fewer) do
    local holder, number = string.match(redis.call('HGET', HELD, queue) or '', '^(.*) (%d+)$')
    if holder == consumer then
      if tonumber(number) > count then
        redis.call('HSET', HELD, queue, consumer .. ' ' .. (number - count))
      else
        redis.call('HDEL', HELD, queue)
      end
    end
  end
end

-- The payloads of the consumer's tokens (false where the claim is lost), taken out of its claims.
local function take_claims(consumer, tokens)
  local claims = CLAIMS .. consumer
  local payloads = redis.call('HMGET', claims, unpack(tokens))
  redis.call('HDEL', claims, unpack(tokens))
  redis.call('HDEL', ALONE, unpack(tokens))
  local fewer = {}
  for i, token in ipairs(tokens) do
    if payloads[i] then
      local queue = queue_of(list_of(token))
      fewer[queue] = (fewer[queue] or 0) + 1
    end
  end
  release(consumer, fewer)
  return payloads
end

local function wake(queues)
  local names = {}
  for queue in pairs(queues) do
    names[#names + 1] = queue
  end
  if #names > 0 then
    redis.call('PUBLISH', WAKE, table.concat(names, ' '))
  end
end

-- Messages return to the heads of their lists. The newest is pushed first, so the oldest ends outermost: order is kept.
local function hand_back(consumer, tokens)
  local number = {}
  for _, token in ipairs(tokens) do
    number[token] = tonumber(string.match(token, '|(%d+)$'))
  end
  table.sort(tokens, function(a, b) return number[a] > number[b] end)
  local payloads = take_claims(consumer, tokens)
  local queues = {}
  for i, token in ipairs(tokens) do
    if payloads[i] then
      local list = list_of(token)
      redis.call('RPUSH', list, payloads[i])
      queues[queue_of(list)] = true
    end
  end
  wake(queues)
  return payloads
end

-- Up to `limit` of all the consumer's tokens, the newest first, and how many are left.
local function newest_tokens(consumer, limit)
  local tokens = redis.call('HKEYS', CLAIMS .. consumer)
  if #tokens <= limit then
    return tokens, 0
  end
  local number = {}
  for _, token in ipairs(tokens) do
    number[token] = tonumber(string.match(token, '|(%d+)$'))
  end
  table.sort(tokens, function(a, b) return number[a] > number[b] end)
  local newest = {}
  for i = 1, limit do
    newest[i] = tokens[i]
  end
  return newest, #tokens - limit
end
