import type { DedupVerdict } from '../dedup/repeat.ts'
import type { CheckedUsage } from '../event/parse-usage-event.ts'
import type { UsageIdentity } from '../event/usage-event.ts'
import type { Lateness } from '../lateness/lateness.ts'
import type { MetricDefinition } from './rollup.ts'
import type { SetAside, SetAsideDecision, SetAsideQuery, SetAsideState, SetAsideUsage } from './set-aside.ts'
import type { AdjustmentQuery, LateUsage, TotalsQuery, UsageTotal } from './totals.ts'

/** An event on its way into the ledger. */
export interface UsageEntry extends Omit<CheckedUsage, 'properties'> {
  /** The properties as canonical JSON, `{}` when there are none. */
  readonly propertiesJson: string
  /** Over the event as it was sent, `reportedAt` in the place of `at` where there is one. */
  readonly payloadHash: string
  /** When it was received first: epoch milliseconds. */
  readonly receivedAt: number
  /**
   * When its lateness was judged: epoch milliseconds. As `receivedAt` unless it waited in a journal meanwhile. Adjustments
   * are listed by this, so that each is on one invoice.
   */
  readonly countedAt?: number
  readonly lateness: Exclude<Lateness, 'manual-review'>
  /** The period it was used in, of an adjustment and of what waits for a review: [start, end), epoch milliseconds. */
  readonly latePeriodAt?: number
  readonly latePeriodEndsAt?: number
  /** The time that the sender gave, where `at` is a consensus time in its place: epoch milliseconds. */
  readonly reportedAt?: number
  /** Whether the dedup store could not be asked, and only the ledger's own index vouches for it. */
  readonly unconfirmed?: boolean
  /** How its metric adds up. */
  readonly rollup: MetricDefinition
  /** It is kept under its identity, and counted nowhere until somebody decides. */
  readonly setAside?: SetAside
}

/** What a usage store can promise. */
export interface UsageStoreSupports {
  /** What a recorded event survives. */
  readonly durable: 'power-loss' | 'process' | 'none'
}

/** The ledger of usage and its totals. */
export interface UsageStore {
  readonly supports: UsageStoreSupports
  /**
   * Takes the entries whose identities are new, all or none of them, each in the ledger and in its total in one unit, and
   * gives a verdict for each in order. An identity is taken once, also when it comes twice in `entries` or at the same
   * time from elsewhere, and whether it is counted, set aside or discarded. Takes at most `ENTRIES_MAX` entries.
   *
   * Throws an error of the suite when the store failed; the entries are then taken wholly or not at all.
   */
  record(entries: readonly UsageEntry[], options?: { readonly signal?: AbortSignal }): Promise<readonly DedupVerdict[]>
  /** The totals per metric, by name in code unit order and then by rollup, at most `METRICS_MAX` of them and one more. */
  totals(query: TotalsQuery, options?: { readonly signal?: AbortSignal }): Promise<readonly UsageTotal[]>
  /**
   * What late events add to earlier periods, by period, metric and rollup: what an invoice has to name as adjustments. At
   * most `METRICS_MAX` and one more.
   */
  adjustments(query: AdjustmentQuery, options?: { readonly signal?: AbortSignal }): Promise<readonly LateUsage[]>
  /** What is set aside, by time of receipt. */
  setAside(query: SetAsideQuery, options?: { readonly signal?: AbortSignal }): Promise<readonly SetAsideUsage[]>
  /** What is known of an identity. */
  find(identity: UsageIdentity, options?: { readonly signal?: AbortSignal }): Promise<SetAsideState>
  /**
   * Carries a decision out, in one unit, if the event is still set aside for that reason: `decided` for one of any number
   * that decide at the same time. `decided-before` for the others, and for what was never set aside, and `unknown` for
   * an identity that is not there; nothing changes then.
   */
  decide(
    decision: SetAsideDecision,
    options?: { readonly signal?: AbortSignal }
  ): Promise<'decided' | 'decided-before' | 'unknown'>
}

/** Entries that one unit takes: the writer is held for a few milliseconds at most. */
export const ENTRIES_MAX = 256
