-- Takes an amount from an account, at most once per idempotency key.
--
-- KEYS  1 the account's balance   2 what earlier calls answered, by idempotency key
-- ARGV  1 idempotency key         2 amount                        3 milliseconds to remember the answer
-- Returns { 'spent' | 'refused', balance, server time in epoch milliseconds }, integers as text.

local remembered = redis.call('HGET', KEYS[2], ARGV[1])
if remembered then
  return cjson.decode(remembered)
end

local balance = tonumber(redis.call('GET', KEYS[1]) or '0')
local amount = tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local outcome = 'refused'
if balance >= amount then
  outcome = 'spent'
  balance = balance - amount
end

local answer = { outcome, string.format('%.0f', balance), string.format('%.0f', now) }
if outcome == 'spent' then
  redis.call('SET', KEYS[1], answer[2])
end
redis.call('HSET', KEYS[2], ARGV[1], cjson.encode(answer))
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return answer
