import type { FailureReason, Family, Tier } from './name-server.ts'

/** What a resolver tells an observer, by `type`. */
export type ResolverEvent =
  /** A tier gave no usable answer; the next was asked. */
  | {
      readonly type: 'resolver.failed'
      readonly server: Tier
      readonly name: string
      readonly family: Family
      readonly reason: FailureReason
      readonly cause?: unknown
    }
  /** A tier that had failed gave an answer again. */
  | { readonly type: 'resolver.recovered'; readonly server: Tier; readonly failedForMs: number }
  /** All tiers failed, and what was known before was served. `expiredForMs` is how long it had been out of date. */
  | {
      readonly type: 'resolver.stale-served'
      readonly name: string
      readonly addresses: readonly string[]
      readonly expiredForMs: number
    }
  /** Nothing else was left, and the pinned addresses were served. */
  | {
      readonly type: 'resolver.pinned-used'
      readonly name: string
      readonly addresses: readonly string[]
      readonly because: 'unresolved' | 'not-found'
    }
  /** A name that stale or pinned addresses were served for was answered again. */
  | { readonly type: 'resolver.name-recovered'; readonly name: string }
  /** Rebinding protection left out private addresses that a public name was said to have. */
  | {
      readonly type: 'resolver.private-dropped'
      readonly server: Tier
      readonly name: string
      readonly addresses: readonly string[]
    }
