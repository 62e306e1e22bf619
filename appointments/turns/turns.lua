-- Which locations have something due, and whose turn it is. Why: __init__.py. Times are in whole milliseconds.
-- `pace` is oauth/pace/memory.lua as a function, which has keys of its own.
-- KEYS: ready, later, served, and the queue of messages; ARGV: the command and its own.

local READY, LATER, SERVED, QUEUE = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
-- Messages enough to wake the threads of several processes; each wakes the next where more is waiting.
local ENOUGH = 40
-- A location that was not served for so long counts as one that never was.
local REMEMBERED = 60000

local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Several moments of a location that lie so close together are one.
local MOMENT = 250

-- Who was idle is before whoever was not, and among themselves it is first come, first served.
local function add(location)
  local served = redis.call("ZSCORE", SERVED, location) or (now - REMEMBERED)
  return redis.call("ZADD", READY, "NX", served, location)
end

local function whose_time_has_come()
  local due = redis.call("ZRANGEBYSCORE", LATER, "-inf", now, "LIMIT", 0, 1000)
  for _, member in ipairs(due) do
    redis.call("ZREM", LATER, member)
    add(string.match(member, "^(.*)|%d+$"))
  end
end

-- wake LOCATION… -> {message wanted}
local function wake(...)
  local added = 0
  for _, location in ipairs({ ... }) do
    added = added + add(location)
  end
  return { (added > 0 and redis.call("LLEN", QUEUE) < ENOUGH) and 1 or 0 }
end

-- later LOCATION WAIT
local function later(location, wait)
  local at = now + tonumber(wait)
  redis.call("ZADD", LATER, "LT", at, string.format("%s|%.0f", location, math.floor(at / MOMENT)))
  return {}
end

-- next -> {location, message wanted, what the pace answers to the take of a booking's slot},
-- or {"", how long until one is ready, -1 for never}
local function next_one()
  whose_time_has_come()
  local popped = redis.call("ZPOPMIN", READY)[1]
  if popped then
    redis.call("ZREMRANGEBYSCORE", SERVED, "-inf", now - REMEMBERED)
    redis.call("ZADD", SERVED, now, popped)
    -- Those that became ready by the clock have woken nobody: so each thread wakes the next.
    local alone = redis.call("ZCARD", READY) > 0 and redis.call("LLEN", QUEUE) == 0
    return { popped, alone and 1 or 0, pace("location:" .. popped, "take", "booking") }
  end
  local first = redis.call("ZRANGE", LATER, 0, 0, "WITHSCORES")[2]
  return { "", first and math.max(0, first - now) or -1 }
end

-- missing -> {messages wanted}: so many locations wait for which none may be on its way
local function missing()
  whose_time_has_come()
  local waiting = math.min(redis.call("ZCARD", READY), ENOUGH)
  return { math.max(0, waiting - redis.call("LLEN", QUEUE)) }
end

local commands = { wake = wake, later = later, next = next_one, missing = missing }
return commands[ARGV[1]](unpack(ARGV, 2))
