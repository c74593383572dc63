import { returned } from './counter-step.ts'
import { type HoldRecord, isOverdue, remembered } from './hold-record.ts'
import type { HoldEnd } from './quota-store.ts'
import type { WorkingSet } from './working-set.ts'

/**
 * Expired holds that one call ends before it decides, those that expired first. After an outage there may be more: then the
 * calls that follow end them, and until then their units are still held.
 */
export const EXPIRED_PER_CALL = 256

/** Ends a hold whose time is over. Its end is remembered from now, however late that is: its holder must be able to settle. */
export function expire(set: WorkingSet, key: string, record: HoldRecord): HoldRecord {
  const { amount, onExpiry, keepMs, parts } = record
  const { now } = set
  const isSpent = onExpiry === 'spent'
  for (const part of parts) {
    const state = set.counter(part.counter)
    if (state !== undefined) {
      set.counters.set(part.counter, returned(state, part, isSpent ? 0 : part.amount, part.amount, now))
    }
  }
  const used = isSpent ? amount : 0
  const ended: HoldRecord = {
    ...record,
    // A late settlement still gives back to windows and slices. A bucket may have got its units back by itself by then.
    parts: isSpent ? parts.filter(({ counter }) => hasWindows(set, counter)) : [],
    end: { actual: used, charged: used, overrun: 0, expired: true, settled: false, forgetAt: now + keepMs }
  }
  set.holds.set(key, ended)
  return ended
}

function hasWindows(set: WorkingSet, counter: string): boolean {
  const kind = set.counter(counter)?.kind
  return kind === 'window' || kind === 'rolling'
}

/** The record as it stands at the call's instant: an open one whose time is over is ended now. */
export function holdNow(set: WorkingSet, key: string): HoldRecord | undefined {
  const record = remembered(set.hold(key), set.now)
  if (record === undefined || !isOverdue(record, set.now)) return record
  return expire(set, key, record)
}

/** The answer to a call about a hold that has ended; undefined while it is open. */
export function endOf(record: HoldRecord): HoldEnd | undefined {
  if (record.end === undefined) return undefined
  const { actual, charged, overrun, expired, settled } = record.end
  return { outcome: 'settled', actual, charged, overrun, expired, replayed: settled }
}
