-- promote: messages at most, '' or 'all' when not only those that are due. Returns {moved, ms until the next is due or -1}.
--
-- Invariant: a delayed message goes to the tail of the list it came from, in one step, unchanged.

local limit, now = tonumber(ARGV[1]), now_ms()
local until_ms = ARGV[2] == 'all' and '+inf' or now
local due = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', until_ms, 'LIMIT', 0, limit)
local queues = {}
for _, member in ipairs(due) do
  local token, payload = string.match(member, '^([^\n]*)\n(.*)$')
  redis.call('ZREM', DELAYED, member)
  redis.call('LPUSH', list_of(token), payload)
  queues[queue_of(list_of(token))] = true
end
wake(queues)
local following = redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')
return {#due, following[2] and math.max(0, following[2] - now) or -1}
