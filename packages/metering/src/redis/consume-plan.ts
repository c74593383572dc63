import { QUANTITY_MAX } from '../event/usage-event.ts'
import type { SpendGroup } from '../quota/quota-store.ts'
import { type ChargeShape, chargeShape, shapeKeys } from './charge-shapes.ts'
import { type QuotaKeys, scopeTag, spendToken } from './quota-keys.ts'

/** Keys of one call: Lua can push about 8,000 values, and a thousand counters hold the server up for some 2 ms. */
const KEYS_PER_CALL = 1_000

/** Amounts with idempotency keys of one call: a read of each of three hashes, and a write. */
const KEYED_PER_CALL = 3_000

/** Amounts of one group that one call decides. */
interface PlannedGroup {
  /** Index among the groups. */
  readonly group: number
  readonly shape: ChargeShape
  readonly amounts: readonly number[]
  /** What each is remembered under, '' for nothing; undefined when none is. */
  readonly tokens: readonly string[] | undefined
  readonly idempotencyMs: number
}

/** One call of `metering.consume`. */
export interface ConsumeCall {
  readonly groups: readonly PlannedGroup[]
  /** The hashes of remembered spends, then the counters. */
  readonly keys: readonly string[]
  /** The names of the counters, in the order of their keys. */
  readonly names: readonly string[]
  /** How long spends are remembered in each three of the hashes, in milliseconds. */
  readonly memories: readonly number[]
  readonly shapes: string
  readonly spends: string
}

const tags = new WeakMap<SpendGroup['charges'], { readonly scope: string; readonly tag: string }>()

/** The tag of a group's scope. A quota has one scope, so it is kept with its charges. */
function tagOf({ scope, charges }: SpendGroup): string {
  const known = tags.get(charges)
  if (known?.scope === scope) return known.tag
  const made = { scope, tag: scopeTag(scope) }
  tags.set(charges, made)
  return made.tag
}

/** The calls that decide the groups, in their order. */
export function planCalls(keys: QuotaKeys, groups: readonly SpendGroup[]): ConsumeCall[] {
  const calls: ConsumeCall[] = []
  let building = new CallBuilder(keys)
  for (const [index, group] of groups.entries()) {
    for (let from = 0; from < group.amounts.length; ) {
      const shape = chargeShape(group.charges)
      const isKeyed = group.keys?.some((key) => key !== undefined) === true
      const room = isKeyed ? building.keyedRoom : Number.POSITIVE_INFINITY
      if (room > 0 && building.hasRoomFor(shape)) {
        const planned = plannedGroup(index, group, shape, isKeyed, from, from + room)
        building.add(planned)
        from += planned.amounts.length
      } else {
        calls.push(building.call())
        building = new CallBuilder(keys)
      }
    }
  }
  if (!building.isEmpty) calls.push(building.call())
  return calls
}

/** The call once more, where other keys are. */
export function replanned(keys: QuotaKeys, call: ConsumeCall): ConsumeCall {
  const building = new CallBuilder(keys)
  for (const group of call.groups) building.add(group)
  return building.call()
}

function plannedGroup(
  index: number,
  group: SpendGroup,
  shape: ChargeShape,
  isKeyed: boolean,
  from: number,
  to: number
): PlannedGroup {
  const isWhole = from === 0 && group.amounts.length <= to
  const amounts = isWhole ? group.amounts : group.amounts.slice(from, to)
  let tokens: string[] | undefined
  if (isKeyed) {
    const tag = tagOf(group)
    tokens = amounts.map((_, at) => {
      const key = group.keys?.[from + at]
      return key === undefined ? '' : spendToken(tag, key)
    })
  }
  return { group: index, shape, amounts, tokens, idempotencyMs: group.idempotencyMs }
}

class CallBuilder {
  readonly #keys: QuotaKeys
  readonly #groups: PlannedGroup[] = []
  readonly #memories: number[] = []
  readonly #memoryKeys: string[] = []
  readonly #shapes = new Map<string, number>()
  /** By their keys: the number that each has among the counters, from 0. */
  readonly #counters = new Map<string, number>()
  readonly #names: string[] = []
  #keyed = 0

  constructor(keys: QuotaKeys) {
    this.#keys = keys
  }

  get isEmpty(): boolean {
    return this.#groups.length === 0
  }

  get keyedRoom(): number {
    return KEYED_PER_CALL - this.#keyed
  }

  /** An empty call takes any. */
  hasRoomFor(shape: ChargeShape): boolean {
    return this.isEmpty || this.#counters.size + shape.names.length <= KEYS_PER_CALL
  }

  add(planned: PlannedGroup): void {
    const { shape, tokens, amounts, idempotencyMs } = planned
    this.#groups.push(planned)
    for (const [at, key] of shapeKeys(shape, this.#keys).entries()) {
      if (this.#counters.has(key)) continue
      this.#counters.set(key, this.#counters.size)
      this.#names.push(shape.names[at] as string)
    }
    if (!this.#shapes.has(shape.rules)) this.#shapes.set(shape.rules, this.#shapes.size + 1)
    if (tokens === undefined) return
    this.#keyed += amounts.length
    if (this.#memories.includes(idempotencyMs)) return
    this.#memories.push(idempotencyMs)
    this.#memoryKeys.push(...this.#keys.memories(idempotencyMs))
  }

  call(): ConsumeCall {
    const first = 4 + this.#memoryKeys.length
    const flat: (number | string)[] = []
    for (const { shape, amounts, tokens, idempotencyMs } of this.#groups) {
      flat.push(this.#shapes.get(shape.rules) as number)
      for (const key of shapeKeys(shape, this.#keys)) flat.push(first + (this.#counters.get(key) as number))
      flat.push(amounts.length, sumOf(amounts))
      if (tokens === undefined) {
        flat.push(0, amounts.length === 1 ? '' : amounts.join(','))
      } else {
        flat.push(this.#memories.indexOf(idempotencyMs) + 1)
        for (let at = 0; at < tokens.length; at++) flat.push(amounts[at] as number, tokens[at] as string)
      }
    }
    return {
      groups: this.#groups,
      keys: [...this.#memoryKeys, ...this.#counters.keys()],
      names: this.#names,
      memories: this.#memories,
      shapes: `[${[...this.#shapes.keys()].join(',')}]`,
      spends: JSON.stringify(flat)
    }
  }
}

/** 0 when it exceeds 9e15: then not all can fit, and the script looks at each. */
function sumOf(amounts: readonly number[]): number {
  let sum = 0
  for (const amount of amounts) {
    if (amount > QUANTITY_MAX - sum) return 0
    sum += amount
  }
  return sum
}
