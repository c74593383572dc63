import { QUANTITY_MAX } from '../event/usage-event.ts'
import { bucketHasBackAt } from './bucket-counter.ts'
import type { Charge } from './charge.ts'
import type { CounterState } from './counter.ts'
import { fullAt, runningCounter, taken, usedOf } from './counter-step.ts'
import { type KeyedCharge, keyedCharges } from './keyed-charges.ts'
import { departures } from './rolling-counter.ts'
import type { WorkingSet } from './working-set.ts'

/** A counter as a call draws on it. */
export interface Draw {
  readonly keyed: KeyedCharge
  /** Index among the charges. */
  readonly index: number
  /** Running at the call's instant; with what the call has taken. */
  state: CounterState
  /** What is there for the call, at least 0. */
  left: number
}

/** How the counters of `charges` stand for a call; undefined when the clock is outside the boundaries of one. */
export function drawsOn(set: WorkingSet, charges: readonly Charge[]): Draw[] | undefined {
  const draws: Draw[] = []
  for (const [index, keyed] of keyedCharges(charges).entries()) {
    const state = runningCounter(set.counter(keyed.key), keyed.charge.rule, set.now)
    if (state === undefined) return undefined
    draws.push({ keyed, index, state, left: leftOf(set, keyed, state, set.now) })
  }
  return draws
}

/** Takes `amount`, which is there, and has it written. */
export function take(set: WorkingSet, draw: Draw, amount: number, as: 'held' | 'spent'): void {
  draw.state = taken(draw.state, amount, as, set.now)
  draw.left -= amount
  set.counters.set(draw.keyed.key, draw.state)
}

/** What others have not used of the parts that are reserved for them, as far as it is within 9e15. */
function reservedFor(set: WorkingSet, { charge, reserved }: KeyedCharge, at: number): number {
  let sum = 0
  for (const { key, quantity } of reserved) {
    // A counter that is in none of the boundaries has used nothing in them.
    const state = runningCounter(set.counter(key), charge.rule, at)
    const unused = state === undefined ? quantity : Math.max(0, quantity - usedOf(state))
    sum = unused > QUANTITY_MAX - sum ? QUANTITY_MAX : sum + unused
  }
  return sum
}

function leftOf(set: WorkingSet, keyed: KeyedCharge, state: CounterState, at: number): number {
  const free = keyed.charge.quantity - usedOf(state)
  const reserved = reservedFor(set, keyed, at)
  return reserved >= free ? 0 : free - reserved
}

/**
 * When the counter could have `amount` if nobody else spent meanwhile, epoch milliseconds; null when waiting does not do
 * it. Whatever is reserved for others never comes to the call, so an amount that only fits together with it is null, too.
 *
 * The earliest instant, but for a bucket of which parts are reserved: those fill at the same time as it does, so that what
 * is left can fall as well as rise. There it is when the bucket alone would have enough if it still has then, and else
 * when all of them are full.
 */
export function enoughAt(set: WorkingSet, draw: Draw, amount: number): number | null {
  const { keyed, state } = draw
  const { charge, reserved } = keyed
  let most = charge.quantity
  for (const part of reserved) most -= Math.min(most, part.quantity)
  if (amount > most || state.kind === 'concurrent') return null
  // Where a window ends everything starts anew.
  if (state.kind === 'window') return fullAt(state, set.now)
  const hasEnough = (at: number): boolean => {
    const later = runningCounter(state, charge.rule, at)
    return later !== undefined && amount <= leftOf(set, keyed, later, at)
  }
  if (state.kind === 'rolling') return departures(state).find(hasEnough) ?? null
  const room = charge.quantity - reservedFor(set, keyed, set.now)
  const alone = bucketHasBackAt(state, usedOf(state) - (room - amount))
  if (alone === null || hasEnough(alone)) return alone
  const parts = reserved.map(({ key }) => runningCounter(set.counter(key), charge.rule, set.now))
  const full = [state, ...parts].map((part) => (part === undefined ? set.now : fullAt(part, set.now)))
  if (full.includes(null)) return null
  const last = Math.max(...(full as number[]))
  return hasEnough(last) ? last : null
}
