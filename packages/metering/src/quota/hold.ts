import { isPinned, pinOf } from './counter-step.ts'
import { type Draw, drawsOn, take } from './draw.ts'
import { endOf, holdNow } from './hold-expiry.ts'
import { type HeldPart, type HoldRecord, holdKey } from './hold-record.ts'
import type { ExtendAnswer, ExtendRequest, HoldAnswer, HoldRequest } from './quota-store.ts'
import { refusalOf } from './spend.ts'
import type { WorkingSet } from './working-set.ts'

/** Decides `QuotaStore.hold`. Expired holds have been ended before. */
export function decideHold(set: WorkingSet, request: HoldRequest): HoldAnswer {
  const { scope, key, charges, amount: asked, amountMin, ttlMs, onExpiry, keepMs } = request
  const { now } = set
  const earlier = holdNow(set, holdKey(request))
  if (earlier !== undefined) {
    if (earlier.asked !== asked) return { outcome: 'conflict', firstAmount: earlier.asked }
    return endOf(earlier) ?? { ...heldAnswer(earlier, now), replayed: true }
  }
  const draws = drawsOn(set, charges)
  if (draws === undefined) return { outcome: 'elsewhere', now }
  const refusal = refusalOf(set, draws, amountMin)
  if (refusal !== undefined) return refusal
  const amount = Math.min(asked, ...draws.map(({ left }) => left))
  const parts = draws.map((draw) => holdFrom(set, draw, amount))
  const record = { scope, key, asked, amount, expiresAt: now + ttlMs, onExpiry, keepMs, parts, end: undefined }
  set.holds.set(holdKey(request), record)
  return { ...heldAnswer(record, now), replayed: false }
}

/** Decides `QuotaStore.extend`. Expired holds have been ended before. */
export function decideExtend(set: WorkingSet, request: ExtendRequest): ExtendAnswer {
  const { charges, ttlMs } = request
  const { now } = set
  const key = holdKey(request)
  const before = holdNow(set, key)
  if (before === undefined) return { outcome: 'unknown-hold' }
  const end = endOf(before)
  if (end !== undefined) return end
  // A smaller amount is a repetition of an earlier extension.
  const amount = Math.max(before.amount, request.amount)
  let { parts } = before
  if (amount > before.amount) {
    const draws = drawsOn(set, charges)
    if (draws === undefined) return { outcome: 'elsewhere', now }
    const refusal = refusalOf(set, draws, amount - before.amount)
    if (refusal !== undefined) return refusal
    const added = draws.map((draw) => holdFrom(set, draw, amount - before.amount))
    parts = withParts(set, parts, added)
  }
  const record = { ...before, amount, parts, expiresAt: Math.max(before.expiresAt, now + ttlMs) }
  set.holds.set(key, record)
  return heldAnswer(record, now)
}

function heldAnswer({ amount, expiresAt }: HoldRecord, now: number) {
  return { outcome: 'held', amount, expiresAt, now } as const
}

function holdFrom(set: WorkingSet, draw: Draw, amount: number): HeldPart {
  const { startsAt, endsAt } = pinOf(draw.state, set.now)
  take(set, draw, amount, 'held')
  return { counter: draw.keyed.key, startsAt, endsAt, amount }
}

/**
 * Parts with more of them. What was taken at one time is one part, and so is what no counter can get back any more: a hold
 * that is extended for days has as many parts as its counters have slices, at most.
 */
function withParts(set: WorkingSet, parts: readonly HeldPart[], added: readonly HeldPart[]): HeldPart[] {
  const folded: HeldPart[] = []
  for (const part of [...parts, ...added]) {
    const state = set.counter(part.counter)
    const pin = state !== undefined && isPinned(state, part) ? part : GONE
    const { startsAt, endsAt } = pin
    const at = folded.findIndex(
      (one) => one.counter === part.counter && one.startsAt === startsAt && one.endsAt === endsAt
    )
    const before = folded[at]
    if (before === undefined) folded.push({ ...part, startsAt, endsAt })
    else folded[at] = { ...before, amount: before.amount + part.amount }
  }
  return folded
}

/** A pin that no counter has. */
const GONE = { startsAt: 0, endsAt: 0 }
