-- metering.dedup: claims, settles and releases identities of one tenant, in the order given.
--
-- KEYS[1..5]  hashes, a bucket of time each: those of base - 3 (is dropped), base - 2, base - 1, base (is written) and
--             base + 1 (a server clock was set back). A field is an identity, 22 characters; its value is the payload hash
--             (16), the first receipt (10) and, until it is settled, the batch that claimed it (4).
--             A bucket expires a day after none of its identities has to be remembered any more.
-- ARGV[1]     empty; tests put a clock here (epoch ms), everyone else gets the server's
-- ARGV[2]     how long a bucket is written, in ms: half the time for which an identity is remembered
-- ARGV[3]     base: which bucket the caller takes the present for, the clock divided by ARGV[2]
-- ARGV[4]     what to do, a character for each operation: 'c' claim, 's' settle, 'r' release
-- ARGV[5]     the operations, 52 characters each: the identity (22), payload hash (16), receipt (10), batch (4). One argument,
--             for each costs more to send and to read than what is in it. A client that sends a batch again gets the answers
--             that it would have got.
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
local OPERATION, CLAIMED, SETTLED = 52, 30, 26
local CLAIM, SETTLE = string.byte('cs', 1, 2)
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

local width, base, kinds, operations = integer(ARGV[2], 1), integer(ARGV[3], 0), ARGV[4], ARGV[5]
if #KEYS ~= 5 or #ARGV ~= 5 or not width or not base then return redis.error_reply('ERR the batch is not one') end
local count = #kinds
if count < 1 or count > COUNT_MAX or #operations ~= count * OPERATION or string.find(kinds, '[^csr]') then
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

local sub = string.sub
local function payload_of(value) return sub(value, 1, 16) end
local function receipt_of(value) return sub(value, 17, 26) end
local function settled(value) return sub(value, 1, SETTLED) end
local function is_settled(value) return #value == SETTLED end

-- Identities and values by turns.
local fields = { struct.unpack(string.rep('c22c30', count), operations) }
local identities = {}
for at = 1, count do identities[at] = fields[2 * at - 1] end

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
        if #value ~= CLAIMED and #value ~= SETTLED then
          return redis.error_reply('ERR the identity that is kept is not one')
        end
        local identity = identities[at]
        if not kept[identity] or not is_settled(kept[identity]) then
          kept[identity], place[identity] = value, key
        end
      end
    end
  end
end

-- Writes fields and values of a bucket; gives how many fields are new.
local function write(key, ...)
  local added = redis.call('HSET', KEYS[key], ...)
  redis.call('PEXPIREAT', KEYS[key], text((base + key - CURRENT + 3) * width + AFTERLIFE))
  return added
end

local function done(answers)
  -- Freed in the background. To expire it would block the server, for a second with some millions of identities.
  redis.call('UNLINK', KEYS[1])
  return { 'done', answers }
end

-- Claims of what nobody knows, as nearly always: written as they came, and done. Fewer new fields than claims say that one
-- came twice: the steps below then write over all of them what the first said.
if not next(kept) and not string.find(kinds, '[^c]') and write(CURRENT, unpack(fields, 1, 2 * count)) == count then
  return done(string.rep('n', count))
end

local answers, changed, resent, dropped = {}, {}, {}, { {}, {}, {}, {}, {} }
for at = 1, count do
  local identity, value = identities[at], fields[2 * at]
  local kind, known = string.byte(kinds, at), kept[identity]
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
      local same = payload_of(known) == payload_of(value)
      local found
      if is_settled(known) then found = same and 'd' or 'x' else found = same and 'p' or 'q' end
      answers[#answers + 1] = found .. receipt_of(known)
    end
  elseif kind == SETTLE then
    if not known or not is_settled(known) then
      kept[identity] = settled(value)
      changed[#changed + 1] = identity
    end
  elseif known and not is_settled(known) and settled(known) == settled(value) then
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
  if #written[key] > 0 then write(key, unpack(written[key])) end
end
return done(table.concat(answers))
