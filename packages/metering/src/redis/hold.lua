-- metering.hold: makes, extends and settles a hold on counters of one tenant, and ends holds that have expired.
--
-- KEYS[1]   the tenant's open holds, a sorted set of their names by the instants at which they expire
-- KEYS[2]   the tenant's fence, see metering.consume
-- KEYS[3…]  holds (one, but for `end`), then counters
-- ARGV[1]   'hold', 'extend', 'settle' or 'end'
-- ARGV[2]   empty; tests put a clock here (epoch ms), everyone else gets the server's
-- ARGV[3]   empty, or the epoch of the ledger that the fence must show
-- ARGV[4]   '1' to say `expired` while there are expired holds, which may give something back, else '0'
-- ARGV[5]   the names of KEYS[3…], a JSON list: what holds say of their counters, and the set of its holds
-- ARGV[6]   how many of them are holds
-- ARGV[7]   the rules, see metering.counter, and the places in KEYS of their counters: two JSON lists in one; `end` has none
-- ARGV[8]   a JSON list. hold: [amount, least amount, ms, 'R' or 'S', ms that its end is remembered, open holds at most,
--           text that names it]; extend: [ms, amount]; settle: [actual, ms that its end is remembered]; end: []
--
-- A hold is a string of lines. The first: asked, amount, expires, R (returned when it expires) or S (spent), ms that its
-- expiry is remembered; then nothing, or actual, charged, overrun, expired, settled (0 or 1) and the instant at which it is
-- forgotten; joined by colons. The second: the text that names it. Then a line for each part: starts, ends, amount, counter.
--
-- Returns a list of a text, and under an epoch of three more: the number of this step in the epoch, the counters as `told`
-- has them, and the holds that were written or found, each as its name, a line break and its text, with the character 30
-- between them. The first is one of
--   held amount,expires,now,replayed (0 or 1)
--   settled actual,charged,overrun,expired,replayed
--   r…, x amount, e now                see metering.consume
--   unknown                            there is no such hold
--   full                               there are as many open holds as may be
--   ended                              end: and the texts that name those that were ended by this call, one a line
--   counters                           and the names of counters that KEYS must have as well, one a line
--   expired, overdue, fenced, restoring    `overdue`: this hold itself is to be ended first
-- with nothing written but by held, settled and ended. Each operation may be sent again: what it did before is found.
--
-- Everything is read and checked before the first write, for Redis does not take back what a failing script wrote. The rules
-- are quota/{hold,hold-expiry,settlement}.ts, held equal by the conformance kit and the reference.

local operation = ARGV[1]
now = clock_of(ARGV[2])
local fence = fenced(KEYS[2], ARGV[3])
if fence then return { fence } end
if ARGV[4] == '1' and has_expired(KEYS[1]) then return { 'expired' } end

local is_ledger = ARGV[3] ~= ''
local names, hold_count = json(ARGV[5], 'names'), digits(ARGV[6], #KEYS - 2, 'a count')
local rules, request = json(ARGV[7], 'rules'), json(ARGV[8], 'a request')
local shape, places = rules[1] and shape_of(rules[1]), rules[2]
if #names ~= #KEYS - 2 or (operation ~= 'end' and hold_count ~= 1) then fail('the names are not those of the keys') end
local place_of = {}
for at, name in ipairs(names) do place_of[name] = at + 2 end
read_counters(3 + hold_count, #KEYS)

local function hold_of(source)
  local first, naming, rest = match(source, '^([^\n]*)\n([^\n]*)\n(.*)$')
  local asked, amount, expires, on_expiry, keep, ending = match(first or '', '^(%d+):(%d+):(%d+):([RS]):(%d+):(.*)$')
  if not asked then fail('a hold is not one') end
  local hold = { asked = asked + 0, amount = amount + 0, expires = expires + 0, on_expiry = on_expiry, keep = keep + 0,
    naming = naming, parts = {} }
  if ending ~= '' then
    local actual, charged, overrun, expired, settled, forget = match(ending, '^(%d+):(%d+):(%d+):([01]):([01]):(%d+)$')
    if not actual then fail('the end of a hold is not one') end
    hold.ended = { actual = actual + 0, charged = charged + 0, overrun = overrun + 0, expired = expired, settled = settled,
      forget = forget + 0 }
  end
  for starts, ends, part_amount, counter in string.gmatch(rest, '(%d+):(%d+):(%d+):([^\n]*)\n') do
    hold.parts[#hold.parts + 1] = { starts = starts + 0, ends = ends + 0, amount = part_amount + 0, counter = counter }
  end
  return hold
end

local function hold_text(hold)
  local lines = {}
  local ending, e = '', hold.ended
  if e then ending = format('%.0f:%.0f:%.0f:%s:%s:%.0f', e.actual, e.charged, e.overrun, e.expired, e.settled, e.forget) end
  lines[1] = format('%.0f:%.0f:%.0f:%s:%.0f:%s\n', hold.asked, hold.amount, hold.expires, hold.on_expiry, hold.keep, ending)
  lines[2] = hold.naming .. '\n'
  for at, part in ipairs(hold.parts) do
    lines[at + 2] = format('%.0f:%.0f:%.0f:%s\n', part.starts, part.ends, part.amount, part.counter)
  end
  return table.concat(lines)
end

-- The hold in a place, unless it has been forgotten by now.
local function hold_at(place)
  local source = redis.call('GET', KEYS[place])
  if not source then return nil end
  local hold = hold_of(source)
  if hold.ended and now >= hold.ended.forget then return nil end
  return hold
end

local function return_part(part, used, held)
  local place = place_of[part.counter]
  local state = stored_at(place)
  if not state then return end
  if give_back(state, part.starts, part.ends, used, held) then
    touched[place] = (touched[place] or 0) - (state.kind == 'c' and held or used)
  end
end

local function missing_counters(hold)
  local missing = {}
  for _, part in ipairs(hold.parts) do
    if not place_of[part.counter] then missing[#missing + 1] = part.counter end
  end
  if #missing > 0 then return 'counters\n' .. table.concat(missing, '\n') end
  return nil
end

local told_holds = {}
local function tell(place, source)
  told_holds[#told_holds + 1] = names[place - 2] .. '\n' .. source
end

local function write(place, hold)
  local source = hold_text(hold)
  local name = names[place - 2]
  if hold.ended then
    redis.call('SET', KEYS[place], source, 'PXAT', text(hold.ended.forget))
    redis.call('ZREM', KEYS[1], name)
  else
    redis.call('SET', KEYS[place], source)
    redis.call('ZADD', KEYS[1], text(hold.expires), name)
  end
  tell(place, source)
end

local function reply(answer)
  if not is_ledger then return { answer } end
  local revision, counters = told(KEYS[2], #told_holds > 0)
  return { answer, revision, counters, table.concat(told_holds, '\30') }
end

local function settled_text(hold)
  local e = hold.ended
  return format('settled %.0f,%.0f,%.0f,%s,%s', e.actual, e.charged, e.overrun, e.expired, e.settled)
end

local function held_text(hold, replayed)
  return format('held %.0f,%.0f,%.0f,%s', hold.amount, hold.expires, now, replayed)
end

local function expire(hold)
  local is_spent = hold.on_expiry == 'S'
  for _, part in ipairs(hold.parts) do return_part(part, is_spent and 0 or part.amount, part.amount) end
  local parts = {}
  if is_spent then
    for _, part in ipairs(hold.parts) do
      local state = stored_at(place_of[part.counter])
      -- A late settlement gives back to windows and slices. A bucket may have got its units back by itself by then.
      if state and (state.kind == 'w' or state.kind == 'r') then parts[#parts + 1] = part end
    end
  end
  local used = is_spent and hold.amount or 0
  hold.parts = parts
  hold.ended = { actual = used, charged = used, overrun = 0, expired = '1', settled = '0', forget = now + hold.keep }
end

if operation == 'end' then
  local ended, namings = {}, {}
  for place = 3, 2 + hold_count do
    local hold = hold_at(place)
    -- One of which a counter is not here was extended meanwhile: it is left to the next call.
    if hold and not hold.ended and hold.expires <= now and not missing_counters(hold) then
      expire(hold)
      ended[#ended + 1] = { place, hold }
      namings[#namings + 1] = '\n' .. hold.naming
    elseif not hold or hold.ended then
      -- Its entry outlived it.
      ended[#ended + 1] = { place }
    end
  end
  write_counters()
  for _, one in ipairs(ended) do
    if one[2] then write(one[1], one[2]) else redis.call('ZREM', KEYS[1], names[one[1] - 2]) end
  end
  return reply('ended' .. table.concat(namings))
end

local hold = hold_at(3)
if hold and not hold.ended and hold.expires <= now then return { 'overdue' } end

-- Makes the ledger hear of the counters that a hold is counted in, as well: the call that drew on them may have ended before
-- it could say so, and a hold is worth nothing without them.
local function vouch_for(open)
  vouch(shape, places, 1)
  for _, part in ipairs(open.parts) do
    local place = place_of[part.counter]
    if stored_at(place) then touched[place] = touched[place] or 0 end
  end
end

-- The answer to what was done before.
local function reply_again(answer)
  if is_ledger then
    local missing = missing_counters(hold)
    if missing then return { missing } end
    vouch_for(hold)
    tell(3, hold_text(hold))
  end
  return reply(answer)
end

-- Takes from the counters that were drawn and gives the parts.
local function parts_taken(amount)
  local parts = {}
  for at in ipairs(shape) do
    local starts, ends = pin_of(drawn[at])
    local counter = names[places[1 + shape.at[at]] - 2]
    parts[at] = { starts = starts, ends = ends, amount = amount, counter = counter }
  end
  take_drawn(shape, places, 1, amount, amount)
  return parts
end

if operation == 'hold' then
  local amount, least = whole(request[1], 1, MAX, 'an amount'), whole(request[2], 1, MAX, 'an amount')
  local ttl, keep, most = whole(request[3], 1, MAX, 'a duration'), whole(request[5], 1, MAX, 'a duration'), request[6]
  if request[4] ~= 'R' and request[4] ~= 'S' then fail('a request is not one') end
  if hold then
    if hold.asked ~= amount then return { 'x' .. text(hold.asked) } end
    return reply_again(hold.ended and settled_text(hold) or held_text(hold, '1'))
  end
  local left = draw(shape, places, 1, true)
  if not left then return { 'e' .. text(now) } end
  if left < least then return { refusal(shape, places, 1, least, true) } end
  if redis.call('ZCARD', KEYS[1]) >= most then return { 'full' } end
  amount = math.min(amount, left)
  hold = { asked = request[1], amount = amount, expires = now + ttl, on_expiry = request[4], keep = keep,
    naming = request[7], parts = parts_taken(amount) }
elseif not hold then
  return { 'unknown' }
elseif operation == 'extend' then
  local ttl, wanted = whole(request[1], 1, MAX, 'a duration'), whole(request[2], 0, MAX, 'an amount')
  if hold.ended then return reply_again(settled_text(hold)) end
  local missing = is_ledger and missing_counters(hold)
  if missing then return { missing } end
  if wanted > hold.amount then
    local more = wanted - hold.amount
    local left = draw(shape, places, 1, true)
    if not left then return { 'e' .. text(now) } end
    if left < more then return { refusal(shape, places, 1, more, true) } end
    -- What was taken at one time is one part, and so is what no counter can get back any more.
    local parts, found = {}, {}
    local function add(part)
      local place = place_of[part.counter]
      local state = place and stored_at(place)
      local starts, ends = part.starts, part.ends
      if place and not (state and is_pinned(state, starts, ends)) then starts, ends = 0, 0 end
      local id = format('%.0f:%.0f:%s', starts, ends, part.counter)
      if found[id] then
        found[id].amount = found[id].amount + part.amount
      else
        found[id] = { starts = starts, ends = ends, amount = part.amount, counter = part.counter }
        parts[#parts + 1] = found[id]
      end
    end
    local added = parts_taken(more)
    for _, part in ipairs(hold.parts) do add(part) end
    for _, part in ipairs(added) do add(part) end
    hold.parts, hold.amount = parts, wanted
  end
  hold.expires = math.max(hold.expires, now + ttl)
  if is_ledger then vouch_for(hold) end
elseif operation == 'settle' then
  local actual, keep = whole(request[1], 0, MAX, 'an amount'), whole(request[2], 1, MAX, 'a duration')
  if hold.ended and hold.ended.settled == '1' then
    if hold.ended.actual ~= actual then return { 'x' .. text(hold.ended.actual) } end
    return reply_again(settled_text(hold))
  end
  local missing = missing_counters(hold)
  if missing then return { missing } end
  local charged = hold.ended and hold.ended.charged or hold.amount
  local kept = math.min(actual, charged)
  -- What is kept is what was taken first, so that the rest goes back to the latest window.
  local keeping = {}
  for _, part in ipairs(hold.parts) do
    local to_keep = keeping[part.counter] or kept
    local keep_here = math.min(part.amount, to_keep)
    keeping[part.counter] = to_keep - keep_here
    -- After an expiry the units are held no longer.
    return_part(part, part.amount - keep_here, hold.ended and 0 or part.amount)
  end
  local more = 0
  if actual > kept then
    local left = draw(shape, places, 1, false)
    more = math.min(actual - kept, left or 0)
    if more > 0 then take_drawn(shape, places, 1, more, 0) end
  end
  hold.ended = { actual = actual, charged = kept + more, overrun = actual - kept - more,
    expired = hold.ended and '1' or '0', settled = '0', forget = now + keep }
  hold.parts = {}
else
  fail('the operation is none of hold, extend, settle and end')
end

write_counters()
local answer
if hold.ended then
  answer = settled_text(hold)
  -- Whoever asks again hears that it was.
  hold.ended.settled = '1'
else
  answer = held_text(hold, '0')
end
write(3, hold)
return reply(answer)
