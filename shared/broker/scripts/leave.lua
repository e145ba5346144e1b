-- leave: consumer. Returns how many claims it still had: then it stays, and the caller gives them back first.
--
-- Invariant: a consumer with claims is never forgotten.

local claims = redis.call('HLEN', CLAIMS .. ARGV[1])
if claims == 0 and redis.call('ZREM', CONSUMERS, ARGV[1]) == 1 then
  redis.call('PUBLISH', WAKE, EPOCH)
  redis.call('HDEL', CONSUMING, ARGV[1])
  redis.call('INCR', EPOCH)
end
return claims
