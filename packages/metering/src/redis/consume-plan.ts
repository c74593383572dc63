import { QUANTITY_MAX } from '../event/usage-event.ts'
import type { SpendGroup } from '../quota/quota-store.ts'
import { type ChargeShape, chargeShape, shapeKeys } from './charge-shapes.ts'
import { type QuotaKeys, scopeTag, spendToken } from './quota-keys.ts'

/** Keys of one call: Lua can push about 8,000 values, and a thousand counters hold the server up for some 2 ms. */
const KEYS_PER_CALL = 1_000

/** Amounts with idempotency keys of one call: a read of each of three hashes, and a write. */
const KEYED_PER_CALL = 3_000

/** Amounts of one group that one call decides. */
export interface PlannedGroup {
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
  /** How many groups each line of the reply answers: more than one where they stand together. */
  readonly lines: readonly number[]
  /** The counters, then the hashes of remembered spends. */
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
  for (let index = 0; index < groups.length; index++) {
    const group = groups[index] as SpendGroup
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

/** The first counter's place in KEYS. */
const FIRST_COUNTER = 4

/** Groups of one amount each that stand together, as `metering.consume` says. */
interface Together {
  readonly rules: string
  /** Where the next counter must be. */
  place: number
  /** Where in the list there is how many they are. */
  readonly countAt: number
  readonly amounts: number[]
}

class CallBuilder {
  readonly #keys: QuotaKeys
  readonly #groups: PlannedGroup[] = []
  readonly #lines: number[] = []
  readonly #memories: number[] = []
  readonly #memoryKeys: string[] = []
  readonly #shapes = new Map<string, number>()
  /** By their keys: the place that each has in KEYS. */
  readonly #counters = new Map<string, number>()
  readonly #names: string[] = []
  readonly #spends: (number | string | readonly number[])[] = []
  #together: Together | undefined
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
    const own = shapeKeys(shape, this.#keys)
    if (own.length === 1 && amounts.length === 1 && tokens === undefined) {
      this.#addLone(shape, this.#placeOf(own[0] as string, shape.names[0] as string), amounts[0] as number)
      return
    }
    this.#together = undefined
    this.#lines.push(1)
    const spends = this.#spends
    spends.push(this.#shapeNumber(shape))
    for (let at = 0; at < own.length; at++) spends.push(this.#placeOf(own[at] as string, shape.names[at] as string))
    spends.push(amounts.length, sumOf(amounts))
    if (tokens === undefined) {
      spends.push(0, amounts.length === 1 ? '' : amounts.join(','))
      return
    }
    spends.push(this.#memoryNumber(idempotencyMs))
    this.#keyed += amounts.length
    for (let at = 0; at < tokens.length; at++) spends.push(amounts[at] as number, tokens[at] as string)
  }

  /** A group of one amount and one counter. */
  #addLone(shape: ChargeShape, place: number, amount: number): void {
    const last = this.#together
    if (last?.place === place && last.rules === shape.rules) {
      last.place += 1
      last.amounts.push(amount)
      this.#spends[last.countAt] = -last.amounts.length
      this.#lines[this.#lines.length - 1] = last.amounts.length
      return
    }
    const spends = this.#spends
    const amounts = [amount]
    spends.push(this.#shapeNumber(shape), place, -1, 0, 0, amounts)
    this.#lines.push(1)
    this.#together = { rules: shape.rules, place: place + 1, countAt: spends.length - 4, amounts }
  }

  #placeOf(key: string, name: string): number {
    const known = this.#counters.get(key)
    if (known !== undefined) return known
    const place = FIRST_COUNTER + this.#counters.size
    this.#counters.set(key, place)
    this.#names.push(name)
    return place
  }

  #shapeNumber({ rules }: ChargeShape): number {
    const known = this.#shapes.get(rules)
    if (known !== undefined) return known
    this.#shapes.set(rules, this.#shapes.size + 1)
    return this.#shapes.size
  }

  #memoryNumber(idempotencyMs: number): number {
    const known = this.#memories.indexOf(idempotencyMs)
    if (known !== -1) return known + 1
    this.#memoryKeys.push(...this.#keys.memories(idempotencyMs))
    return this.#memories.push(idempotencyMs)
  }

  call(): ConsumeCall {
    return {
      groups: this.#groups,
      lines: this.#lines,
      keys: [...this.#counters.keys(), ...this.#memoryKeys],
      names: this.#names,
      memories: this.#memories,
      shapes: `[${[...this.#shapes.keys()].join(',')}]`,
      spends: JSON.stringify(this.#spends)
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
