-- claim: consumer, messages at most, bytes at most, then pairs (list, '1' when its queue has a single active consumer).
-- Returns {epoch, now in ms, {token, 'deaths alone', ...}, token, payload, token, payload, ...}, or {} when the lease is lost.
--
-- Invariant: what leaves a list stands in the claimer's hash when the script ends, so no kill can fall between the two.
-- Invariant: a single-active queue is claimed only while no other consumer holds a claim of it.
-- Lists get equal shares; what a shallow one leaves is shared equally by the others, so a deep lane starves none and two deep ones
-- go on together. At least one message passes the byte bound.

local CHUNK = 16 -- pops at once; what passes the byte bound is pushed back, so this also bounds how much

local consumer, room, bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if not is_member(consumer) then
  return {}
end

local paused, held, open = {}, {}, {}
for _, queue in ipairs(redis.call('SMEMBERS', PAUSED)) do
  paused[queue] = true
end
local holders = redis.call('HGETALL', HELD)
for i = 1, #holders, 2 do
  local holder, number = string.match(holders[i + 1], '^(.*) (%d+)$')
  held[holders[i]] = {holder = holder, number = tonumber(number)}
end
for i = 4, #ARGV, 2 do
  local queue = queue_of(ARGV[i])
  local other = held[queue] and held[queue].holder ~= consumer
  if not paused[queue] and not (ARGV[i + 1] == '1' and other) then
    open[#open + 1] = {list = ARGV[i], queue = queue, single = ARGV[i + 1] == '1'}
  end
end

local claims, serial, more = CLAIMS .. consumer, nil, {}
local reply = {tonumber(redis.call('GET', EPOCH) or 0), now_ms(), {}}
local limit = room

-- Whether the list is used up; else it gave all that was wanted, or the claim is full.
local function take(source, want)
  while want > 0 and room > 0 do
    local asked = math.min(want, room, CHUNK)
    local popped = redis.pcall('RPOP', source.list, asked)
    if not popped or popped.err or #popped == 0 then -- empty, or not a list: an error here must not lose what was popped before
      return true
    end
    serial = serial or redis.call('INCRBY', SERIAL, limit) - limit
    local record = {}
    for i, payload in ipairs(popped) do
      if room < limit and #payload > bytes then
        for back = #popped, i, -1 do
          redis.call('RPUSH', source.list, popped[back])
        end
        room = 0
        break
      end
      serial, room, want, bytes = serial + 1, room - 1, want - 1, bytes - #payload
      local token = source.list .. '|' .. string.format('%d', serial)
      record[#record + 1], record[#record + 2] = token, payload
      reply[#reply + 1], reply[#reply + 2] = token, payload
    end
    if #record > 0 then
      redis.call('HSET', claims, unpack(record))
      if source.single then
        more[source.queue] = (more[source.queue] or 0) + #record / 2
      end
    end
    if #popped < asked then
      return true
    end
  end
  return false
end

while room > 0 and #open > 0 do
  local share, deep = math.max(1, math.floor(room / #open)), {}
  for _, source in ipairs(open) do
    if not take(source, share) then
      deep[#deep + 1] = source
    end
  end
  open = deep
end

for queue, count in pairs(more) do
  local before = held[queue] and held[queue].number or 0
  redis.call('HSET', HELD, queue, consumer .. ' ' .. (before + count))
end
if redis.call('EXISTS', DEATHS) == 1 then
  for i = 4, #reply, 2 do
    local deaths = redis.call('HGET', DEATHS, redis.sha1hex(reply[i + 1]))
    if deaths then
      table.insert(reply[3], reply[i])
      table.insert(reply[3], deaths)
    end
  end
end
return reply
