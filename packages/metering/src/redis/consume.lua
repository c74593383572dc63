-- metering.consume: spends an amount from a counter if the running window has that much left.
--
-- KEYS[1]  the counter, a hash: starts and ends (its window [starts, ends), epoch ms), used (units spent in it)
-- KEYS[2]  the spend under its idempotency key, a string: amount:remaining:resets:expires, resets empty for never
-- ARGV[1]  amount, an integer in [1, 9e15]
-- ARGV[2]  quantity, an integer in [0, 9e15]: the limit as it is now
-- ARGV[3]  period: 'lifetime', 'calendar-month-utc' or a number of milliseconds
-- ARGV[4]  how long a spend is remembered under its key, in ms
-- ARGV[5]  empty; tests put a clock here (epoch ms), everyone else gets the server's
--
-- Returns one of
--   {'consumed', remaining, resets, '0' or '1'}   spent now ('0') or by an earlier call with this key ('1')
--   {'refused', remaining, resets}                nothing was written
--   {'conflict', first amount}                    nothing was written
-- with integers as text, resets being '' for a window that does not end.
--
-- Lua counts in doubles, exact up to 2^53: amounts stop at 9e15, and the comparison subtracts rather than adds.
-- Everything is read and checked before the first write, for Redis does not take back what a failing script wrote.
-- The decision is quota/spend.ts and the calendar is quota/period.ts, held equal by the conformance kit.

local NEVER = 8640000000000000
local MAX = 9000000000000000
local DAY = 86400000
-- The counter outlives its window by this, so that a server clock set back finds it and does not start anew.
local AFTERLIFE = DAY

local function integer(text, min, max)
  if type(text) ~= 'string' or not string.match(text, '^%d+$') then return nil end
  local value = tonumber(text)
  if value < min or value > max then return nil end
  return value
end

local function text(value)
  return string.format('%.0f', value)
end

-- Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": months are counted from March of the year 0.
local function month_start(months)
  local year = math.floor(months / 12)
  local month = months - year * 12
  local era = math.floor(year / 400)
  local year_of_era = year - era * 400
  local day_of_era = year_of_era * 365 + math.floor(year_of_era / 4) - math.floor(year_of_era / 100)
    + math.floor((153 * month + 2) / 5)
  return (era * 146097 + day_of_era - 719468) * DAY
end

local function month_window(now)
  local day = math.floor(now / DAY) + 719468
  local era = math.floor(day / 146097)
  local day_of_era = day - era * 146097
  local year_of_era = math.floor((day_of_era - math.floor(day_of_era / 1460) + math.floor(day_of_era / 36524)
    - math.floor(day_of_era / 146096)) / 365)
  local day_of_year = day_of_era - (365 * year_of_era + math.floor(year_of_era / 4) - math.floor(year_of_era / 100))
  local months = (era * 400 + year_of_era) * 12 + math.floor((5 * day_of_year + 2) / 153)
  return month_start(months), month_start(months + 1)
end

local amount = integer(ARGV[1], 1, MAX)
local quantity = integer(ARGV[2], 0, MAX)
local memory = integer(ARGV[4], 1, MAX)
local every = nil
if ARGV[3] ~= 'lifetime' and ARGV[3] ~= 'calendar-month-utc' then
  every = integer(ARGV[3], 1, MAX)
  if not every then return redis.error_reply('ERR the period is neither a name nor a number of milliseconds') end
end
if not amount or not quantity or not memory then
  return redis.error_reply('ERR an amount, quantity or duration is not an integer within bounds')
end

local now
if ARGV[5] ~= '' then
  now = integer(ARGV[5], 0, NEVER)
  if not now then return redis.error_reply('ERR the clock is not epoch milliseconds') end
else
  -- Read once: it goes on within a script on some versions.
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Both reads come first: either fails on a key of another type, while nothing is written yet.
local counter = redis.call('HMGET', KEYS[1], 'starts', 'ends', 'used')
local spend = redis.call('GET', KEYS[2])

if spend then
  local first, remaining, resets, expires = string.match(spend, '^(%d+):(%d+):(%d*):(%d+)$')
  if not first then return redis.error_reply('ERR the remembered spend is not one') end
  if now < tonumber(expires) then
    if tonumber(first) ~= amount then return { 'conflict', first } end
    return { 'consumed', remaining, resets, '1' }
  end
end

local starts, ends
local used = 0
if counter[1] or counter[2] or counter[3] then
  starts = integer(counter[1], 0, NEVER)
  ends = integer(counter[2], 0, NEVER)
  used = integer(counter[3], 0, MAX)
  if not starts or not ends or not used then return redis.error_reply('ERR the counter is not one') end
end
-- A window lasts until its end, also when the clock is set back or the limit is given another period meanwhile.
if not ends or now >= ends or (ends == NEVER and ARGV[3] ~= 'lifetime') then
  local new_starts, new_ends
  if every then
    new_starts = math.floor(now / every) * every
    new_ends = new_starts + every
  elseif ARGV[3] == 'lifetime' then
    new_starts, new_ends = 0, NEVER
  else
    new_starts, new_ends = month_window(now)
  end
  if new_starts ~= starts or new_ends ~= ends then used = 0 end
  starts, ends = new_starts, new_ends
end

local resets = ''
if ends ~= NEVER then resets = text(ends) end
local left = quantity - used
if amount > left then
  return { 'refused', text(math.max(0, left)), resets }
end

local remaining = text(left - amount)
redis.call('HSET', KEYS[1], 'starts', text(starts), 'ends', text(ends), 'used', text(used + amount))
if ends == NEVER then
  redis.call('PERSIST', KEYS[1])
else
  redis.call('PEXPIREAT', KEYS[1], text(ends + AFTERLIFE))
end
local expires = text(now + memory)
redis.call('SET', KEYS[2], text(amount) .. ':' .. remaining .. ':' .. resets .. ':' .. expires, 'PXAT', expires)
return { 'consumed', remaining, resets, '0' }
