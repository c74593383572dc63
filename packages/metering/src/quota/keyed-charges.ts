import type { Charge } from './charge.ts'
import { joined, pathText } from './counter-key.ts'

/** A charge with the keys of its counters. */
export interface KeyedCharge {
  readonly charge: Charge
  readonly key: string
  readonly reserved: readonly { readonly key: string; readonly quantity: number }[]
}

const known = new WeakMap<readonly Charge[], readonly KeyedCharge[]>()

/** The charges with the keys of their counters: made once for an array, since callers keep theirs. */
export function keyedCharges(charges: readonly Charge[]): readonly KeyedCharge[] {
  const before = known.get(charges)
  if (before !== undefined) return before
  const keyed = charges.map(
    (charge): KeyedCharge => ({
      charge,
      key: joined(charge.limit, pathText(charge.path)),
      reserved: charge.reserved.map(({ path, quantity }) => ({ key: joined(charge.limit, pathText(path)), quantity }))
    })
  )
  known.set(charges, keyed)
  return keyed
}

/** The keys of every counter that a decision on the charges reads. */
export function counterKeys(charges: readonly Charge[]): string[] {
  return keyedCharges(charges).flatMap(({ key, reserved }) => [key, ...reserved.map((part) => part.key)])
}
