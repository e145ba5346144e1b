-- forward: consumer, then pairs (token, list). Returns how many it moved.
--
-- Invariant: a claim goes to the tail of the named list in one step; claims forwarded together arrive in the given order.

local consumer, tokens, target, queues = ARGV[1], {}, {}, {}
for i = 2, #ARGV, 2 do
  tokens[#tokens + 1], target[#target + 1] = ARGV[i], ARGV[i + 1]
end
local moved = 0
for i, payload in ipairs(take_claims(consumer, tokens)) do
  if payload then
    redis.call('LPUSH', target[i], payload)
    queues[queue_of(target[i])] = true
    moved = moved + 1
  end
end
wake(queues)
return moved
