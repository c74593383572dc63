-- bucket.claim: takes tokens from one bucket that processes share, puts them back, or gives none for a time.
--
-- KEYS[1]  the bucket, a hash: born_at (epoch ms); counted_at, last_usable_at (ms from born_at, doubles); tokens,
--          per_second, burst (doubles); it expires a second after it is full
-- KEYS[2]  the claim, a hash: tokens, usable_at (ms from born_at), per_second (doubles), born_at, cancelled (0, 1); it
--          expires 30 s after its tokens may be used
-- ARGV[1]  'reserve', 'cancel' or 'pause'; KEYS[2] is made of the idempotency key of the first two, and not read by pause
-- ARGV[2]  empty; tests put a clock here (epoch ms), everyone else gets the server's
-- ARGV[3]  reserve: tokens, an integer from 0
-- ARGV[4]  reserve: how long they may have to come in; pause: how long there are none; in ms, a double from 0
-- ARGV[5]  reserve, pause: tokens a second, a double above 0
-- ARGV[6]  reserve, pause: the burst, an integer from 1
--
-- Returns one of
--   {'reserved', wait in ms}       also for a claim that was sent before
--   {'cancelled'}                  reserve: a claim that was put back; nothing was written
--   {'throttled', wait in ms}      nothing was taken
--   {'exceeds-burst', burst}       nothing was taken
--   {'returned', tokens}           cancel
--   {'paused'}                     pause; the later end of two counts, so that it may be sent twice
-- with doubles as text of 17 digits, which is every bit of them.
--
-- A refusal writes nothing but a rule that differs from the one that was, or that the clock was set back. Everything is
-- read and checked before the first write, for Redis does not take back what a failing script wrote. The model is
-- fleet/bucket-record.ts and resilience/bucket-level.ts, operation by operation, so that the doubles are the same; tests
-- hold them equal.

local MAX = 9000000000000000
local ANSWER_KEPT = 30000
local FULL_KEPT = 1000
local ROUNDING = 1e-5

local function double(text)
  -- The form is looked at, for Lua also takes 'nan', 'inf' and hexadecimals.
  if type(text) ~= 'string' or not string.match(text, '^-?%d+%.?%d*[eE]?[+-]?%d*$') then return nil end
  local value = tonumber(text)
  if not value or value ~= value or value == math.huge or value == -math.huge then return nil end
  return value
end

local function integer(text, min)
  local value = double(text)
  if not value or value ~= math.floor(value) or value < min or value > MAX then return nil end
  return value
end

local function text(value)
  return string.format('%.17g', value)
end

local operation = ARGV[1]
local wanted, longest, per_second, burst
if operation == 'reserve' then
  wanted, longest, per_second, burst = integer(ARGV[3], 0), double(ARGV[4]), double(ARGV[5]), integer(ARGV[6], 1)
  if not wanted or not longest or longest < 0 then return redis.error_reply('ERR the claim is not one') end
  if not burst or not per_second or per_second <= 0 then return redis.error_reply('ERR the rule is not one') end
elseif operation == 'pause' then
  longest, per_second, burst = double(ARGV[4]), double(ARGV[5]), integer(ARGV[6], 1)
  if not longest or longest < 0 then return redis.error_reply('ERR the pause is not one') end
  if not burst or not per_second or per_second <= 0 then return redis.error_reply('ERR the rule is not one') end
elseif operation ~= 'cancel' then
  return redis.error_reply('ERR the operation is none of reserve, cancel and pause')
end

local now
if ARGV[2] ~= '' then
  now = integer(ARGV[2], 0)
  if not now then return redis.error_reply('ERR the clock is not epoch milliseconds') end
else
  -- Read once: it goes on within a script on some versions.
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Fails on a key of another type, while nothing is written yet.
local function stored(key, names)
  local texts = redis.call('HMGET', key, unpack(names))
  local found, exists = {}, false
  for at, name in ipairs(names) do
    exists = exists or texts[at]
    found[name] = double(texts[at])
  end
  if not exists then return nil, true end
  for _, name in ipairs(names) do
    if not found[name] then return nil, false end
  end
  -- The server's clock drops keys; what a test's clock has passed is dropped here.
  if found.kept_until <= now then return nil, true end
  return found, true
end

local BUCKET = { 'born_at', 'tokens', 'counted_at', 'last_usable_at', 'per_second', 'burst', 'kept_until' }
local CLAIM = { 'tokens', 'usable_at', 'per_second', 'born_at', 'cancelled', 'kept_until' }
local bucket, bucket_sound = stored(KEYS[1], BUCKET)
local claim, claim_sound = nil, true
if operation ~= 'pause' then claim, claim_sound = stored(KEYS[2], CLAIM) end
if not bucket_sound then return redis.error_reply('ERR the bucket is not one') end
if not claim_sound then return redis.error_reply('ERR the claim that is kept is not one') end

local function write(key, names, values)
  local fields = {}
  for at, name in ipairs(names) do
    fields[2 * at - 1] = name
    fields[2 * at] = text(values[name])
  end
  redis.call('HSET', key, unpack(fields))
  redis.call('PEXPIREAT', key, string.format('%.0f', values.kept_until))
end

local function refill(at)
  if at > bucket.counted_at then
    bucket.tokens = bucket.tokens + ((at - bucket.counted_at) / 1000) * bucket.per_second
  end
  bucket.tokens = math.min(bucket.burst, bucket.tokens)
  bucket.counted_at = at
end

local function keep_while_missed()
  local full = now + math.ceil(((bucket.burst - bucket.tokens) / bucket.per_second) * 1000)
  bucket.kept_until = math.min(MAX, math.max(full, bucket.born_at + math.ceil(bucket.last_usable_at)) + FULL_KEPT)
end

if operation == 'cancel' then
  if not claim or claim.cancelled == 1 then return { 'returned', '0' } end
  claim.cancelled = 1
  local returned = 0
  -- A bucket that was forgotten was full, and the one in its place is another.
  if bucket and bucket.born_at == claim.born_at then
    local at = now - bucket.born_at
    if claim.tokens > 0 and claim.usable_at >= at then
      -- Below zero where a later one was put back first, or the clock was set back.
      local behind = math.max(0, ((bucket.last_usable_at - claim.usable_at) / 1000) * claim.per_second)
      returned = math.max(0, claim.tokens - behind)
    end
    if returned > 0 then
      refill(at)
      bucket.tokens = math.min(bucket.burst, bucket.tokens + returned)
      if claim.usable_at == bucket.last_usable_at then
        local before = claim.usable_at - (claim.tokens / claim.per_second) * 1000
        if before >= at then bucket.last_usable_at = before end
      end
      keep_while_missed()
      write(KEYS[1], BUCKET, bucket)
    end
  end
  write(KEYS[2], CLAIM, claim)
  return { 'returned', text(returned) }
end

if operation == 'pause' then
  local born_at = now
  if bucket then
    refill(now - bucket.born_at)
    -- Born again, and later than before: no claim on what it was puts anything back.
    born_at = math.max(now, bucket.born_at + 1)
  else
    bucket = { tokens = burst }
  end
  bucket.born_at, bucket.counted_at, bucket.last_usable_at = born_at, now - born_at, now - born_at
  bucket.per_second, bucket.burst = per_second, burst
  bucket.tokens = math.min(math.min(burst, bucket.tokens), 1 - (longest / 1000) * per_second)
  keep_while_missed()
  write(KEYS[1], BUCKET, bucket)
  return { 'paused' }
end

if claim then
  if claim.cancelled == 1 then return { 'cancelled' } end
  return { 'reserved', text(math.max(0, claim.usable_at - (now - claim.born_at))) }
end

local is_new_rule = bucket and (bucket.per_second ~= per_second or bucket.burst ~= burst)
local is_set_back = bucket and now - bucket.born_at < bucket.counted_at
if not bucket then bucket = { born_at = now, tokens = burst, counted_at = 0, last_usable_at = 0, per_second = per_second, burst = burst } end
local at = now - bucket.born_at
refill(at)
bucket.per_second, bucket.burst = per_second, burst
-- A smaller burst holds less from here on.
bucket.tokens = math.min(burst, bucket.tokens)

local answer
local missing = wanted - bucket.tokens
local wait = 0
if missing > 0 then wait = (missing / per_second) * 1000 end
if wanted > burst then
  answer = { 'exceeds-burst', text(burst) }
elseif wait > longest + ROUNDING then
  answer = { 'throttled', text(wait - longest) }
else
  bucket.tokens = bucket.tokens - wanted
  bucket.last_usable_at = at + wait
end
if not answer or is_new_rule or is_set_back then
  keep_while_missed()
  write(KEYS[1], BUCKET, bucket)
end
if answer then return answer end
write(KEYS[2], CLAIM, { tokens = wanted, usable_at = bucket.last_usable_at, per_second = per_second, born_at = bucket.born_at,
  cancelled = 0, kept_until = now + math.ceil(wait) + ANSWER_KEPT })
return { 'reserved', text(wait) }
