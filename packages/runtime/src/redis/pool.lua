-- runtime.pool: one step of a process in a pool of sandboxes that processes share.
--
-- KEYS[1]      the pool, a hash; it expires a day after the last lease has. Its fields:
--                fence      the highest that was given
--                preempted  when preemptions of the last minute were ordered, epoch ms with commas between
--                m:<member> lease end, lease length, sequence, ready, starting, closing, recalled
--                q:<claim>  member, tenant, priority, since, arrival, preemptible (0, 1), shield ms
--                c:<claim>  member, tenant, priority, waited ms, preemptible, fence, state (held, wanted, cold),
--                           shielded until, used at, wanted by (a claim or nothing)
--              Values stand in this order with line feeds between; instants are epoch ms.
-- ARGV[1]      empty; tests put a clock here (epoch ms), everyone else gets the server's
-- ARGV[2..5]   member; sequence; lease ms; 'join', 'stay' or 'leave'. A sequence that the member has had is not done again.
-- ARGV[6..12]  rules: capacity, cold max, tenant max, queue max, aging ms, preemptions a minute, cooldown ms
-- ARGV[13..16] ready, starting, closing, wanted
-- ARGV[17..]   commands, nine places each: type, claim, tenant, priority, credit ms, preemptible, shield ms, fence, cold;
--              those that a type has no use for are empty
--
-- Returns {'lapsed'}, or {'exchanged', ready, starting, recalled, members, stock, held, cold, queued, oldest wait ms,
-- count, then for each claim of the member that waits: claim, position, capped (0, 1); then for each that was granted:
-- claim, fence, state}, with integers as text.
--
-- Everything is read and checked before the first write, for Redis does not take back what a failing script wrote. The
-- model is pool/pool-record.ts, step by step; the conformance kit holds them equal. At most 1,000 places and as many
-- that wait are looked at, some milliseconds.

local MAX = 9000000000000000
local MINUTE = 60000
local KEPT = 86400000
local WIDTH = 9
local COMMANDS = 17

local function integer(text)
  if type(text) ~= 'string' or not string.match(text, '^-?%d+$') then return nil end
  local value = tonumber(text)
  if value < -MAX or value > MAX then return nil end
  return value
end

local function text(value)
  return string.format('%.0f', value)
end

local function refuse(what)
  return redis.error_reply('ERR ' .. what)
end

local own, kind = ARGV[2], ARGV[5]
local given = {}
for at = 3, 16 do
  if at ~= 5 then
    given[at] = integer(ARGV[at])
    if not given[at] or given[at] < 0 then return refuse('the exchange is not one') end
  end
end
if own == '' or (kind ~= 'join' and kind ~= 'stay' and kind ~= 'leave') then return refuse('the exchange is not one') end
local sequence, lease, wanted = given[3], given[4], given[16]
local capacity, cold_max, tenant_max, queue_max = given[6], given[7], given[8], given[9]
local aging, preemptions_max, cooldown = given[10], given[11], given[12]

local commands = {}
if (#ARGV - COMMANDS + 1) % WIDTH ~= 0 then return refuse('the commands are not whole') end
for at = COMMANDS, #ARGV, WIDTH do
  local command = { type = ARGV[at], claim = ARGV[at + 1] }
  if command.type == 'enter' or command.type == 'adopt' then
    command.tenant = ARGV[at + 2]
    command.priority, command.credit = integer(ARGV[at + 3]), integer(ARGV[at + 4])
    command.preemptible, command.shield = integer(ARGV[at + 5]), integer(ARGV[at + 6])
    if not command.priority or not command.credit or not command.preemptible or not command.shield then
      return refuse('a command is not one')
    end
    if command.type == 'adopt' then
      command.fence, command.cold = integer(ARGV[at + 7]), ARGV[at + 8]
      if not command.fence then return refuse('a command is not one') end
    end
  elseif command.type ~= 'go-cold' and command.type ~= 'end' and command.type ~= 'keep' and command.type ~= 'use' then
    return refuse('a command is not one')
  end
  commands[#commands + 1] = command
end

local now
if ARGV[1] ~= '' then
  now = integer(ARGV[1])
  if not now then return refuse('the clock is not epoch milliseconds') end
else
  -- Read once: it goes on within a script on some versions.
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local MEMBER = { 'ends', 'lease', 'sequence', 'ready', 'starting', 'closing', 'recalled' }
local QUEUED = { 'member', 'tenant', 'priority', 'since', 'arrival', 'preemptible', 'shield' }
local CLAIM = { 'member', 'tenant', 'priority', 'waited', 'preemptible', 'fence', 'state', 'shielded', 'used', 'wanted_by' }
local WORDS = { member = true, tenant = true, state = true, wanted_by = true }

local function parsed(value, names)
  local row, at = {}, 0
  for part in string.gmatch(value .. '\n', '([^\n]*)\n') do
    at = at + 1
    local name = names[at]
    if not name then return nil end
    if WORDS[name] then row[name] = part else row[name] = integer(part) end
    if row[name] == nil then return nil end
  end
  if at ~= #names then return nil end
  return row
end

local function packed(row, names)
  local parts = {}
  for at, name in ipairs(names) do
    parts[at] = WORDS[name] and row[name] or text(row[name])
  end
  return table.concat(parts, '\n')
end

-- Fails on a key of another type, while nothing is written yet.
local stored = redis.call('HGETALL', KEYS[1])
local before, members, queue, claims = {}, {}, {}, {}
local fence, preempted = 0, {}
for at = 1, #stored, 2 do
  local field, value = stored[at], stored[at + 1]
  local prefix, id = string.sub(field, 1, 2), string.sub(field, 3)
  before[field] = value
  local row = true
  if prefix == 'm:' then
    row = parsed(value, MEMBER)
    members[id] = row
  elseif prefix == 'q:' then
    row = parsed(value, QUEUED)
    queue[id] = row
  elseif prefix == 'c:' then
    row = parsed(value, CLAIM)
    claims[id] = row
  elseif field == 'fence' then
    row = integer(value)
    fence = row
  elseif field == 'preempted' then
    for part in string.gmatch(value, '[^,]+') do
      preempted[#preempted + 1] = integer(part)
    end
  end
  if not row then return refuse('the pool that is kept is not one') end
end
-- A queued claim without its member cannot be: a row was lost.
for _, row in pairs(queue) do
  if not members[row.member] then return refuse('the pool that is kept is not one') end
end

local function next_fence()
  fence = math.max(fence + 1, now * 1000)
  return fence
end

local function count_of(rows, tenant)
  local count = 0
  for _, row in pairs(rows) do
    if row.tenant == tenant then count = count + 1 end
  end
  return count
end

local function claims_by_tenant()
  local counts = {}
  for _, row in pairs(claims) do counts[row.tenant] = (counts[row.tenant] or 0) + 1 end
  return counts
end

local function size_of(rows)
  local count = 0
  for _ in pairs(rows) do count = count + 1 end
  return count
end

local function grant(claim, row, state)
  queue[claim] = nil
  claims[claim] = { member = row.member, tenant = row.tenant, priority = row.priority, waited = math.max(0, now - row.since),
    preemptible = row.preemptible, fence = next_fence(), state = state, shielded = now + row.shield, used = now, wanted_by = '' }
end

local function finish(claim, row)
  claims[claim] = nil
  local heir = queue[row.wanted_by]
  if not heir or count_of(claims, heir.tenant) >= tenant_max then return end
  grant(row.wanted_by, heir, 'held')
end

-- Claims end in the order of their fences, for those that get their places are given fences on the way.
local function drop(member)
  members[member] = nil
  for claim, row in pairs(queue) do
    if row.member == member then queue[claim] = nil end
  end
  local ending = {}
  for claim, row in pairs(claims) do
    if row.member == member then ending[#ending + 1] = claim end
  end
  table.sort(ending, function(one, other) return claims[one].fence < claims[other].fence end)
  for _, claim in ipairs(ending) do finish(claim, claims[claim]) end
end

local function places_taken()
  local taken = 0
  for _, row in pairs(members) do taken = taken + row.ready + row.starting + row.closing end
  for _, row in pairs(claims) do
    if row.state ~= 'cold' then taken = taken + 1 end
  end
  return taken
end

-- Sandboxes of the member that nobody has, and room for more.
local function free_places()
  local row = members[own]
  return math.max(0, row.ready + row.starting - row.recalled) + math.max(0, capacity - places_taken())
end

local function in_order()
  local order = {}
  for claim, row in pairs(queue) do
    order[#order + 1] = { claim = claim, row = row, rank = row.since - row.priority * aging }
  end
  table.sort(order, function(one, other)
    if one.rank ~= other.rank then return one.rank < other.rank end
    return one.row.arrival < other.row.arrival
  end)
  return order
end

local function recall()
  local most, spare_most, id_most
  for id, row in pairs(members) do
    local spare = row.ready + row.starting - row.recalled
    if spare > 0 and (not most or spare > spare_most or (spare == spare_most and id < id_most)) then
      most, spare_most, id_most = row, spare, id
    end
  end
  if not most then return false end
  most.recalled = most.recalled + 1
  return true
end

local function preempt(claim, wanting)
  if #preempted >= preemptions_max then return false end
  local victim, standing_least
  for _, row in pairs(claims) do
    if row.state == 'held' and row.preemptible == 1 and row.priority < wanting.priority and row.shielded <= now then
      local standing = row.priority * aging + row.waited
      local is_less = not victim or standing < standing_least
      if victim and standing == standing_least then
        is_less = row.used < victim.used or (row.used == victim.used and row.fence < victim.fence)
      end
      if is_less then victim, standing_least = row, standing end
    end
  end
  if not victim then return false end
  victim.state, victim.wanted_by = 'wanted', claim
  preempted[#preempted + 1] = now
  return true
end

local function match()
  local recent = {}
  for _, at in ipairs(preempted) do
    if at > now - MINUTE and at <= now then recent[#recent + 1] = at end
  end
  preempted = recent
  local taken, coming = places_taken(), 0
  for _, row in pairs(members) do coming = coming + row.recalled + row.closing end
  local tenants, served = claims_by_tenant(), {}
  for _, row in pairs(claims) do
    if queue[row.wanted_by] then
      served[row.wanted_by] = true
    elseif row.wanted_by ~= '' then
      coming = coming + 1
    end
  end
  local is_everybody_provided = true
  for _, entry in ipairs(in_order()) do
    local claim, row = entry.claim, entry.row
    local of_tenant = tenants[row.tenant] or 0
    if of_tenant < tenant_max then
      local member = members[row.member]
      local has_stock = member.ready + member.starting > member.recalled
      if has_stock or taken < capacity then
        if not has_stock then
          taken = taken + 1
        elseif member.ready > 0 then
          member.ready = member.ready - 1
        else
          member.starting = member.starting - 1
        end
        tenants[row.tenant] = of_tenant + 1
        grant(claim, row, 'held')
      elseif not served[claim] then
        if coming > 0 then
          coming = coming - 1
        elseif not recall() and not preempt(claim, row) then
          is_everybody_provided = false
        end
      end
    end
  end
  return is_everybody_provided
end

local function carry_out(command)
  local claim = command.claim
  if command.type == 'enter' then
    if queue[claim] or claims[claim] then return end
    -- What can be granted at once need not wait.
    if size_of(queue) >= queue_max + free_places() then return end
    if count_of(queue, command.tenant) >= tenant_max then return end
    local arrival = next_fence()
    queue[claim] = { member = own, tenant = command.tenant, priority = command.priority, since = now - command.credit,
      arrival = arrival, preemptible = command.preemptible, shield = command.shield }
    return
  end
  if command.type == 'adopt' then
    fence = math.max(fence, command.fence)
    queue[claim] = nil
    claims[claim] = { member = own, tenant = command.tenant, priority = command.priority, waited = command.credit,
      preemptible = command.preemptible, fence = command.fence, state = command.cold == '1' and 'cold' or 'held',
      shielded = now + command.shield, used = now, wanted_by = '' }
    return
  end
  local waiting = queue[claim]
  if waiting and waiting.member == own then
    if command.type == 'end' then
      queue[claim] = nil
    elseif command.type == 'go-cold' then
      local cold = 0
      for _, row in pairs(claims) do
        if row.state == 'cold' then cold = cold + 1 end
      end
      if cold < cold_max and count_of(claims, waiting.tenant) < tenant_max then grant(claim, waiting, 'cold') end
    end
    return
  end
  local held = claims[claim]
  if not held or held.member ~= own then return end
  if command.type == 'end' then
    finish(claim, held)
  elseif command.type == 'use' then
    held.used = now
  elseif command.type == 'keep' and held.state == 'wanted' then
    held.state, held.wanted_by, held.shielded = 'held', '', now + cooldown
  end
end

local gone = {}
for id, row in pairs(members) do
  -- Of a clock that was set back: a lease never lasts for longer than its length.
  row.ends = math.min(row.ends, now + row.lease)
  if id ~= own and row.ends <= now then gone[#gone + 1] = id end
end
table.sort(gone)
for _, id in ipairs(gone) do drop(id) end

local row = members[own]
local is_resent = row ~= nil and sequence <= row.sequence
if kind ~= 'stay' and not is_resent then
  drop(own)
  row = nil
end
if kind == 'join' and not is_resent then
  row = { ends = 0, lease = lease, sequence = 0, ready = 0, starting = 0, closing = 0, recalled = 0 }
  members[own] = row
end

local answer
if not row then
  match()
  answer = { 'lapsed' }
else
  row.ends, row.lease = now + lease, lease
  if not is_resent then
    row.ready, row.starting, row.closing, row.recalled, row.sequence = given[13], given[14], given[15], 0, sequence
    for _, command in ipairs(commands) do carry_out(command) end
  end
  local is_everybody_provided = match()
  if not is_resent and is_everybody_provided then
    row.starting = row.starting + math.min(wanted, math.max(0, capacity - places_taken()))
  end

  local stock, cold, oldest, ahead, waiting = 0, 0, 0, 0, {}
  local tenants = claims_by_tenant()
  for _, member in pairs(members) do stock = stock + member.ready + member.starting end
  for _, entry in ipairs(in_order()) do
    local is_capped = (tenants[entry.row.tenant] or 0) >= tenant_max
    oldest = math.max(oldest, now - entry.row.since)
    if entry.row.member == own then
      waiting[#waiting + 1] = entry.claim
      waiting[#waiting + 1] = text(ahead + 1)
      waiting[#waiting + 1] = is_capped and '1' or '0'
    end
    if not is_capped then ahead = ahead + 1 end
  end
  local held = {}
  for claim, entry in pairs(claims) do
    if entry.state == 'cold' then cold = cold + 1 end
    if entry.member == own then held[#held + 1] = claim end
  end
  table.sort(held, function(one, other) return claims[one].fence < claims[other].fence end)
  answer = { 'exchanged', text(row.ready), text(row.starting), text(row.recalled), text(size_of(members)), text(stock),
    text(size_of(claims) - cold), text(cold), text(size_of(queue)), text(oldest), text(#waiting / 3) }
  for _, part in ipairs(waiting) do answer[#answer + 1] = part end
  for _, claim in ipairs(held) do
    answer[#answer + 1] = claim
    answer[#answer + 1] = text(claims[claim].fence)
    answer[#answer + 1] = claims[claim].state
  end
end

if fence > MAX then return refuse('the fence is out of bounds') end
local after = { fence = text(fence), preempted = '' }
local instants = {}
for at, instant in ipairs(preempted) do instants[at] = text(instant) end
after.preempted = table.concat(instants, ',')
local kept_until = now
for id, entry in pairs(members) do
  after['m:' .. id] = packed(entry, MEMBER)
  kept_until = math.max(kept_until, entry.ends)
end
for id, entry in pairs(queue) do after['q:' .. id] = packed(entry, QUEUED) end
for id, entry in pairs(claims) do after['c:' .. id] = packed(entry, CLAIM) end

for field, value in pairs(after) do
  if before[field] ~= value then redis.call('HSET', KEYS[1], field, value) end
end
for field in pairs(before) do
  if not after[field] then redis.call('HDEL', KEYS[1], field) end
end
redis.call('PEXPIREAT', KEYS[1], text(kept_until + KEPT))
return answer
