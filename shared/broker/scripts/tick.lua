-- tick: entry, when it is due and its period (both in milliseconds), queue, payload. Returns 1, or 0 when that tick was sent before.
--
-- Invariant: a tick is marked as sent and put into the queue in one step, and a mark only grows. So a tick is sent once by however
-- many beats, and one that was paused for an hour sends nothing old. A mark of the future, left by a server whose clock was
-- ahead of this one's, does not count.

local entry, due, period, now = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), now_ms()
local sent = tonumber(redis.call('HGET', TICKS_SENT, entry) or 0)
if due > now or (due <= sent and sent <= now + period) then
  return 0
end
redis.call('HSET', TICKS_SENT, entry, ARGV[2])
redis.call('LPUSH', ARGV[4], ARGV[5])
redis.call('PUBLISH', WAKE, ARGV[4])
return 1
