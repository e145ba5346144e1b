-- begin_tick: entry, when it was due in milliseconds. Returns 'run' for the first who asks, 'repeated' after that, 'overtaken' when
-- a later tick of the entry has been sent: then that one does the work.

local entry, due = ARGV[1], tonumber(ARGV[2])
local now = now_ms()
local sent = tonumber(redis.call('HGET', TICKS_SENT, entry) or 0)
local begun = tonumber(redis.call('HGET', TICKS_BEGUN, entry) or 0)
if due < sent and sent <= now then
  return 'overtaken'
end
if due <= begun and begun <= now then
  return 'repeated'
end
redis.call('HSET', TICKS_BEGUN, entry, ARGV[2])
return 'run'
