-- join: consumer, lease in ms, number of lanes (0: it reads none), its single-active queues separated by spaces, its format of the keys.
-- Returns 0, or the fleet's number of lanes when it differs, or the fleet's format negated when that differs: then nothing was done.
--
-- Invariant: all consumers agree on the number of lanes and on the format. Joining again changes what the consumer reads.

local format = redis.call('GET', FORMAT)
if format and format ~= ARGV[5] then
  return -tonumber(format)
end
local lanes = tonumber(redis.call('GET', LANES) or 0)
local wanted = tonumber(ARGV[3])
if wanted > 0 and lanes > 0 and wanted ~= lanes then
  return lanes
end
redis.call('ZREM', CONSUMERS, ARGV[1])
redis.call('ZADD', CONSUMERS, now_ms() + ARGV[2], ARGV[1])
redis.call('HSET', CONSUMING, ARGV[1], ARGV[4])
if wanted > 0 then
  redis.call('SET', LANES, wanted)
end
if not format then
  redis.call('SET', FORMAT, ARGV[5])
end
redis.call('INCR', EPOCH)
redis.call('PUBLISH', WAKE, EPOCH)
return 0
