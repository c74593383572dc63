import type { Charge } from './charge.ts'
import { returned } from './counter-step.ts'
import { drawsOn, take } from './draw.ts'
import { endOf, holdNow } from './hold-expiry.ts'
import { type HoldRecord, holdKey } from './hold-record.ts'
import type { SettleAnswer, SettleRequest } from './quota-store.ts'
import type { WorkingSet } from './working-set.ts'

/**
 * Decides `QuotaStore.settle`. Expired holds have been ended before. What the hold has goes back to the counters that it was
 * taken from, whatever the call says; what is taken beyond it comes from the counters of the call.
 */
export function decideSettle(set: WorkingSet, request: SettleRequest): SettleAnswer {
  const { charges, actual, keepMs } = request
  const key = holdKey(request)
  const before = holdNow(set, key)
  if (before === undefined) return { outcome: 'unknown-hold' }
  if (before.end?.settled === true && before.end.actual !== actual) {
    return { outcome: 'conflict', firstActual: before.end.actual }
  }
  const first = before.end?.settled === true ? endOf(before) : undefined
  if (first !== undefined) return first
  // What expired and was returned is charged anew.
  const held = before.end === undefined ? before.amount : before.end.charged
  const kept = Math.min(actual, held)
  giveBack(set, before, kept)
  const more = takeMore(set, charges, actual - kept)
  const told = { actual, charged: kept + more, overrun: actual - kept - more, expired: before.end !== undefined }
  set.holds.set(key, { ...before, parts: [], end: { ...told, settled: true, forgetAt: set.now + keepMs } })
  return { outcome: 'settled', ...told, replayed: false }
}

/** Ends the hold on its counters. What is kept is what was taken first, so that the rest goes to the latest window. */
function giveBack(set: WorkingSet, { parts, end }: HoldRecord, kept: number): void {
  const keeping = new Map<string, number>()
  for (const part of parts) {
    const { counter, amount } = part
    const toKeep = keeping.get(counter) ?? kept
    const keep = Math.min(amount, toKeep)
    keeping.set(counter, toKeep - keep)
    const state = set.counter(counter)
    // After an expiry the units are held no longer.
    const held = end === undefined ? amount : 0
    if (state !== undefined) set.counters.set(counter, returned(state, part, amount - keep, held, set.now))
  }
}

/** Takes as much of `amount` as is left; gives how much. Outside of the boundaries nothing is known to be left. */
function takeMore(set: WorkingSet, charges: readonly Charge[], amount: number): number {
  if (amount === 0) return 0
  const draws = drawsOn(set, charges)?.filter(({ keyed }) => keyed.charge.rule.kind !== 'concurrent')
  if (draws === undefined) return 0
  const more = Math.min(amount, ...draws.map(({ left }) => left))
  if (more > 0) for (const draw of draws) take(set, draw, more, 'spent')
  return more
}
