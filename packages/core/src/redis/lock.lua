-- lock.lease: takes, prolongs or ends the lease of one lock.
--
-- KEYS[1]  the lease, a hash: owner, fence, expires (epoch ms, 0 once released); it outlives the lease by 30 days
-- ARGV[1]  'acquire', 'extend' or 'release'
-- ARGV[2]  owner: unique per acquisition, and the idempotency key of all three
-- ARGV[3]  how long the lease lasts, in ms, an integer in [1, 9e15]; not looked at by 'release'
-- ARGV[4]  empty; tests put a clock here (epoch ms), everyone else gets the server's
--
-- Returns one of
--   {'granted', fence}            acquire: the lease is the owner's; asked again by the owner, the same fence, renewed
--   {'busy', expires, remaining}  acquire: another owner's lease lasts; nothing was written
--   {'extended'}                  extend: it ends no earlier than asked
--   {'released'}                  release: nobody else has had the lock since
--   {'lost'}                      extend, release: nothing was written
-- with integers as text.
--
-- A fence is the previous one plus one, or the clock in microseconds where that is more, so that it also grows after the
-- key was lost. Everything is read and checked before the first write, for Redis does not take back what a failing
-- script wrote. The model is lock/memory-lock-store.ts, held equal by the conformance kit.

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

local operation, owner = ARGV[1], ARGV[2]
if operation ~= 'acquire' and operation ~= 'extend' and operation ~= 'release' then
  return redis.error_reply('ERR the operation is none of acquire, extend and release')
end
if owner == '' then return redis.error_reply('ERR the owner is empty') end
local ttl = 0
if operation ~= 'release' then
  ttl = integer(ARGV[3], 1)
  if not ttl then return redis.error_reply('ERR the duration is not an integer within bounds') end
end

local now
if ARGV[4] ~= '' then
  now = integer(ARGV[4], 0)
  if not now then return redis.error_reply('ERR the clock is not epoch milliseconds') end
else
  -- Read once: it goes on within a script on some versions.
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Fails on a key of another type, while nothing is written yet.
local lease = redis.call('HMGET', KEYS[1], 'owner', 'fence', 'expires')
local holder, fence, expires = '', 0, 0
if lease[1] or lease[2] or lease[3] then
  holder, fence, expires = lease[1], integer(lease[2], 1), integer(lease[3], 0)
  if not holder or not fence or not expires then return redis.error_reply('ERR the lease is not one') end
end
local lasts = expires > now

local answer
if operation == 'acquire' then
  if lasts and holder ~= owner then return { 'busy', text(expires), text(expires - now) } end
  if not lasts then
    fence = math.max(fence + 1, now * 1000)
    expires = 0
  end
  if fence > MAX then return redis.error_reply('ERR the fence is out of bounds') end
  expires = math.max(expires, now + ttl)
  answer = { 'granted', text(fence) }
elseif holder ~= owner then
  return { 'lost' }
elseif operation == 'extend' then
  if not lasts then return { 'lost' } end
  expires = math.max(expires, now + ttl)
  answer = { 'extended' }
else
  expires = 0
  answer = { 'released' }
end

redis.call('HSET', KEYS[1], 'owner', owner, 'fence', text(fence), 'expires', text(expires))
redis.call('PEXPIREAT', KEYS[1], text(math.max(now, expires) + KEPT))
return answer
