import type { Charge, CounterReading, CounterRule, HoldEnd, Refusal, SpendAnswer } from '@enablement/metering'
import type { QuotaCall } from './reference-quota.ts'

/**
 * What a quota store should do, told as plainly as possible: a list of what was taken, each with the instant from which
 * it counts no more. Forgets nothing, and knows
 * nothing of rules that change or of bad input: those are the exam's.
 */
export interface ReferenceState {
  taken: Taken[]
  /** Of each bucket, what is missing in parts of `perMs` a unit, as of an instant, and what is held besides. */
  buckets: Record<string, { missing: number; at: number; held: number }>
  spends: Record<string, { amount: number; answer: SpendAnswer }>
  holds: Record<string, Held>
}

interface Taken {
  readonly counter: string
  readonly until: number
  readonly hold: string | undefined
  units: number
  open: boolean
}

interface Held {
  readonly key: string
  readonly asked: number
  readonly charges: readonly Charge[]
  readonly onExpiry: 'returned' | 'spent'
  amount: number
  expiresAt: number
  end: HoldEnd | undefined
  settled: boolean
}

const NEVER = 8_640_000_000_000_000

export const emptyState = (): ReferenceState => ({ taken: [], buckets: {}, spends: {}, holds: {} })

/** What the store answers to the call, and what it is then. */
export function answerTo(state: ReferenceState, call: QuotaCall, now: number): unknown {
  if (call.kind === 'end-expired') {
    const over = overdue(state, now).filter(({ key }) => call.only?.includes(key) ?? true)
    return over.map((one) => expire(state, one, now)).sort()
  }
  for (const hold of overdue(state, now)) expire(state, hold, now)
  if (call.kind === 'consume')
    return call.amounts.map((amount, at) => spend(state, call.charges, amount, call.keys[at], now))
  if (call.kind === 'read')
    return isElsewhere(state, call.charges, now) ?? call.charges.map((one) => reading(state, one, now))
  if (call.kind === 'hold') return hold(state, call, now)
  const known = state.holds[call.key]
  if (known === undefined) return { outcome: 'unknown-hold' }
  return call.kind === 'settle' ? settle(state, known, call, now) : extend(state, known, call, now)
}

function spend(state: ReferenceState, all: readonly Charge[], amount: number, key: string | undefined, now: number) {
  const charges = all.filter(({ rule }) => rule.kind !== 'concurrent')
  const earlier = key === undefined ? undefined : state.spends[key]
  if (earlier !== undefined) {
    return earlier.amount === amount
      ? { ...earlier.answer, replayed: true }
      : { outcome: 'conflict', firstAmount: earlier.amount }
  }
  const no = isElsewhere(state, all, now) ?? refusal(state, all, charges, amount, now)
  if (no !== undefined) return no
  for (const charge of charges) take(state, charge, amount, undefined, now)
  const remaining = Math.min(...charges.map((charge) => left(state, charge, now)))
  const least = charges.find((charge) => left(state, charge, now) === remaining) as Charge
  const answer: SpendAnswer = { outcome: 'consumed', remaining, resetsAt: fullAt(state, least, now), replayed: false }
  if (key !== undefined) state.spends[key] = { amount, answer }
  return answer
}

function hold(state: ReferenceState, call: QuotaCall & { kind: 'hold' }, now: number) {
  const { key, charges, amount: asked, amountMin, ttlMs, onExpiry } = call
  const known = state.holds[key]
  if (known !== undefined) {
    if (known.asked !== asked) return { outcome: 'conflict', firstAmount: known.asked }
    const { amount, expiresAt } = known
    return known.end === undefined ? { outcome: 'held', amount, expiresAt, now, replayed: true } : endOf(known)
  }
  const no = isElsewhere(state, charges, now) ?? refusal(state, charges, charges, amountMin, now)
  if (no !== undefined) return no
  const amount = Math.min(asked, ...charges.map((charge) => left(state, charge, now)))
  for (const charge of charges) take(state, charge, amount, key, now)
  const expiresAt = now + ttlMs
  state.holds[key] = { key, asked, charges, onExpiry, amount, expiresAt, end: undefined, settled: false }
  return { outcome: 'held', amount, expiresAt, now, replayed: false }
}

function extend(state: ReferenceState, known: Held, call: QuotaCall & { kind: 'extend' }, now: number) {
  if (known.end !== undefined) return endOf(known)
  const more = Math.max(0, call.amount - known.amount)
  if (more > 0) {
    const no = isElsewhere(state, call.charges, now) ?? refusal(state, call.charges, call.charges, more, now)
    if (no !== undefined) return no
    for (const charge of call.charges) take(state, charge, more, known.key, now)
  }
  known.amount += more
  known.expiresAt = Math.max(known.expiresAt, now + call.ttlMs)
  return { outcome: 'held', amount: known.amount, expiresAt: known.expiresAt, now }
}

function settle(state: ReferenceState, known: Held, call: QuotaCall & { kind: 'settle' }, now: number) {
  const { actual, charges } = call
  if (known.settled && known.end?.actual !== actual) return { outcome: 'conflict', firstActual: known.end?.actual }
  if (known.settled) return endOf(known)
  const kept = Math.min(actual, known.end?.charged ?? known.amount)
  giveBack(state, known, kept, now)
  const drawn = charges.filter(({ rule }) => rule.kind !== 'concurrent')
  const room = isElsewhere(state, charges, now) === undefined ? drawn.map((charge) => left(state, charge, now)) : [0]
  const more = Math.min(actual - kept, ...room)
  if (more > 0) for (const charge of drawn) take(state, charge, more, undefined, now)
  const charged = kept + more
  known.end = {
    outcome: 'settled',
    actual,
    charged,
    overrun: actual - charged,
    expired: known.end !== undefined,
    replayed: false
  }
  known.settled = true
  return known.end
}

const endOf = ({ end, settled }: Held) => ({ ...end, replayed: settled })

const overdue = (state: ReferenceState, now: number): Held[] =>
  Object.values(state.holds).filter(({ end, expiresAt }) => end === undefined && expiresAt <= now)

function expire(state: ReferenceState, known: Held, now: number): string {
  const actual = known.onExpiry === 'spent' ? known.amount : 0
  giveBack(state, known, actual, now)
  known.end = { outcome: 'settled', actual, charged: actual, overrun: 0, expired: true, replayed: false }
  return known.key
}

/** Of what the hold has taken all but `kept` comes back, the latest first, and nothing of it is held any longer. */
function giveBack(state: ReferenceState, known: Held, kept: number, now: number): void {
  for (const { limit, path, rule } of known.charges) {
    const counter = nameOf({ limit, path })
    if (rule.kind === 'bucket') {
      // What expired counts as used from then on, and may have come back.
      if (known.end !== undefined) continue
      const bucket = bucketAt(state, counter, rule, now)
      state.buckets[counter] = {
        ...bucket,
        held: bucket.held - known.amount,
        missing: bucket.missing + kept * rule.perMs
      }
    }
    let back = rule.kind === 'concurrent' ? known.amount : (known.end?.charged ?? known.amount) - kept
    for (const one of state.taken.filter((each) => each.counter === counter && each.hold === known.key).reverse()) {
      const returned = Math.min(one.units, back)
      one.units -= returned
      back -= returned
      one.open = false
    }
  }
  const rolling = new Set(known.charges.filter(({ rule }) => rule.kind === 'rolling').map(nameOf))
  state.taken = state.taken.filter(({ counter, units }) => units > 0 || !rolling.has(counter))
}

const nameOf = ({ limit, path }: Pick<Charge, 'limit' | 'path'>): string => JSON.stringify([limit, path])

function bucketAt(state: ReferenceState, counter: string, { refill }: CounterRule & { kind: 'bucket' }, now: number) {
  const { missing, at, held } = state.buckets[counter] ?? { missing: 0, at: now, held: 0 }
  return { missing: Math.max(0, missing - Math.max(0, now - at) * refill), at: Math.max(at, now), held }
}

/** What was taken that still counts. */
function counting(state: ReferenceState, counter: string, now: number): Taken[] {
  return state.taken.filter((one) => one.counter === counter && now < one.until)
}

function used(state: ReferenceState, counter: string, rule: CounterRule, now: number): number {
  if (rule.kind !== 'bucket') return counting(state, counter, now).reduce((sum, { units }) => sum + units, 0)
  const { missing, held } = bucketAt(state, counter, rule, now)
  return Math.ceil(missing / rule.perMs) + held
}

function left(state: ReferenceState, { limit, path, quantity, rule, reserved }: Charge, now: number): number {
  const others = reserved.map((part) =>
    Math.max(0, part.quantity - used(state, nameOf({ limit, path: part.path }), rule, now))
  )
  return Math.max(
    0,
    others.reduce((rest, part) => rest - part, quantity - used(state, nameOf({ limit, path }), rule, now))
  )
}

function take(state: ReferenceState, charge: Charge, units: number, key: string | undefined, now: number): void {
  const { rule } = charge
  const counter = nameOf(charge)
  if (rule.kind === 'bucket') {
    const bucket = bucketAt(state, counter, rule, now)
    state.buckets[counter] =
      key === undefined
        ? { ...bucket, missing: bucket.missing + units * rule.perMs }
        : { ...bucket, held: bucket.held + units }
    return
  }
  const until = Math.max(endOfTurn(rule, now) ?? 0, ...counting(state, counter, now).map((one) => one.until))
  state.taken = state.taken.filter((one) => one.counter !== counter || now < one.until)
  state.taken.push({ counter, until, hold: key, units, open: key !== undefined })
}

/** From when on something that is taken now counts no more; undefined when that is elsewhere. */
function endOfTurn(rule: CounterRule, now: number): number | undefined {
  if (rule.kind === 'every') return Math.floor(now / rule.everyMs) * rule.everyMs + rule.everyMs
  if (rule.kind === 'boundaries')
    return (rule.boundaries[0] as number) <= now ? rule.boundaries.find((at) => at > now) : undefined
  if (rule.kind !== 'rolling') return NEVER
  const sliceMs = Math.ceil(rule.rollingMs / 60)
  return Math.floor(now / sliceMs) * sliceMs + sliceMs + rule.rollingMs
}

function isElsewhere(state: ReferenceState, charges: readonly Charge[], now: number) {
  const nowhere = charges.some(
    (charge) => endOfTurn(charge.rule, now) === undefined && counting(state, nameOf(charge), now).length === 0
  )
  return nowhere ? { outcome: 'elsewhere', now } : undefined
}

function refusal(
  state: ReferenceState,
  all: readonly Charge[],
  charges: readonly Charge[],
  amount: number,
  now: number
): Refusal | undefined {
  const short = charges.filter((charge) => left(state, charge, now) < amount)
  const [first] = short
  if (first === undefined) return undefined
  const waits = short.map((charge) => enoughAt(state, charge, amount, now))
  const retryAt = waits.includes(null) ? null : Math.max(...(waits as number[]))
  return { outcome: 'refused', charge: all.indexOf(first), remaining: left(state, first, now), retryAt }
}

function enoughAt(state: ReferenceState, charge: Charge, amount: number, now: number): number | null {
  const { quantity, reserved, rule } = charge
  if (amount > quantity - reserved.reduce((sum, part) => sum + part.quantity, 0)) return null
  const enough = (at: number): boolean => left(state, charge, at) >= amount
  if (rule.kind === 'bucket') return first(state, charge, enough, now)
  const ends = counting(state, nameOf(charge), now).map(({ until }) => until)
  const at = ends.sort((a, b) => a - b).find((until) => until < NEVER && enough(until))
  return at ?? null
}

/** The first millisecond at which a bucket is as `wanted`, by halving; null when it never is. */
function first(state: ReferenceState, charge: Charge, wanted: (at: number) => boolean, now: number): number | null {
  let no = Math.max(now, state.buckets[nameOf(charge)]?.at ?? 0)
  let yes = no + 1_000_000_000
  if (!wanted(yes)) return null
  while (yes - no > 1) {
    const middle = Math.floor((no + yes) / 2)
    if (wanted(middle)) yes = middle
    else no = middle
  }
  return yes
}

function fullAt(state: ReferenceState, charge: Charge, now: number): number | null {
  const { rule } = charge
  const counter = nameOf(charge)
  if (rule.kind === 'bucket') {
    const isFull = (at: number): boolean => bucketAt(state, counter, rule, at).missing === 0
    return isFull(now) ? now : first(state, charge, isFull, now)
  }
  const last = Math.max(
    ...counting(state, counter, now).map(({ until }) => until),
    rule.kind === 'rolling' ? now : (endOfTurn(rule, now) ?? 0)
  )
  return last === NEVER ? null : last
}

function reading(state: ReferenceState, charge: Charge, now: number): CounterReading {
  const { limit, path, quantity, rule } = charge
  const counter = nameOf(charge)
  const open = counting(state, counter, now)
    .filter((one) => one.open)
    .reduce((sum, { units }) => sum + units, 0)
  const held = rule.kind === 'bucket' ? bucketAt(state, counter, rule, now).held : open
  return {
    limit,
    path,
    quantity,
    used: used(state, counter, rule, now),
    held,
    remaining: left(state, charge, now),
    resetsAt: fullAt(state, charge, now)
  }
}
