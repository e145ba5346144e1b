-- delay: consumer, 'at' or 'in', then pairs (token, milliseconds). Returns how many it moved.
--
-- Invariant: a claim becomes a delayed message in one step; its payload is unchanged, and so is its count of deaths.

local consumer, start = ARGV[1], 0
if ARGV[2] == 'in' then
  start = now_ms()
end
local moved = 0
for i = 3, #ARGV, 2 do
  local payload = take_claims(consumer, {ARGV[i]})[1]
  if payload then
    redis.call('ZADD', DELAYED, start + ARGV[i + 1], ARGV[i] .. '\n' .. payload)
    moved = moved + 1
  end
end
return moved
