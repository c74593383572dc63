-- metering.expired: finds holds of one tenant whose time is over, for metering.hold to end.
--
-- KEYS[1]   the tenant's open holds, a sorted set of their names by the instants at which they expire
-- KEYS[2…]  holds; none to be told the names of expired ones
-- ARGV[1]   empty; tests put a clock here (epoch ms), everyone else gets the server's
-- ARGV[2]   how many names at most
--
-- Returns the names of expired holds, those that expired first; or with keys, for each the texts of metering.hold, nil
-- where there is none. Writes nothing.

if #KEYS > 1 then return redis.call('MGET', unpack(KEYS, 2, #KEYS)) end
local now = ARGV[1]
if now == '' then
  local time = redis.call('TIME')
  now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
end
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', '0', ARGV[2])
