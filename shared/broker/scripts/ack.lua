-- ack: consumer, then tokens. Returns how many claims it settled.
--
-- Invariant: a claim is settled only by the consumer that holds it; the ack of a lost claim does nothing.

local consumer, of_queue, of_kind, fewer, settled = ARGV[1], {}, {}, {}, 0
for i = 2, #ARGV do
  local queue = queue_of(list_of(ARGV[i]))
  of_queue[queue] = of_queue[queue] or {}
  table.insert(of_queue[queue], ARGV[i])
end

if redis.call('EXISTS', DEATHS) == 1 then -- rare, and needs the payloads
  for _, tokens in pairs(of_queue) do
    for _, payload in ipairs(redis.call('HMGET', CLAIMS .. consumer, unpack(tokens))) do
      if payload then
        redis.call('HDEL', DEATHS, redis.sha1hex(payload))
      end
    end
  end
end
for queue, tokens in pairs(of_queue) do
  local count = redis.call('HDEL', CLAIMS .. consumer, unpack(tokens))
  redis.call('HDEL', ALONE, unpack(tokens))
  fewer[queue], settled = count > 0 and count or nil, settled + count
  local kind = string.match(queue, '^(%l+)%.%d+$') or queue
  of_kind[kind] = (of_kind[kind] or 0) + count
end
for kind, count in pairs(of_kind) do
  if count > 0 then
    redis.call('HINCRBY', SETTLED, kind, count)
  end
end
release(consumer, fewer)
return settled
