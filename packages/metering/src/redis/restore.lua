-- metering.restore: writes a tenant's quotas as a ledger has them, under a new epoch.
--
-- KEYS[1]   the tenant's fence, see metering.consume
-- KEYS[2…]  pairs of keys: to be written, and the one of the epoch before, to be dropped
-- ARGV[1]   the new epoch
-- ARGV[2]   'begin', 'write' or 'finish', in this order; 'write' as often as it takes
-- ARGV[3…]  write: three for each pair. Strings: 's', the value, the instant at which it expires or '-'. Sorted sets: 'z', a
--           JSON list of scores and members in turn, ''. Hashes: 'h', a JSON list of fields and values in turn, the instant. All
--           of them text.
--
-- Returns 'done', or 'over' when another epoch than this has begun; then nothing was written. Each may be sent again.

local epoch = ARGV[1]
if not string.match(epoch, '^%d+$') then return redis.error_reply('ERR the epoch is not an integer') end
local at = redis.call('HGET', KEYS[1], 'at')
local found, by = string.match(at or '', '^(%d+) (%w+)$')
if ARGV[2] == 'begin' then
  if found and tonumber(found) >= tonumber(epoch) then
    return found == epoch and by == 'restoring' and 'done' or 'over'
  end
  redis.call('HSET', KEYS[1], 'at', epoch .. ' restoring', 'revision', '0')
  return 'done'
end
if found ~= epoch then return 'over' end
if ARGV[2] == 'finish' then
  local id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  if by == 'restoring' then redis.call('HSET', KEYS[1], 'at', epoch .. ' ' .. id) end
  return by == 'restoring' and 'done' or by == id and 'done' or 'over'
end
if by ~= 'restoring' then return 'over' end
for pair = 1, (#KEYS - 1) / 2 do
  local key, before = KEYS[2 * pair], KEYS[2 * pair + 1]
  local kind, value, expires = ARGV[3 * pair], ARGV[3 * pair + 1], ARGV[3 * pair + 2]
  if kind == 's' then
    redis.call('SET', key, value)
  else
    redis.call(kind == 'z' and 'ZADD' or 'HSET', key, unpack(cjson.decode(value)))
  end
  if expires ~= '-' and expires ~= '' then redis.call('PEXPIREAT', key, expires) end
  if before ~= key then redis.call('UNLINK', before) end
end
return 'done'
