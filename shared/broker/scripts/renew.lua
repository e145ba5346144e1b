-- renew: consumer, lease in ms. Returns 1, or 0 when the lease is lost.
--
-- Invariant: a lease that was taken away never comes back.

if not is_member(ARGV[1]) then
  return 0
end
redis.call('ZREM', CONSUMERS, ARGV[1])
redis.call('ZADD', CONSUMERS, now_ms() + ARGV[2], ARGV[1])
return 1
