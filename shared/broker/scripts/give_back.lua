-- give_back: consumer, '' for all of its claims or else 'these', tokens or the number to return at most.
-- Returns {returned, left}; with 'these', left is 0.
--
-- Invariant: the messages stand at the heads of their lists in the order in which they were claimed; no death is counted.

local consumer, tokens, left = ARGV[1], {}, 0
if ARGV[2] == '' then
  tokens, left = newest_tokens(consumer, tonumber(ARGV[3]))
else
  for i = 3, #ARGV do
    tokens[#tokens + 1] = ARGV[i]
  end
end
local returned = 0
if #tokens > 0 then
  for _, payload in ipairs(hand_back(consumer, tokens)) do
    returned = returned + (payload and 1 or 0)
  end
end
return {returned, left}
