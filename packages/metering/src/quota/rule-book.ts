import { parseOptions } from '@enablement/core'
import type { Charge } from './charge.ts'
import { type CompiledLimit, chargesOf, compileLimit } from './hierarchy.ts'
import { type Limit, limitSchema } from './limit.ts'
import { refuseConflicts } from './limit-conflict.ts'
import type { LimitLookup } from './quota-options.ts'
import type { UnknownLimit } from './quota-outcome.ts'

/** What a quota charges at an instant of the store's clock. */
export interface Rules {
  readonly outcome: 'rules'
  /** The same array for as long as neither the limits nor their windows change. */
  readonly charges: readonly Charge[]
  /** A limit among them that only holds can draw on. */
  readonly holdsOnly: string | undefined
  /** When the first of the windows and slices that `now` falls into ends, epoch milliseconds; infinite when none does. */
  windowEndsAt(now: number): number
}

/** Where limits come from. */
interface LimitSource {
  /** Whether it finds another limit than before some day. */
  readonly changes: boolean
  /** Finds a compiled limit by its name, given the one that it found last; that one again when nothing has changed. */
  find(tenant: string, name: string, last: CompiledLimit | undefined): CompiledLimit | undefined
}

/** Compiles a list once; asks a lookup each time. What a lookup returns is checked when it is another object. */
export function limitSource(limits: readonly Limit[] | LimitLookup): LimitSource {
  if (typeof limits !== 'function') {
    refuseConflicts(limits)
    const byName = new Map(limits.map((limit) => [limit.name, compileLimit(limit)]))
    return { changes: false, find: (_tenant, name) => byName.get(name) }
  }
  const given = new WeakMap<CompiledLimit, Limit>()
  const find: LimitSource['find'] = (tenant, name, last) => {
    const found = limits(tenant, name)
    if (found === undefined) return undefined
    if (last !== undefined && given.get(last) === found) return last
    const limit = parseOptions(
      limitSchema.refine(isNamed(name), { path: ['name'], message: `must be ${name}` }),
      `limit ${name}`,
      found
    )
    refuseConflicts([limit])
    const compiled = compileLimit(limit)
    given.set(compiled, found)
    return compiled
  }
  return { changes: true, find }
}

/** A limit of another name would be counted with that one, and start anew when the lookup gives it its own. */
const isNamed =
  (name: string) =>
  (limit: Limit): boolean =>
    limit.name === name

/** The rules of one quota, compiled anew when they have changed. */
export class RuleBook {
  readonly #source: LimitSource
  readonly #tenant: string
  readonly #path: readonly string[]
  readonly #names: readonly string[]
  #compiled: readonly CompiledLimit[] = []
  #rules: Rules | UnknownLimit | undefined
  #from = 0
  #to = 0

  constructor(source: LimitSource, tenant: string, path: readonly string[], names: readonly string[]) {
    this.#source = source
    this.#tenant = tenant
    this.#path = path
    this.#names = names
  }

  /** Throws `LIMIT_CONFLICT`, and `INVALID_OPTIONS` for what a lookup returned. */
  at(now: number): Rules | UnknownLimit {
    // The limits of a list stay what they are: to look at none of them spares a quota that is seldom asked for half of what
    // it would have to read from memory.
    const isDated = this.#rules !== undefined && now >= this.#from && now < this.#to
    if (isDated && !this.#source.changes) return this.#rules as Rules | UnknownLimit
    // All of them are found before any is kept: what is thrown half-way must not hide what has changed.
    let compiled = this.#compiled
    for (let at = 0; at < this.#names.length; at++) {
      const name = this.#names[at] as string
      const found = this.#source.find(this.#tenant, name, this.#compiled[at])
      if (found === undefined) return { outcome: 'unknown-limit', limit: name }
      if (found !== compiled[at]) compiled = replaced(compiled, at, found)
    }
    if (!isDated || compiled !== this.#compiled) {
      this.#rules = this.#compile(compiled, now)
      this.#compiled = compiled
    }
    return this.#rules as Rules | UnknownLimit
  }

  #compile(compiled: readonly CompiledLimit[], now: number): Rules | UnknownLimit {
    const dated = compiled.map(({ period }) => period.at(now))
    this.#from = Math.max(...dated.map(({ from }) => from))
    this.#to = Math.min(...dated.map(({ to }) => to))
    const charges = chargesOf(compiled, this.#path, now)
    const unlimited = this.#names.find((name) => !charges.some(({ limit }) => limit === name))
    if (unlimited !== undefined) return { outcome: 'unknown-limit', limit: unlimited }
    return {
      outcome: 'rules',
      charges,
      holdsOnly: compiled.find(({ limit }) => limit.period === 'concurrent')?.limit.name,
      windowEndsAt: (at) => Math.min(...compiled.map(({ period }) => period.windowEndsAt(at)))
    }
  }
}

function replaced<T>(list: readonly T[], at: number, value: T): readonly T[] {
  const copy = [...list]
  copy[at] = value
  return copy
}
