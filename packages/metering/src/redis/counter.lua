-- metering.counter: what the scripts of quotas share. It stands before each of them, as one text.
--
-- A counter is one string, in one of these forms; `used` counts what is held, too. Integers up to 9e15, instants in epoch ms.
--   w:starts:ends:used:held                         a window [starts, ends), or one that does not end (NEVER)
--   r:length:starts-ends=used+held,...              rolling: its slices, the oldest first
--   t:starts:refill:per:at:remainder:used:held      a bucket
--   c:starts:used                                   units in use at the same time
-- A rule is JSON: [kind, quantity, numbers, reserved]. Its kind is one of l (lifetime), e (every: [ms]), b (boundaries:
-- [instants]), r (rolling: [ms]), t (bucket: [refill, ms]) and c (concurrent); reserved is a list of quantities.
--
-- Lua counts in doubles, exact up to 2^53: quantities stop at 9e15, and comparisons subtract rather than add. A quotient of
-- integers below 2^53 is never rounded up to the next integer, so floor(a / b) and a % b are exact.
-- The rules are quota/counter.ts and quota/counter-step.ts, held equal by the conformance kit and the reference.

local NEVER = 8640000000000000
local MAX = 9000000000000000
-- What a counter that is as good as new is kept for, so that a server clock set back finds it and does not start anew.
local AFTERLIFE = 86400000
local SLICES = 60

local floor, ceil, match, format, sub = math.floor, math.ceil, string.match, string.format, string.sub

local function fail(reason)
  error('ERR ' .. reason, 0)
end

-- NaN fails each comparison.
local function whole(value, min, max, what)
  if type(value) == 'number' and value >= min and value <= max and value % 1 == 0 then return value end
  fail(what .. ' is not an integer within bounds')
end

local function digits(source, max, what)
  if type(source) ~= 'string' or not match(source, '^%d+$') then fail(what .. ' is not an integer') end
  return whole(tonumber(source), 0, max, what)
end

-- `%d` is twice as fast where a C long holds 9e15, which is everywhere but on 32 bits.
local DIGITS = format('%d', MAX) == '9000000000000000' and '%d' or '%.0f'

local function text(value)
  return format(DIGITS, value)
end

-- Instants are those of a few windows, however many counters there are: each is turned into text and back once.
local texts, numbers = {}, {}

local function shared_text(value)
  local known = texts[value]
  if not known then
    known = format(DIGITS, value)
    texts[value] = known
  end
  return known
end

local function shared_number(source)
  local known = numbers[source]
  if not known then
    known = tonumber(source)
    numbers[source] = known
  end
  return known
end

local function json(source, what)
  local is_json, value = pcall(cjson.decode, source)
  if not is_json or type(value) ~= 'table' then fail(what .. ' is not JSON') end
  return value
end

-- A clock from a test, or the server's; read once, for it goes on within a script on some versions.
local function clock_of(given)
  if given ~= '' then return digits(given, NEVER, 'the clock') end
  local time = redis.call('TIME')
  return time[1] * 1000 + floor(time[2] / 1000)
end

local now

-- Nil where this server is the one that the fence says, in this epoch. One that was restarted, promoted or emptied has lost
-- what it does not know of, and cannot say that it has: 'fenced'. 'restoring': somebody makes this epoch right now.
local function fenced(key, epoch)
  if epoch == '' then return nil end
  local at = redis.call('HGET', key, 'at')
  if at == epoch .. ' ' .. match(redis.call('INFO', 'server'), 'run_id:(%x+)') then return nil end
  return at == epoch .. ' restoring' and 'restoring' or 'fenced'
end

local function has_expired(holds)
  return #redis.call('ZRANGEBYSCORE', holds, '-inf', text(now), 'LIMIT', '0', '1') > 0
end

local NUMBERS = { l = 0, e = 1, r = 1, t = 2, c = 0 }

-- A rule, with the window that would begin now: none where no boundaries are around it.
local function rule_of(source)
  local kind, quantity, numbers, reserved = source[1], source[2], source[3], source[4]
  if type(numbers) ~= 'table' or type(reserved) ~= 'table' then fail('a rule is not one') end
  whole(quantity, 0, MAX, 'a quantity')
  for _, number in ipairs(numbers) do whole(number, 0, MAX, 'a number of a rule') end
  local rule = { kind = kind, quantity = quantity, reserved = reserved, reserved_sum = 0, state = 'w' }
  for _, part in ipairs(reserved) do
    rule.reserved_sum = rule.reserved_sum + whole(part, 0, MAX, 'a reserved part')
  end
  if kind == 'b' then
    for at = 1, #numbers - 1 do
      if numbers[at] <= now and now < numbers[at + 1] then rule.starts, rule.ends = numbers[at], numbers[at + 1] end
    end
    return rule
  end
  if #numbers ~= (NUMBERS[kind] or -1) then fail('a rule is not one') end
  for _, number in ipairs(numbers) do
    if number < 1 then fail('a number of a rule is not positive') end
  end
  if kind == 'l' then
    rule.ends = NEVER
  elseif kind == 'e' then
    rule.starts = now - now % numbers[1]
    rule.ends = rule.starts + numbers[1]
  else
    rule.state = kind
    if kind == 'r' then
      rule.length = numbers[1]
    elseif kind == 't' then
      rule.refill, rule.per = numbers[1], numbers[2]
    end
  end
  return rule
end

local function state_of(source)
  local kind = sub(source, 1, 1)
  if kind == 'w' then
    local starts, ends, used, held = match(source, '^w:(%d+):(%d+):(%d+):(%d+)$')
    if starts then
      return { kind = 'w', starts = shared_number(starts), ends = shared_number(ends), used = tonumber(used),
        held = shared_number(held), is_stored = true }
    end
  elseif kind == 'r' then
    local length, slices = match(source, '^r:(%d+):([%d=+,-]*)$')
    if length then
      local state = { kind = 'r', length = length + 0, used = 0, held = 0, slices = {} }
      for starts, ends, used, held in string.gmatch(slices, '(%d+)-(%d+)=(%d+)%+(%d+),') do
        state.slices[#state.slices + 1] = { starts = starts + 0, ends = ends + 0, used = used + 0, held = held + 0 }
        state.used, state.held = state.used + used, state.held + held
      end
      return state
    end
  elseif kind == 't' then
    local starts, refill, per, filled, remainder, used, held =
      match(source, '^t:(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+)$')
    if starts then
      return { kind = 't', starts = starts + 0, refill = refill + 0, per = per + 0, at = filled + 0,
        remainder = remainder + 0, used = used + 0, held = held + 0 }
    end
  elseif kind == 'c' then
    local starts, used = match(source, '^c:(%d+):(%d+)$')
    if starts then return { kind = 'c', starts = starts + 0, used = used + 0, held = used + 0 } end
  end
  fail('a counter is not one')
end

local function written(state)
  local kind = state.kind
  if kind == 'w' then
    return 'w:' .. shared_text(state.starts) .. ':' .. shared_text(state.ends) .. ':' .. format(DIGITS, state.used) .. ':'
      .. shared_text(state.held)
  end
  if kind == 'r' then
    local slices = {}
    for at, slice in ipairs(state.slices) do
      slices[at] = format('%.0f-%.0f=%.0f+%.0f,', slice.starts, slice.ends, slice.used, slice.held)
    end
    return format('r:%.0f:%s', state.length, table.concat(slices))
  end
  if kind == 't' then
    return format('t:%.0f:%.0f:%.0f:%.0f:%.0f:%.0f:%.0f', state.starts, state.refill, state.per, state.at,
      state.remainder, state.used, state.held)
  end
  return format('c:%.0f:%.0f', state.starts, state.used)
end

local function fill(state)
  if now <= state.at then return end
  local spent = state.used - state.held
  local periods = floor((now - state.at) / state.per)
  local back = spent
  local remainder = 0
  -- So many whole periods fill it, and would be a product beyond 9e15 if there were many more.
  if periods < floor((spent + state.refill - 1) / state.refill) then
    local parts = (now - state.at) % state.per * state.refill + state.remainder
    back = periods * state.refill + floor(parts / state.per)
    remainder = parts % state.per
  end
  if back >= spent then back, remainder = spent, 0 end
  state.used, state.remainder, state.at = state.used - back, remainder, now
end

-- When `units` more will have come back to a bucket; nil when so many are not spent, or when that is beyond all dates.
local function has_back_at(state, units)
  if units > state.used - state.held then return nil end
  if units <= 0 then return state.at end
  local periods = floor(units / state.refill)
  if periods > floor((NEVER - state.at) / state.per) then return nil end
  local parts = units % state.refill * state.per - state.remainder
  local instant = state.at + periods * state.per - floor(-parts / state.refill)
  if instant < NEVER then return instant end
  return nil
end

local function drop_slices(state)
  local kept, used, held = {}, 0, 0
  for _, slice in ipairs(state.slices) do
    -- Once one is kept all later ones are, also when the clock was set back.
    if #kept > 0 or now < slice.ends + state.length then
      kept[#kept + 1] = slice
      used, held = used + slice.used, held + slice.held
    end
  end
  state.slices, state.used, state.held = kept, used, held
end

local function fresh(rule, starts)
  local kind = rule.state
  if kind == 'w' then
    if not rule.ends then return nil end
    return { kind = 'w', starts = rule.starts or starts, ends = rule.ends, used = 0, held = 0 }
  end
  if kind == 'r' then return { kind = 'r', length = rule.length, used = 0, held = 0, slices = {} } end
  if kind == 'c' then return { kind = 'c', starts = starts, used = 0, held = 0 } end
  return { kind = 't', starts = starts, refill = rule.refill, per = rule.per, at = now, remainder = 0, used = 0, held = 0 }
end

-- What a counter is in now, under the rule: `runningCounter`. Nil where the clock is elsewhere.
local function running(last, rule)
  if not last then return fresh(rule, now) end
  local kind = last.kind
  if kind == 'w' and rule.state ~= 'c' then
    if last.ends == NEVER then
      if rule.kind == 'l' then return last end
    elseif now < last.ends then
      return last
    end
  end
  local starts = now
  if last.starts and last.starts >= now then starts = last.starts + 1 end
  if kind == 'c' and rule.state == 'c' then return last end
  if kind == 'c' or kind == 'w' or rule.state == 'c' then return fresh(rule, starts) end
  if kind == 'r' then
    drop_slices(last)
    if rule.state == 'r' and rule.length == last.length then return last end
  else
    fill(last)
    if rule.state == 't' then
      if rule.refill ~= last.refill or rule.per ~= last.per then
        last.refill, last.per, last.remainder = rule.refill, rule.per, 0
      end
      return last
    end
  end
  if last.used == 0 then return fresh(rule, starts) end
  local ends
  if kind == 'r' then
    ends = last.slices[#last.slices].ends + last.length
  else
    last.held = 0
    ends = has_back_at(last, last.used) or NEVER - 1
  end
  return { kind = 'w', starts = starts, ends = ends, used = last.used, held = 0 }
end

-- The slice that now falls into, or the newest there is when the clock was set back before it.
local function slice_now(state)
  local newest = state.slices[#state.slices]
  if newest and now < newest.ends then return newest, true end
  local length = ceil(state.length / SLICES)
  local starts = now - now % length
  return { starts = starts, ends = starts + length, used = 0, held = 0 }, false
end

local function take(state, amount, held)
  local kind = state.kind
  if kind == 'c' then
    state.used, state.held = state.used + held, state.held + held
    return
  end
  if kind == 'r' then
    local slice, is_there = slice_now(state)
    if not is_there then state.slices[#state.slices + 1] = slice end
    slice.used, slice.held = slice.used + amount, slice.held + held
  end
  state.used, state.held = state.used + amount, state.held + held
end

-- What is taken now is pinned to: the window, the slice, or the instant at which a counter without end began.
local function pin_of(state)
  if state.kind == 'r' then
    local slice = slice_now(state)
    return slice.starts, slice.ends
  end
  return state.starts, state.kind == 'w' and state.ends or NEVER
end

-- Whether a counter is still in what a hold was taken from.
local function is_pinned(state, starts, ends)
  if state.kind ~= 'r' then
    return state.starts == starts and (state.kind == 'w' and state.ends or NEVER) == ends
  end
  for at, slice in ipairs(state.slices) do
    if slice.starts == starts and slice.ends == ends then return at end
  end
  return false
end

-- Gives `used` units back and holds `held` no longer, where the pin still is. Says whether it is.
local function give_back(state, starts, ends, used, held)
  local at = is_pinned(state, starts, ends)
  if not at then return false end
  if state.kind == 'r' then
    local slice = state.slices[at]
    slice.used, slice.held = slice.used - used, slice.held - held
    state.used, state.held = state.used - used, state.held - held
    if slice.used <= 0 then table.remove(state.slices, at) end
  elseif state.kind == 'c' then
    state.used, state.held = state.used - held, state.held - held
  else
    if state.kind == 't' then fill(state) end
    state.used = math.max(state.held - held, state.used - used)
    state.held = state.held - held
  end
  return true
end

-- When a counter has its full quantity again if nobody else spends; nil when waiting does not do it.
local function full_at(state)
  if state.kind == 'w' then
    if state.ends == NEVER then return nil end
    return state.ends
  end
  if state.kind == 'r' then
    local newest = state.slices[#state.slices]
    return newest and newest.ends + state.length or now
  end
  if state.kind == 'c' then return nil end
  if state.used == state.held then return now end
  return has_back_at(state, state.used - state.held)
end

local function instant_text(instant)
  return instant and shared_text(instant) or '-'
end

-- The counters of this call by their places in KEYS: their texts, read at once and numbered from 1; what was made of those
-- that were looked at; and those to be written, with what was taken from them.
local sources, states, touched, first_place, last_place = nil, {}, {}, nil, nil

local function read_counters(first, last)
  first_place, last_place = first, last
  sources = first > last and {} or redis.call('MGET', unpack(KEYS, first, last))
end

-- The counter in a place as it was left; false where there is none.
local function stored_at(place)
  local state = states[place]
  if state ~= nil then return state end
  local source = sources[whole(place, first_place, last_place, 'the place of a counter') - first_place + 1]
  if source then
    state = state_of(source)
  else
    -- MGET says nothing about a key of another type, and SET would replace it.
    if redis.call('EXISTS', KEYS[place]) == 1 then fail('a counter is of another type') end
    state = false
  end
  states[place] = state
  return state
end

-- The counter in a place as it is now under a rule; nil where the clock is elsewhere.
local function counter_at(place, rule)
  local state = running(stored_at(place), rule)
  if state then states[place] = state end
  return state
end

-- The rules of a shape, which is what an array of charges comes to without the names of its counters. A call lists for
-- each rule the place of its counter and those of the reserved ones, in this order. `running` is of a shape of one counter
-- that counts in windows: how its text begins while it is in the present one.
local function shape_of(sources_of_rules)
  local shape = { places = 0, at = {} }
  for at, source in ipairs(sources_of_rules) do
    if type(source) ~= 'table' then fail('a rule is not one') end
    local rule = rule_of(source)
    shape[at], shape.at[at] = rule, shape.places
    shape.places = shape.places + 1 + #rule.reserved
    shape.has_bucket = shape.has_bucket or rule.kind == 't'
  end
  if #shape == 0 then fail('a shape has no rules') end
  local rule = shape[1]
  if shape.places == 1 and rule.starts then
    shape.running = 'w:' .. text(rule.starts) .. ':' .. text(rule.ends) .. ':'
  end
  return shape
end

local function left_in(rule, state, places, base)
  local free = rule.quantity - state.used
  local reserved = 0
  for at, part in ipairs(rule.reserved) do
    local other = counter_at(places[base + at], rule)
    local unused = other and math.max(0, part - other.used) or part
    reserved = unused > MAX - reserved and MAX or reserved + unused
  end
  if reserved >= free then return 0 end
  return free - reserved
end

-- The counters that the last shape was looked at for, and what each has left.
local drawn, lefts = {}, {}

-- How the counters of a shape stand: the least that one of them has left, and which; nil where the clock is elsewhere.
-- What is spent passes `concurrent` by, and what is charged to such counters alone finds no bound.
local function draw(shape, places, base, is_held)
  local left, least
  for at, rule in ipairs(shape) do
    local own = base + shape.at[at]
    local state = counter_at(places[own], rule)
    if not state then return nil end
    drawn[at] = state
    if is_held or rule.state ~= 'c' then
      lefts[at] = left_in(rule, state, places, own)
      if not left or lefts[at] < left then left, least = lefts[at], at end
    end
  end
  return left or MAX, least
end

-- Takes from all of the counters that were drawn, as spent or as held.
local function take_drawn(shape, places, base, amount, held)
  for at, rule in ipairs(shape) do
    if held > 0 or rule.state ~= 'c' then
      take(drawn[at], amount, held)
      local place = places[base + shape.at[at]]
      touched[place] = (touched[place] or 0) + amount
    end
  end
end

-- Takes from the counter of a shape that has one, by its text alone, and says what it has left. That is a fifth of the work
-- for the counter that is met most: a window that goes on and has enough. Nil, and nothing done, for any other.
local function take_running(shape, place, amount)
  local running, at = shape.running, place - first_place + 1
  local source = states[place] == nil and sources[at]
  if not running or not source or sub(source, 1, #running) ~= running then return nil end
  local used, held = match(source, '^(%d+)(:%d+)$', #running + 1)
  if not used then return nil end
  local left = shape[1].quantity - used - amount
  if left < 0 then return nil end
  sources[at] = running .. format(DIGITS, used + amount) .. held
  touched[place] = (touched[place] or 0) + amount
  return left
end

-- Looks at counters as they will be at an instant to come, if nobody draws on them until then.
local function later(instant, look)
  local present, kept = now, {}
  for place, state in pairs(states) do
    kept[place] = state
    if state then states[place] = state_of(written(state)) end
  end
  now = instant
  local found = look()
  now = present
  for place, state in pairs(kept) do states[place] = state end
  return found
end

-- When a counter could have an amount, as `enoughAt` in quota/draw.ts says; nil when waiting does not do it.
local function enough_at(rule, state, places, own, amount)
  local most = rule.quantity
  for _, part in ipairs(rule.reserved) do most = most - math.min(most, part) end
  if amount > most or state.kind == 'c' then return nil end
  if state.kind == 'w' then return full_at(state) end
  local function has_enough(instant)
    return later(instant, function()
      local then_state = counter_at(places[own], rule)
      return then_state and amount <= left_in(rule, then_state, places, own)
    end)
  end
  if state.kind == 'r' then
    for _, slice in ipairs(state.slices) do
      local instant = slice.ends + state.length
      if has_enough(instant) then return instant end
    end
    return nil
  end
  local reserved = 0
  for at, part in ipairs(rule.reserved) do
    local other = counter_at(places[own + at], rule)
    local unused = other and math.max(0, part - other.used) or part
    reserved = unused > MAX - reserved and MAX or reserved + unused
  end
  local alone = has_back_at(state, state.used - (rule.quantity - reserved - amount))
  if not alone or has_enough(alone) then return alone end
  local last = full_at(state)
  if not last then return nil end
  for at = 1, #rule.reserved do
    local other = counter_at(places[own + at], rule)
    local full = now
    if other then full = full_at(other) end
    if not full then return nil end
    last = math.max(last, full)
  end
  if has_enough(last) then return last end
  return nil
end

-- Makes the ledger hear of a shape's counters as they are: an earlier call drew on them, and may have ended before
-- it could say so.
local function vouch(shape, places, base)
  for at in ipairs(shape) do
    local place = places[base + shape.at[at]]
    if stored_at(place) then touched[place] = touched[place] or 0 end
  end
end

-- Why the counters that were drawn do not have an amount: the first that is short (from 0), what it has left, and when all
-- could have enough.
local function refusal(shape, places, base, amount, is_held)
  local first, retry
  for at, rule in ipairs(shape) do
    if (is_held or rule.state ~= 'c') and lefts[at] < amount then
      local own = base + shape.at[at]
      local enough = enough_at(rule, drawn[at], places, own, amount)
      if not first then
        first, retry = at, enough
      else
        retry = retry and enough and math.max(retry, enough)
      end
    end
  end
  return format('r%d,%.0f,%s', first - 1, lefts[first], instant_text(retry))
end

-- From when on a counter says nothing that no counter would not say; nil while waiting does not do it.
local function as_new_at(state)
  if state.kind == 'w' then return state.ends end
  if state.kind == 'r' then return full_at(state) end
  if state.kind == 'c' then return state.used == 0 and state.starts or nil end
  return state.held == 0 and has_back_at(state, state.used) or nil
end

local function write_counters()
  local call = redis.call
  for place in pairs(touched) do
    local state = states[place]
    if not state then
      call('SET', KEYS[place], sources[place - first_place + 1], 'KEEPTTL')
    elseif state.is_stored then
      -- A window that goes on expires when it was to expire.
      call('SET', KEYS[place], written(state), 'KEEPTTL')
    else
      local as_new = as_new_at(state)
      if as_new and as_new < NEVER - AFTERLIFE then
        call('SET', KEYS[place], written(state), 'PXAT', shared_text(as_new + AFTERLIFE))
      else
        call('SET', KEYS[place], written(state))
      end
    end
  end
end

-- For a ledger: the number of this step in its epoch, and each counter that it touched or vouches for as it is now, a line
-- for each: place, units taken, the instant at which it is forgotten or '-', state. '0' and nothing when there is none, nor
-- anything else to tell.
local function told(fence, is_more)
  local lines = {}
  for place, units in pairs(touched) do
    local state = stored_at(place)
    local as_new = as_new_at(state)
    local forget = as_new and as_new < NEVER - AFTERLIFE and as_new + AFTERLIFE
    lines[#lines + 1] = format('%d %.0f %s %s', place, units, instant_text(forget), written(state))
  end
  if #lines == 0 and not is_more then return '0', '' end
  return text(redis.call('HINCRBY', fence, 'revision', 1)), table.concat(lines, '\n')
end
