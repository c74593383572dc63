-- metering.read: how counters of one tenant stand.
--
-- KEYS[1]   the tenant's open holds, see metering.hold
-- KEYS[2]   the tenant's fence, see metering.consume
-- KEYS[3…]  the counters
-- ARGV[1]   empty; tests put a clock here (epoch ms), everyone else gets the server's
-- ARGV[2]   empty, or the epoch of the ledger that the fence must show
-- ARGV[3]   '1' to say `expired` while there are expired holds, which may give something back, else '0'
-- ARGV[4]   the rules, see metering.counter, and the places in KEYS of their counters: two JSON lists in one
--
-- Returns a text: for each rule used,held,remaining,resets ('-' for never), joined by semicolons; 'e' and the clock where
-- it is in none of the boundaries; 'expired', 'fenced' or 'restoring'. Writes nothing.

now = clock_of(ARGV[1])
local fence = fenced(KEYS[2], ARGV[2])
if fence then return fence end
if ARGV[3] == '1' and has_expired(KEYS[1]) then return 'expired' end
local rules = json(ARGV[4], 'rules')
local shape = shape_of(rules[1])
read_counters(3, #KEYS)
if not draw(shape, rules[2], 1, true) then return 'e' .. text(now) end
local readings = {}
for at in ipairs(shape) do
  local state = drawn[at]
  readings[at] = format('%.0f,%.0f,%.0f,%s', state.used, state.held, lefts[at], instant_text(full_at(state)))
end
return table.concat(readings, ';')
