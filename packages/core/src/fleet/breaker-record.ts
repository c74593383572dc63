import { fenceAfter } from '../lock/lock-store.ts'
import type { BreakerStep, ProbeAnswer, SharedStanding } from './breaker-state-store.ts'

/** What a store keeps of a breaker. Instants are epoch milliseconds by its clock, each with the span that began then. */
export interface BreakerRecord {
  readonly generation: number
  readonly state: 'closed' | 'open'
  readonly breaks: number
  readonly breakMs: number
  /** When it opened or closed. */
  readonly since: number
  /** Of an open one: how long the break lasts from `since`. */
  readonly leftMs: number
  /** Who probes; empty for nobody. */
  readonly owner: string
  readonly claimedAt: number
  readonly leaseMs: number
}

export const UNKNOWN_BREAKER: BreakerRecord = {
  generation: 0,
  state: 'closed',
  breaks: 0,
  breakMs: 0,
  since: 0,
  leftMs: 0,
  owner: '',
  claimedAt: 0,
  leaseMs: 0
}

const NOBODY = { owner: '', claimedAt: 0, leaseMs: 0 } as const

/** What is left of a span; nothing when its beginning is ahead, which shows that the clock was set back. */
function leftOf(since: number, spanMs: number, now: number): number {
  return now < since ? 0 : Math.max(0, since + spanMs - now)
}

export function standingOf(record: BreakerRecord, now: number): SharedStanding {
  const { generation, state, breaks, breakMs, since, leftMs, claimedAt, leaseMs } = record
  if (state === 'closed') {
    const closedForMs = generation === 0 ? 0 : Math.max(0, now - since)
    return { generation, breaks, breakMs, state, closedForMs }
  }
  const breakLeftMs = leftOf(since, leftMs, now)
  return { generation, breaks, breakMs, state, breakLeftMs, probeLeftMs: leftOf(claimedAt, leaseMs, now) }
}

/** What becomes of a record by a step at `now` of the store's clock; the same record when nothing does. */
function after(record: BreakerRecord, step: BreakerStep, now: number): BreakerRecord {
  const generation = fenceAfter(record.generation, now)
  if (step.do === 'reset') {
    if (record.generation === 0) return record
    return { ...record, ...NOBODY, generation, state: 'closed', breaks: 0, breakMs: 0, since: now, leftMs: 0 }
  }
  if (step.do === 'claim') return claimed(record, step, now)
  if (step.generation !== record.generation) return record
  if (step.do === 'open') {
    const { breaks, breakMs, breakLeftMs } = step
    return { ...NOBODY, generation, state: 'open', breaks, breakMs, since: now, leftMs: breakLeftMs }
  }
  return record.state === 'open' ? { ...record, ...NOBODY, generation, state: 'closed', since: now, leftMs: 0 } : record
}

function claimed(record: BreakerRecord, claim: BreakerStep & { do: 'claim' }, now: number): BreakerRecord {
  const { owner, leaseMs } = claim
  if (record.state !== 'open' || leftOf(record.since, record.leftMs, now) > 0) return record
  const lasts = leftOf(record.claimedAt, record.leaseMs, now) > 0
  if (lasts) return record.owner === owner ? { ...record, claimedAt: now, leaseMs } : record
  if (claim.generation !== record.generation) return record
  return { ...record, generation: fenceAfter(record.generation, now), owner, claimedAt: now, leaseMs }
}

/**
 * The rules of `BreakerStateStore`, for stores that can run them: one step on a record. Redis runs the same in
 * redis/breaker-state.lua, held equal by the conformance kit.
 */
export function takeStep(
  record: BreakerRecord,
  step: BreakerStep,
  now: number
): { readonly record: BreakerRecord; readonly answer: ProbeAnswer } {
  const next = after(record, step, now)
  const granted = step.do === 'claim' && next !== record
  return { record: next, answer: { outcome: granted ? 'granted' : 'refused', standing: standingOf(next, now) } }
}
