-- metering.dedup: claims, settles and releases identities of one tenant, in the order given.
--
-- KEYS[1..5]  hashes, a bucket of time each: those of base - 3 (is dropped), base - 2, base - 1, base (is written) and
--             base + 1 (a server clock was set back). A field is an identity, 22 characters; its value has 26:
--               state (1: 'c' claimed, 's' settled), batch (4), payload hash (11), first receipt (10)
--             A bucket expires a day after none of its identities has to be remembered any more.
-- ARGV[1]     empty; tests put a clock here (epoch ms), everyone else gets the server's
-- ARGV[2]     how long a bucket is written, in ms: half the time for which an identity is remembered
-- ARGV[3]     base: which bucket the caller takes the present for, the clock divided by ARGV[2]
-- ARGV[4]     the operations, 48 characters each: the identity (22); what to do, 'c' claim, 's' settle, 'r' release (1);
--             batch (4), payload hash (11), receipt (10). One argument, for each costs more to send and to read than what is
--             in it. A client that sends a batch again gets the answers that it would have got.
--
-- Returns one of
--   {'done', answers}      for each claim, in order, 'n' for a new one, or what was found and the first receipt (10):
--                          'p' claimed before, 'd' settled before, 'q' and 'x' the same with another payload
--   {'elsewhere', base}    by the server's clock it is another base; nothing was done
--
-- Everything is read and checked before the first write, for Redis does not take back what a failing script wrote. The
-- model is dedup/dedup-record.ts; the conformance kit holds them equal.

local MAX = 9000000000000000
local CURRENT = 4
local AFTERLIFE = 86400000
local LENGTH = 48
local CLAIM, SETTLE, RELEASE = string.byte('csr', 1, 3)
-- Fields and values of so many are what Lua can put on its stack, and a millisecond or two.
local COUNT_MAX = 1000

local function integer(text, min)
  if type(text) ~= 'string' or not string.match(text, '^%d+$') then return nil end
  local value = tonumber(text)
  if value < min or value > MAX then return nil end
  return value
end

local function text(value)
  return string.format('%.0f', value)
end

local width, base, operations = integer(ARGV[2], 1), integer(ARGV[3], 0), ARGV[4]
if #KEYS ~= 5 or #ARGV ~= 4 or not width or not base then return redis.error_reply('ERR the batch is not one') end
local count = #operations / LENGTH
if count < 1 or count > COUNT_MAX or count ~= math.floor(count) then
  return redis.error_reply('ERR the operations are none')
end

local now
if ARGV[1] ~= '' then
  now = integer(ARGV[1], 0)
  if not now then return redis.error_reply('ERR the clock is not epoch milliseconds') end
else
  -- Read once: it goes on within a script on some versions.
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local bucket = math.floor(now / width)
if bucket ~= base then return { 'elsewhere', text(bucket) } end

local sub, byte = string.sub, string.byte
local identities = {}
for at = 1, count do
  local from = (at - 1) * LENGTH
  local kind = byte(operations, from + 23)
  if kind ~= CLAIM and kind ~= SETTLE and kind ~= RELEASE then
    return redis.error_reply('ERR an operation is not one')
  end
  identities[at] = sub(operations, from + 1, from + 22)
end

-- What is kept of each identity, and in which bucket; without a place it is from this batch. Were it in two, what is
-- settled counts.
local kept, place = {}, {}
for key = 2, 5 do
  -- Nearly always there is none of the next one.
  if redis.call('EXISTS', KEYS[key]) == 1 then
    local values = redis.call('HMGET', KEYS[key], unpack(identities))
    for at = 1, count do
      local value = values[at]
      if value then
        if #value ~= 26 then return redis.error_reply('ERR the identity that is kept is not one') end
        local identity = identities[at]
        if not kept[identity] or byte(kept[identity]) ~= SETTLE then
          kept[identity], place[identity] = value, key
        end
      end
    end
  end
end

local answers, changed, resent, dropped = {}, {}, {}, { {}, {}, {}, {}, {} }
for at = 1, count do
  local identity, from = identities[at], (at - 1) * LENGTH
  local kind = byte(operations, from + 23)
  -- As it is kept; of a settlement too.
  local value = sub(operations, from + 23, from + 48)
  local known = kept[identity]
  if kind == CLAIM then
    if not known then
      kept[identity] = value
      changed[#changed + 1] = identity
      answers[#answers + 1] = 'n'
    elseif known == value and place[identity] and not resent[identity] then
      -- This very batch wrote it, and the client sent it again: the reply was lost.
      resent[identity] = true
      answers[#answers + 1] = 'n'
    else
      local same = sub(known, 6, 16) == sub(value, 6, 16)
      local found
      if byte(known) == SETTLE then found = same and 'd' or 'x' else found = same and 'p' or 'q' end
      answers[#answers + 1] = found .. sub(known, 17)
    end
  elseif kind == SETTLE then
    if not known or byte(known) ~= SETTLE then
      kept[identity] = value
      changed[#changed + 1] = identity
    end
  elseif known and byte(known) == CLAIM and sub(known, 6) == sub(value, 6) then
    local held = place[identity]
    if held then dropped[held][#dropped[held] + 1] = identity end
    kept[identity], place[identity] = nil, nil
  end
end

local written = { {}, {}, {}, {}, {} }
for _, identity in ipairs(changed) do
  local value = kept[identity]
  -- Released again, or changed twice and written already.
  if value then
    local fields = written[place[identity] or CURRENT]
    fields[#fields + 1] = identity
    fields[#fields + 1] = value
    kept[identity] = nil
  end
end

for key = 2, 5 do
  if #dropped[key] > 0 then redis.call('HDEL', KEYS[key], unpack(dropped[key])) end
  if #written[key] > 0 then
    redis.call('HSET', KEYS[key], unpack(written[key]))
    redis.call('PEXPIREAT', KEYS[key], text((base + key - CURRENT + 3) * width + AFTERLIFE))
  end
end
-- Freed in the background. To expire it would block the server, for a second with some millions of identities.
redis.call('UNLINK', KEYS[1])
return { 'done', table.concat(answers) }
