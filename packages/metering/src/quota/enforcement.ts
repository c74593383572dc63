import type { Clock } from '@enablement/core'
import type { Backlog } from './backlog.ts'
import type { Charge } from './charge.ts'
import type { LeaseRegistry } from './lease-registry.ts'
import type { QuotaEvent, QuotaSubject } from './quota-event.ts'
import type { QuotasOptions } from './quota-options.ts'
import type { UnknownLimit } from './quota-outcome.ts'
import type { Elsewhere, QuotaStore } from './quota-store.ts'
import type { RuleBook, Rules } from './rule-book.ts'
import type { SpendLanes } from './spend-lane.ts'
import type { Asked, StoreGate } from './store-gate.ts'
import type { Turns } from './turn.ts'

/** What all quotas of one enforcer share. */
export interface Enforcement {
  readonly store: QuotaStore
  readonly gate: StoreGate
  readonly lanes: SpendLanes
  readonly backlog: Backlog
  readonly leases: LeaseRegistry
  readonly turns: Turns
  readonly clock: Clock
  readonly posture: QuotasOptions['onStoreFailure']
  readonly idempotencyMs: number
  /** Undefined when nobody listens, so that no event is made for nobody. */
  readonly report: ((event: QuotaEvent) => void) | undefined
  /** Throws `CLOSED` after `close`. */
  checkOpen(): void
  /** Unique, for holds and bookings that bring no key of their own. */
  newKey(): string
  /** The store's clock, as far as it is known: this machine's, corrected by what the store said when it was elsewhere. */
  storeNow(): number
  storeSaid(now: number): void
}

/** Whose rules, and who is told. */
export interface QuotaIdentity {
  readonly subject: QuotaSubject
  readonly scope: string
  readonly book: RuleBook
}

const isElsewhere = (value: unknown): value is Elsewhere =>
  typeof value === 'object' && value !== null && (value as { readonly outcome?: unknown }).outcome === 'elsewhere'

/**
 * Asks the store with the rules of now, and once more when its clock is outside their windows. A store that is elsewhere
 * again is between two windows of the caller's: that answer is given as it is.
 */
export async function askWithin<T>(
  { gate, storeNow, storeSaid }: Enforcement,
  { book }: QuotaIdentity,
  operation: string,
  work: (charges: readonly Charge[], rules: Rules) => Promise<T | Elsewhere>,
  signal?: AbortSignal
): Promise<Asked<T | Elsewhere> | UnknownLimit> {
  for (let attempt = 1; ; attempt++) {
    const rules = book.at(storeNow())
    if (rules.outcome === 'unknown-limit') return rules
    const asked = await gate.ask(operation, () => work(rules.charges, rules), signal)
    if (asked.outcome === 'down' || !isElsewhere(asked.value)) return asked
    storeSaid(asked.value.now)
    if (attempt === 2) return asked
  }
}
