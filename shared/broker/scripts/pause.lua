-- pause: queues. Returns nothing.
--
-- Invariant: none of them is claimed from until it is resumed; claims of them are not touched.

for _, queue in ipairs(ARGV) do
  redis.call('SREM', PAUSED, queue)
  redis.call('SADD', PAUSED, queue)
end
