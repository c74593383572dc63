-- breaker.state: reads or changes one breaker that processes share.
--
-- KEYS[1]  the breaker, a hash: generation, state ('open', 'closed'), breaks, break_ms, since (epoch ms, when it opened or
--          closed), left_ms (the break's length from then), owner, claimed_at (epoch ms), lease_ms; kept for 30 days
-- ARGV[1]  'read', 'open', 'claim', 'close' or 'reset'
-- ARGV[2]  empty; tests put a clock here (epoch ms), everyone else gets the server's
-- ARGV[3]  open, claim, close: the generation that the caller knows, 0 for none
-- ARGV[4]  open: breaks in a row               claim: the owner
-- ARGV[5]  open: the break's length in ms      claim: the lease in ms
-- ARGV[6]  open: what is left of it in ms
--
-- Returns {outcome, generation, breaks, break_ms, 'open', break left, claim left}
--      or {outcome, generation, breaks, break_ms, 'closed', closed for}, the spans in ms, integers as text. The outcome is
-- 'granted' for a claim that was, 'refused' otherwise. Nothing is written where nothing changes.
--
-- The generation that is compared, and the owner of a claim, are the idempotency key of all: sent twice, a call changes
-- nothing the second time. Everything is read and checked before the first write, for Redis does not take back what a
-- failing script wrote. The model is fleet/breaker-record.ts, held equal by the conformance kit.

local MAX = 9000000000000000
local KEPT = 30 * 86400000

local function integer(text, min)
  if type(text) ~= 'string' or not string.match(text, '^%d+$') then return nil end
  local value = tonumber(text)
  if value < min or value > MAX then return nil end
  return value
end

local function text(value)
  return string.format('%.0f', value)
end

local operation = ARGV[1]
local known, breaks, length, left, lease = 0, 0, 0, 0, 0
if operation == 'open' or operation == 'claim' or operation == 'close' then
  known = integer(ARGV[3], 0)
  if not known then return redis.error_reply('ERR the generation is not one') end
elseif operation ~= 'read' and operation ~= 'reset' then
  return redis.error_reply('ERR the operation is none of read, open, claim, close and reset')
end
if operation == 'open' then
  breaks, length, left = integer(ARGV[4], 1), integer(ARGV[5], 1), integer(ARGV[6], 0)
  if not breaks or not length or not left then return redis.error_reply('ERR the break is not one') end
elseif operation == 'claim' then
  lease = integer(ARGV[5], 1)
  if ARGV[4] == '' or not lease then return redis.error_reply('ERR the claim is not one') end
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

local NAMES = { 'generation', 'state', 'breaks', 'break_ms', 'since', 'left_ms', 'owner', 'claimed_at', 'lease_ms' }
local TEXTS = { state = true, owner = true }
local b = { generation = 0, state = 'closed', breaks = 0, break_ms = 0, since = 0, left_ms = 0, owner = '', claimed_at = 0,
  lease_ms = 0 }
-- Fails on a key of another type, while nothing is written yet.
local stored = redis.call('HMGET', KEYS[1], unpack(NAMES))
local exists = false
for at = 1, #NAMES do exists = exists or stored[at] end
if exists then
  for at, name in ipairs(NAMES) do
    b[name] = stored[at]
    if not TEXTS[name] then b[name] = integer(stored[at], 0) end
    if not b[name] then return redis.error_reply('ERR the breaker is not one') end
  end
  if b.state ~= 'open' and b.state ~= 'closed' then return redis.error_reply('ERR the breaker is not one') end
end

-- What is left of a span; nothing when its beginning is ahead, which shows that the clock was set back.
local function remaining(since, span)
  if now < since then return 0 end
  return math.max(0, since + span - now)
end

local generation = math.max(b.generation + 1, now * 1000)
if generation > MAX then return redis.error_reply('ERR the generation is out of bounds') end
local outcome, changes = 'refused', false

local function turn(state)
  b.generation, b.state, b.since, b.left_ms = generation, state, now, 0
  b.owner, b.claimed_at, b.lease_ms = '', 0, 0
  changes = true
end

if operation == 'reset' then
  if b.generation > 0 then
    turn('closed')
    b.breaks, b.break_ms = 0, 0
  end
elseif operation == 'claim' then
  if b.state == 'open' and remaining(b.since, b.left_ms) == 0 then
    local lasts = remaining(b.claimed_at, b.lease_ms) > 0
    if lasts and b.owner == ARGV[4] then
      changes = true
    elseif not lasts and known == b.generation then
      b.generation, b.owner = generation, ARGV[4]
      changes = true
    end
    if changes then
      b.claimed_at, b.lease_ms = now, lease
      outcome = 'granted'
    end
  end
elseif operation == 'open' then
  if known == b.generation then
    turn('open')
    b.breaks, b.break_ms, b.left_ms = breaks, length, left
  end
elseif operation == 'close' then
  if known == b.generation and b.state == 'open' then turn('closed') end
end

if changes then
  local fields = {}
  for at, name in ipairs(NAMES) do
    fields[2 * at - 1] = name
    fields[2 * at] = TEXTS[name] and b[name] or text(b[name])
  end
  redis.call('HSET', KEYS[1], unpack(fields))
  redis.call('PEXPIREAT', KEYS[1], text(now + KEPT))
end

local answer = { outcome, text(b.generation), text(b.breaks), text(b.break_ms), b.state }
if b.state == 'open' then
  answer[6], answer[7] = text(remaining(b.since, b.left_ms)), text(remaining(b.claimed_at, b.lease_ms))
else
  answer[6] = text(b.generation == 0 and 0 or math.max(0, now - b.since))
end
return answer
