-- mark_alone: consumer, then tokens. Returns how many are marked.
--
-- Invariant: only a live claim is marked; settling or returning it takes the mark away.

local marked = 0
for i = 2, #ARGV do
  redis.call('HDEL', ALONE, ARGV[i])
  if redis.call('HEXISTS', CLAIMS .. ARGV[1], ARGV[i]) == 1 then
    redis.call('HSET', ALONE, ARGV[i], 1)
    marked = marked + 1
  end
end
return marked
