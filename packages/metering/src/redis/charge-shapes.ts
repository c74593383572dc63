import type { Charge, CounterRule } from '../quota/charge.ts'
import { counterName, type QuotaKeys } from './quota-keys.ts'

/** An array of charges, as scripts are told of it. */
export interface ChargeShape {
  /** The rules, without the names of their counters: the JSON of a list, the same for every quota with the same rules. */
  readonly rules: string
  /** The names of each charge's counter and of those that are reserved within it, in the order in which scripts want them. */
  readonly names: readonly string[]
  /** The full keys of these, as the tenant that asked last has them. */
  keys: readonly string[]
  keysOf: QuotaKeys | undefined
}

/** Letters by which the scripts know the rules. */
function ruleOf(rule: CounterRule): readonly [kind: string, numbers: readonly number[]] {
  switch (rule.kind) {
    case 'lifetime':
      return ['l', []]
    case 'every':
      return ['e', [rule.everyMs]]
    case 'boundaries':
      return ['b', rule.boundaries]
    case 'rolling':
      return ['r', [rule.rollingMs]]
    case 'bucket':
      return ['t', [rule.refill, rule.perMs]]
    case 'concurrent':
      return ['c', []]
  }
}

/** The rules that were made last: quotas of one limit, mostly made in a row, share the text, and it is compared at a glance. */
let lastRules = ''

const known = new WeakMap<readonly Charge[], ChargeShape>()

/** Made once for an array, since callers keep theirs. */
export function chargeShape(charges: readonly Charge[]): ChargeShape {
  const before = known.get(charges)
  if (before !== undefined) return before
  const rules = charges.map(({ quantity, rule, reserved }) => {
    const [kind, numbers] = ruleOf(rule)
    return [kind, quantity, numbers, reserved.map((part) => part.quantity)]
  })
  const names = charges.flatMap(({ limit, path, reserved }) => [
    counterName(limit, path),
    ...reserved.map((part) => counterName(limit, part.path))
  ])
  const text = JSON.stringify(rules)
  if (text !== lastRules) lastRules = text
  const shape = { rules: lastRules, names, keys: [], keysOf: undefined }
  known.set(charges, shape)
  return shape
}

/** The keys of a shape's counters. They differ from one tenant to the next, and an array of charges is mostly one tenant's. */
export function shapeKeys(shape: ChargeShape, keys: QuotaKeys): readonly string[] {
  if (shape.keysOf !== keys) {
    shape.keys = shape.names.map(keys.counter)
    shape.keysOf = keys
  }
  return shape.keys
}
