-- What Redis remembers of the calls to one resource; every command is one atomic step. Why: __init__.py.
-- KEYS: memory, state, slots, background; ARGV: the command and its own. Times are in whole milliseconds.

local MEMORY, STATE, SLOTS, BACKGROUND = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
-- HighLevel's published limit: https://marketplace.gohighlevel.com/docs/oauth/Faqs
local USUAL_MAX, USUAL_INTERVAL = 100, 10000
-- What a sandbox account has; any may be one until its first answer, which is worth coming back for soon.
local FEWEST, FIRST_ANSWER = 25, 250
-- How late a call whose answer nobody reports may still reach HighLevel.
local ON_ITS_WAY = 5000
-- A booking that had to wait has precedence for this long after the moment it was told to come back.
local PATIENCE = 1000
local KEEP_STATE = 24 * 3600 * 1000

local function clock()
  local time = redis.call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local now = clock()

local function read_state()
  local names = { "max", "interval", "ever", "not_before", "others", "others_until", "bookings_until" }
  local values, read = redis.call("HMGET", STATE, unpack(names)), {}
  for number, name in ipairs(names) do
    read[name] = tonumber(values[number])
  end
  return read
end

local state = read_state()
local max, interval = state.max or FEWEST, state.interval or USUAL_INTERVAL

-- How many slots each use may see taken. With max 100: bookings 95, upkeep 97, background 90 (5 of its own);
-- 3 in all after a loss, when 97 that nobody remembers may stand in HighLevel's books.
local function allowance()
  local bookings = math.max(1, math.floor(max * 95 / 100))
  local upkeep = bookings + math.floor((max - bookings) / 2)
  local share = math.max(1, math.floor(max / 20))
  local after_loss = math.max(1, max - upkeep)
  return { booking = bookings, upkeep = upkeep, background = bookings - share, share = share, after_loss = after_loss }
end

-- Since when this server has been remembering. Another run of it may have forgotten the last moments.
local function remembers_since()
  local info = redis.pcall("INFO", "server")
  -- Where this user may not ask, FLUSHALL is noticed all the same, a restart with old data is not.
  local run = type(info) == "string" and string.match(info, "run_id:(%w+)") or ""
  local known = redis.call("HMGET", MEMORY, "run", "since")
  if known[1] == run then
    return tonumber(known[2])
  end
  redis.call("HSET", MEMORY, "run", run, "since", now)
  return now
end

local function others()
  return (state.others_until or 0) > now and state.others or 0
end

local function occupied()
  redis.call("ZREMRANGEBYSCORE", SLOTS, "-inf", now)
  -- Nothing ends as late as this, unless the clock was set back.
  local latest = now + ON_ITS_WAY + math.max(interval, USUAL_INTERVAL)
  redis.call("ZREMRANGEBYSCORE", SLOTS, "(" .. string.format("%.0f", latest), "+inf")
  return redis.call("ZCARD", SLOTS) + others()
end

local function keep()
  redis.call("PEXPIRE", STATE, KEEP_STATE)
  redis.call("PEXPIRE", SLOTS, ON_ITS_WAY + interval)
  redis.call("PEXPIRE", BACKGROUND, ON_ITS_WAY + interval)
end

local function background_is_full(share)
  redis.call("ZREMRANGEBYSCORE", BACKGROUND, "-inf", now)
  return (state.bookings_until or 0) > now or redis.call("ZCARD", BACKGROUND) >= share
end

-- The next moment at which anything may change. A call on its way may end now, and then frees its slot
-- after one interval.
local function until_something_is_free(lost_until)
  local soonest = now + (state.max and interval or FIRST_ANSWER)
  local first = redis.call("ZRANGE", SLOTS, 0, 0, "WITHSCORES")[2]
  for _, moment in ipairs({ tonumber(first) or 0, others() > 0 and state.others_until or 0, lost_until }) do
    if moment > now then
      soonest = math.min(soonest, moment)
    end
  end
  return soonest - now
end

local function refuse(use, wait)
  if use == "booking" then
    redis.call("HSET", STATE, "bookings_until", now + wait + PATIENCE)
    keep()
  end
  return { 0, wait }
end

local function grant(use, used, after_loss)
  local ever = redis.call("HINCRBY", STATE, "ever", 1)
  local ticket = string.format("%.0f-%d", now, ever)
  redis.call("ZADD", SLOTS, now + ON_ITS_WAY + interval, ticket)
  if use == "background" then
    redis.call("ZADD", BACKGROUND, now + ON_ITS_WAY + interval, ticket)
  end
  keep()
  -- Calls of before the loss would look like somebody else's.
  return { 1, ticket, after_loss and -1 or used + 1, ever }
end

-- take USE -> {1, ticket, slots taken with this one, slots ever taken} or {0, how long to wait}
local function take(use)
  local lost_until = remembers_since() + interval
  if (state.not_before or 0) > now then
    return refuse(use, state.not_before - now)
  end
  local allowed, after_loss, used = allowance(), lost_until > now, occupied()
  local limit = after_loss and allowed.after_loss or allowed[use]
  if used >= limit or use == "background" and (after_loss or background_is_full(allowed.share)) then
    return refuse(use, until_something_is_free(lost_until))
  end
  return grant(use, used, after_loss)
end

-- Where no answer tells a limit, the published one is believed.
local function learn(new_max, new_interval)
  local was_max, was_interval = state.max or USUAL_MAX, interval
  max, interval = tonumber(new_max) or was_max, tonumber(new_interval) or was_interval
  if max ~= state.max or interval ~= state.interval then
    redis.call("HSET", STATE, "max", max, "interval", interval)
    state.max, state.interval = max, interval
  end
  return (max ~= was_max or interval ~= was_interval) and 1 or 0
end

-- HighLevel counted this call at some moment since it was taken. At none of them can more of ours have been in
-- its books than were taken by then, were taken since, or may ever be taken at once: what is more is others'.
local function notice_others(left, used_then, ever_then)
  local used = occupied()
  local ours = math.min(used_then + (state.ever or 0) - ever_then, math.max(allowance().upkeep, used, used_then))
  local found = max - left - ours
  if found <= 0 then
    return 0
  end
  redis.call("HINCRBY", STATE, "ever", found)
  redis.call("HSET", STATE, "others", others() + found, "others_until", now + interval + 1)
  return 1
end

-- finish TICKET USED EVER MAX INTERVAL LEFT -> corrections made; the last three may be empty
local function finish(ticket, used_then, ever_then, new_max, new_interval, left)
  local known = redis.call("ZSCORE", SLOTS, ticket)
  local corrections = learn(new_max, new_interval)
  if known and left ~= "" and tonumber(used_then) >= 0 then
    corrections = corrections + notice_others(tonumber(left), tonumber(used_then), tonumber(ever_then))
  end
  redis.call("ZADD", SLOTS, now + 1 + interval, ticket)
  redis.call("ZADD", BACKGROUND, "XX", now + 1 + interval, ticket)
  keep()
  return { corrections }
end

local function give_back(ticket)
  return { redis.call("ZREM", SLOTS, ticket), redis.call("ZREM", BACKGROUND, ticket) }
end

-- back_off WAIT; nothing leaves before that, one interval where it is empty
local function back_off(wait)
  local until_then = math.max(state.not_before or 0, now + (tonumber(wait) or interval))
  redis.call("HSET", STATE, "not_before", until_then)
  keep()
  return { until_then - now }
end

local function nothing_sent_before()
  remembers_since()
  redis.call("HSET", MEMORY, "since", 0)
  return {}
end

local commands = {
  take = take,
  finish = finish,
  give_back = give_back,
  back_off = back_off,
  nothing_sent_before = nothing_sent_before,
}
return commands[ARGV[1]](unpack(ARGV, 2))
