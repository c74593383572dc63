-- metering.consume: spends amounts from counters of one tenant, each from all of its counters or from none.
--
-- KEYS[1]   the last call of this caller in this place, a string: its number, a space and its reply
-- KEYS[2]   the tenant's open holds, a sorted set by the instants at which they expire
-- KEYS[3]   the tenant's fence, a hash: at (the epoch and the run id of the server, joined by a space), revision (the number
--           of the last step in the epoch)
-- KEYS[4…]  three hashes for each memory of spends, and after them the counters
-- ARGV[1]   empty; tests put a clock here (epoch ms), everyone else gets the server's
-- ARGV[2]   the number of this call: the same again is answered with the reply that is kept
-- ARGV[3]   how long the reply is kept, in ms
-- ARGV[4]   empty, or the epoch of the ledger that the fence must show
-- ARGV[5]   '1' to say `expired` while there are expired holds, which may give something back, else '0'
-- ARGV[6]   the memories, a JSON list of durations in ms
-- ARGV[7]   the shapes, a JSON list: each a list of rules, see metering.counter
-- ARGV[8]   the groups, one flat JSON list: for each group its shape; for each of the rules the place in KEYS of its
--           counter and of each reserved one; how many amounts there are; their sum, or 0 when it exceeds 9e15; the place of
--           its memory, or 0. Without a memory the amounts follow as one text, such as '3,1,4', or '' for one; with a memory
--           each amount and its key, '' where there is none.
--
-- Returns a text of one line for each group: either '=remaining,resets', when all of its amounts were spent now, of what
-- remained after the last; or an entry for each amount, joined by semicolons:
--   c remaining,resets           spent now
--   p remaining,resets           spent by an earlier call with this key
--   r rule,remaining,retry       refused, by the rule of this place (from 0)
--   x amount                     the key was used for this amount
--   e now                        the clock is in none of the boundaries
-- with '-' for never. Or returns 'expired', 'fenced' or 'restoring', and wrote nothing. Under an epoch the text goes on, after
-- the character 30 each, with the number of this step in the epoch, the counters as `told` has them, and where spends are
-- remembered a line for each: its memory, the key, and what is remembered.
--
-- A spend is remembered in a hash of the running stretch of its memory, which is as long as the memory is, and looked up in
-- three of them: the hashes take turns, and one that comes up again is emptied. So it is there as long as it must be, in
-- either direction of the clock. '#' holds the number of the stretch.
--
-- Everything is read and checked before the first write, for Redis does not take back what a failing script wrote.

now = clock_of(ARGV[1])
local call, kept = digits(ARGV[2], MAX, 'the number of the call'), digits(ARGV[3], MAX, 'a duration')

local fence = fenced(KEYS[3], ARGV[4])
if fence then return fence end
local last = redis.call('GET', KEYS[1])
if last then
  local number, reply = match(last, '^(%d+) (.*)$')
  if not number then fail('the last call is not one') end
  if number + 0 == call then return reply end
  -- A resend from before what this caller has sent since.
  if number + 0 > call then fail('the call is over') end
end
if ARGV[5] == '1' and has_expired(KEYS[2]) then return 'expired' end
local is_ledger = ARGV[4] ~= ''

local memories, shapes, groups = json(ARGV[6], 'memories'), json(ARGV[7], 'shapes'), json(ARGV[8], 'groups')
local first_counter = 4 + 3 * #memories
for at, shape in ipairs(shapes) do shapes[at] = shape_of(shape) end
read_counters(first_counter)

-- One pass over the groups to find what is remembered, for each memory with one read of each of its hashes.
local at = 1
local function take_next()
  at = at + 1
  return groups[at - 1]
end

local wanted = {}
for memory = 1, #memories do
  whole(memories[memory], 1, MAX, 'a memory')
  wanted[memory] = { '#' }
end
local length = #groups
while at <= length and #memories > 0 do
  local shape = shapes[take_next()]
  if not shape then fail('a shape is not there') end
  at = at + shape.places
  local count = whole(take_next(), 1, MAX, 'a count')
  at = at + 1
  local memory = take_next()
  if memory == 0 then
    at = at + 1
  else
    local keys = wanted[memory]
    if not keys then fail('a memory is not there') end
    for place = at + 1, at + 2 * count, 2 do
      local key = groups[place]
      if type(key) ~= 'string' then fail('a key is not text') end
      if key ~= '' then keys[#keys + 1] = key end
    end
    at = at + 2 * count
  end
end

local remembered, stretches = {}, {}
for memory, keys in ipairs(wanted) do
  remembered[memory], stretches[memory] = {}, {}
  for turn = 1, 3 do
    local hash = KEYS[1 + 3 * memory + turn - 1]
    -- Fails on a key of another type, while nothing is written yet.
    local found = redis.call('HGET', hash, '#')
    if found then
      stretches[memory][turn] = digits(found, MAX, 'a stretch')
      local values = redis.call('HMGET', hash, unpack(keys))
      for place = 2, #keys do
        local value = values[place]
        if value then
          local amount, answer, expires = match(value, '^(%d+):([%d,-]+):(%d+)$')
          if not amount then fail('a remembered spend is not one') end
          local other = remembered[memory][keys[place]]
          if now < expires + 0 and (not other or other.expires < expires + 0) then
            remembered[memory][keys[place]] =
              { amount = amount + 0, answer = answer, expires = expires + 0, value = value }
          end
        end
      end
    end
  end
end

local function amounts_in(count, sum, source)
  if count == 1 then return { sum } end
  local amounts, total = {}, 0
  for amount in string.gmatch(source, '%d+') do
    amounts[#amounts + 1] = whole(tonumber(amount), 1, MAX, 'an amount')
    total = total + amounts[#amounts]
  end
  if #amounts ~= count or (sum > 0 and total ~= sum) then fail('the amounts are not those of the sum') end
  return amounts
end

-- The second pass decides, in order.
local lines, spends, vouched = {}, {}, {}
for memory = 1, #memories do spends[memory] = {} end
at = 1
while at <= length do
  local shape = shapes[groups[at]]
  if not shape then fail('a shape is not there') end
  local base = at + 1
  at = base + shape.places
  local count, sum, memory = whole(groups[at], 1, MAX, 'a count'), whole(groups[at + 1], 0, MAX, 'a sum'), groups[at + 2]
  at = at + 3
  local known, fresh = remembered[memory], spends[memory]
  if not known and memory ~= 0 then fail('a memory is not there') end
  local is_plain = not shape.has_bucket or count == 1
  local left, least = draw(shape, groups, base, false)
  if left and not least then fail('units in use at the same time are held, not spent') end

  if not known and is_plain and left and sum > 0 and sum <= left then
    -- The amounts one by one would come to the same.
    at = at + 1
    take_drawn(shape, groups, base, sum, 0)
    lines[#lines + 1] = '=' .. format(DIGITS, left - sum) .. ',' .. instant_text(full_at(drawn[least]))
  else
    local entries, resets = {}, nil
    local amounts = not known and amounts_in(count, sum, take_next())
    for turn = 1, count do
      local amount, key
      if known then
        amount, key = whole(take_next(), 1, MAX, 'an amount'), take_next()
      else
        amount, key = amounts[turn], ''
      end
      local before = key ~= '' and known[key]
      if before and now < before.expires then
        is_plain = false
        if before.amount ~= amount then
          entries[turn] = 'x' .. text(before.amount)
        else
          entries[turn] = 'p' .. before.answer
          if is_ledger then
            vouch(shape, groups, base)
            vouched[#vouched + 1] = memory .. ' ' .. key .. ' ' .. before.value
          end
        end
      elseif not left then
        is_plain = false
        entries[turn] = 'e' .. text(now)
      elseif amount > left then
        is_plain = false
        entries[turn] = refusal(shape, groups, base, amount, false)
      else
        take_drawn(shape, groups, base, amount, 0)
        left = left - amount
        for rule = 1, #shape do lefts[rule] = lefts[rule] and lefts[rule] - amount end
        if not resets or shape.has_bucket then resets = instant_text(full_at(drawn[least])) end
        local answer = text(left) .. ',' .. resets
        entries[turn] = 'c' .. answer
        if key ~= '' then
          local expires = now + memories[memory]
          local value = text(amount) .. ':' .. answer .. ':' .. text(expires)
          known[key] = { amount = amount, answer = answer, expires = expires, value = value }
          fresh[#fresh + 1] = key
          fresh[#fresh + 1] = value
          if is_ledger then vouched[#vouched + 1] = memory .. ' ' .. key .. ' ' .. value end
        end
      end
    end
    lines[#lines + 1] = is_plain and '=' .. text(left) .. ',' .. resets or table.concat(entries, ';')
  end
end
local reply = table.concat(lines, '\n')

write_counters()
if is_ledger then
  local revision, counters = told(KEYS[3])
  reply = reply .. '\30' .. revision .. '\30' .. counters .. '\30' .. table.concat(vouched, '\n')
end
for memory, fields in ipairs(spends) do
  if #fields > 0 then
    local stretch = floor(now / memories[memory])
    local turn = stretch % 3
    local hash, found = KEYS[1 + 3 * memory + turn], stretches[memory][turn + 1]
    if found and found < stretch then
      redis.call('UNLINK', hash)
      found = nil
    end
    for from = 1, #fields, 4000 do
      redis.call('HSET', hash, unpack(fields, from, math.min(#fields, from + 3999)))
    end
    -- A later stretch than this one stays what it is: the clock was set back.
    if not found then
      redis.call('HSET', hash, '#', text(stretch))
      redis.call('PEXPIREAT', hash, text((stretch + 2) * memories[memory]))
    end
  end
end
redis.call('SET', KEYS[1], text(call) .. ' ' .. reply, 'PX', text(kept))
return reply
