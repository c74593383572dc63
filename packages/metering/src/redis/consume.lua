-- metering.consume: spends amounts from counters of one tenant, each from all of its counters or from none.
--
-- KEYS[1]   the last call of this caller in this place, a string: its number, a space and its reply
-- KEYS[2]   the tenant's open holds, a sorted set by the instants at which they expire
-- KEYS[3]   the tenant's fence, a hash: at (the epoch and the run id of the server, joined by a space), revision (the number
--           of the last step in the epoch)
-- KEYS[4…]  the counters, and after them three hashes for each memory of spends
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
--           Groups of one shape and one amount each, from one counter each and without a memory, stand together as one
--           where their counters follow one another in KEYS: with the place of the first, how many they are below 0, and
--           a list of their amounts.
--
-- Returns a text of one line for each group, or for those that stand together: either '=remaining,resets', when all of its amounts were spent now, of what
-- remained after the last; or an entry for each amount, joined by semicolons:
--   remaining,resets             spent now; without ',resets' where it is that of the last one before in the line
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
local last_counter = #KEYS - 3 * #memories
for at, shape in ipairs(shapes) do shapes[at] = shape_of(shape) end
read_counters(4, last_counter)

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
  local count = whole(take_next(), -MAX, MAX, 'a count')
  at = at + 1
  local memory = take_next()
  if memory == 0 then
    at = at + 1
  else
    local keys = wanted[memory]
    if not keys then fail('a memory is not there') end
    whole(count, 1, MAX, 'a count')
    local size = #keys
    for place = at + 1, at + 2 * count, 2 do
      local key = groups[place]
      if type(key) ~= 'string' then fail('a key is not text') end
      if key ~= '' then
        size = size + 1
        keys[size] = key
      end
    end
    at = at + 2 * count
  end
end

-- What is remembered of a spend: its amount, its answer, and until when.
local function remembered_in(value)
  local amount, answer, expires = match(value, '^(%d+):([%d,-]+):(%d+)$')
  if not amount then fail('a remembered spend is not one') end
  return amount + 0, answer, expires + 0
end

-- For each memory by the key, as it is stored: what is not over yet, and of two the one that lasts longer.
local remembered, stretches = {}, {}
for memory, keys in ipairs(wanted) do
  remembered[memory], stretches[memory] = {}, {}
  local known = remembered[memory]
  for turn = 1, 3 do
    local hash = KEYS[last_counter + 3 * memory - 3 + turn]
    -- Fails on a key of another type, while nothing is written yet.
    local found = redis.call('HGET', hash, '#')
    if found then
      stretches[memory][turn] = digits(found, MAX, 'a stretch')
      local values = redis.call('HMGET', hash, unpack(keys))
      for place = 2, #keys do
        local value = values[place]
        if value then
          local _, _, expires = remembered_in(value)
          local key = keys[place]
          local _, _, other = remembered_in(known[key] or '0:-:0')
          if now < expires and other < expires then known[key] = value end
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

local vouched = {}

local function vouch_for_spend(memory, key, value)
  vouched[#vouched + 1] = memory .. ' ' .. key .. ' ' .. value
end

-- Groups that stand together, each with a counter of its own.
local function spend_each(shape, first, count, amounts)
  if shape.places ~= 1 or type(amounts) ~= 'table' or #amounts ~= count then fail('groups do not stand together') end
  local entries, said, own = {}, 0, {}
  for turn = 1, count do
    local place, amount = first + turn - 1, whole(amounts[turn], 1, MAX, 'an amount')
    local left, ends = take_running(shape, place, amount), shape[1].ends
    if not left then
      own[1] = place
      local there, least = draw(shape, own, 1, false)
      if there and not least then fail('units in use at the same time are held, not spent') end
      if not there then
        entries[turn] = 'e' .. text(now)
      elseif amount > there then
        entries[turn] = refusal(shape, own, 1, amount, false)
      else
        take_drawn(shape, own, 1, amount, 0)
        left, ends = there - amount, full_at(drawn[1])
      end
    end
    if left then
      local remaining = format(DIGITS, left)
      entries[turn] = ends == said and remaining or remaining .. ',' .. instant_text(ends)
      said = ends
    end
  end
  return table.concat(entries, ';')
end

-- A group of several amounts, or of several counters, or with a memory: in it `known` is remembered, and `fresh` gets what
-- is to be.
local function spend_group(shape, base, count, sum, memory, known, fresh)
  local has_bucket = shape.has_bucket
  local is_plain = not has_bucket or count == 1
  local left, least = draw(shape, groups, base, false)
  if left and not least then fail('units in use at the same time are held, not spent') end
  local amounts
  if not known then
    local source = take_next()
    if is_plain and left and sum > 0 and sum <= left then
      -- The amounts one by one would come to the same.
      take_drawn(shape, groups, base, sum, 0)
      return '=' .. text(left - sum) .. ',' .. instant_text(full_at(drawn[least]))
    end
    amounts = amounts_in(count, sum, source)
  end

  local expires = known and now + memories[memory]
  local entries, size, said, resets, tail = {}, known and #fresh, nil, nil, nil
  -- Spends are taken together, but for a bucket, which says after each when it will be full.
  local untaken = 0
  local function take_all()
    if untaken > 0 then
      take_drawn(shape, groups, base, untaken, 0)
      for rule = 1, #shape do lefts[rule] = lefts[rule] and lefts[rule] - untaken end
    end
    untaken = 0
  end
  for turn = 1, count do
    local amount, key, before
    if known then
      amount, key = whole(groups[at], 1, MAX, 'an amount'), groups[at + 1]
      at = at + 2
      before = known[key]
    else
      amount, key = amounts[turn], ''
    end
    if before then
      is_plain = false
      local first_amount, answer = remembered_in(before)
      if first_amount ~= amount then
        entries[turn] = 'x' .. text(first_amount)
      else
        entries[turn] = 'p' .. answer
        if is_ledger then
          vouch(shape, groups, base)
          vouch_for_spend(memory, key, before)
        end
      end
    elseif not left then
      is_plain = false
      entries[turn] = 'e' .. text(now)
    elseif amount > left then
      is_plain = false
      take_all()
      entries[turn] = refusal(shape, groups, base, amount, false)
    else
      left, untaken = left - amount, untaken + amount
      if not resets or has_bucket then
        take_all()
        resets = instant_text(full_at(drawn[least]))
        tail = known and ',' .. resets .. ':' .. text(expires)
      end
      local remaining = format(DIGITS, left)
      entries[turn] = resets == said and remaining or remaining .. ',' .. resets
      said = resets
      if key ~= '' then
        local value = shared_text(amount) .. ':' .. remaining .. tail
        known[key] = value
        fresh[size + 1], fresh[size + 2] = key, value
        size = size + 2
        if is_ledger then vouch_for_spend(memory, key, value) end
      end
    end
  end
  take_all()
  return is_plain and '=' .. text(left) .. ',' .. resets or table.concat(entries, ';')
end

-- The second pass decides, in order.
local lines, spends = {}, {}
for memory = 1, #memories do spends[memory] = {} end
at = 1
while at <= length do
  local shape = shapes[take_next()]
  if not shape then fail('a shape is not there') end
  local base = at
  at = base + shape.places
  local count, sum, memory =
    whole(take_next(), -MAX, MAX, 'a count'), whole(take_next(), 0, MAX, 'a sum'), take_next()
  if memory ~= 0 and not remembered[memory] then fail('a memory is not there') end
  if count < 0 then
    lines[#lines + 1] = spend_each(shape, groups[base], -count, take_next())
  else
    whole(count, 1, MAX, 'a count')
    lines[#lines + 1] = spend_group(shape, base, count, sum, memory, remembered[memory], spends[memory])
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
    local hash, found = KEYS[last_counter + 3 * memory - 2 + turn], stretches[memory][turn + 1]
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
