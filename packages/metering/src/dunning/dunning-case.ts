import type { DunningPolicy } from './dunning-policy.ts'

/** An invoice that was not paid. */
export interface UnpaidInvoice {
  readonly invoice: string
  readonly minorUnits: bigint
}

/** Everything unpaid of one subscription in one currency, from the first failure until it is paid. */
export interface DunningCase {
  readonly id: string
  readonly tenant: string
  readonly subscription: string
  /** ISO 4217. */
  readonly currency: string
  /** When the first payment failed: every day counts from here. Epoch milliseconds. */
  readonly failedAt: number
  /** `recovered` once all is paid. */
  readonly status: 'open' | 'recovered'
  readonly unpaid: readonly UnpaidInvoice[]
  /** Attempts that ended. */
  readonly attempts: number
  /** When the next attempt may be made, at the earliest: epoch milliseconds. */
  readonly nextAttemptAt: number
  /**
   * What the attempt under way is to collect. Kept from before it is made until its answer is known, so that a repetition
   * after a crash asks for the same amount under the same key.
   */
  readonly underway?: readonly UnpaidInvoice[]
  /** Names of the notices that were sent. */
  readonly noticed: readonly string[]
  /**
   * `ordered` from before the restriction is asked for until that is known to be in force: a success meanwhile must restore
   * all the same.
   */
  readonly restriction: 'none' | 'ordered' | 'in-force' | 'restoring'
  /** The number of the last order given to the restriction for this case, 0 before the first. */
  readonly order: number
}

/** What one timer of a case does. */
export type DunningStep =
  | { readonly kind: 'retry'; readonly attempt: number }
  | { readonly kind: 'notice'; readonly name: string }
  | { readonly kind: 'restrict' }
  | { readonly kind: 'restore'; readonly order: number }

/** A case as the first failure opens it. */
export function openCase(
  opened: Pick<DunningCase, 'id' | 'tenant' | 'subscription' | 'currency' | 'failedAt'>,
  unpaid: UnpaidInvoice,
  { retries }: DunningPolicy
): DunningCase {
  return {
    ...opened,
    status: 'open',
    unpaid: [unpaid],
    attempts: 0,
    nextAttemptAt: opened.failedAt + retries.firstAfterMs,
    noticed: [],
    restriction: 'none',
    order: 0
  }
}

/** The timers that a case begins with. */
export function firstTimers(of: DunningCase, policy: DunningPolicy): { step: DunningStep; dueAt: number }[] {
  const timers: { step: DunningStep; dueAt: number }[] = policy.notices.map(({ name, afterMs }) => ({
    step: { kind: 'notice', name },
    dueAt: of.failedAt + afterMs
  }))
  if (policy.retries.attemptsMax > 0) timers.push({ step: nextRetry(of), dueAt: of.nextAttemptAt })
  timers.push({ step: { kind: 'restrict' }, dueAt: of.failedAt + policy.restrictAfterMs })
  return timers
}

/** The step that makes the next attempt, and no other. */
export function nextRetry({ attempts }: DunningCase): DunningStep {
  return { kind: 'retry', attempt: attempts + 1 }
}

/** What invoices amount to. */
export function amountOf(unpaid: readonly UnpaidInvoice[]): bigint {
  return unpaid.reduce((sum, { minorUnits }) => sum + minorUnits, 0n)
}

/** The case with another invoice unpaid; the same invoice again changes nothing. */
export function withUnpaid(of: DunningCase, unpaid: UnpaidInvoice): DunningCase {
  if (of.unpaid.some(({ invoice }) => invoice === unpaid.invoice)) return of
  return { ...of, unpaid: [...of.unpaid, unpaid] }
}

/** The case after invoices were paid: when nothing is left it is recovered. */
export function withPaid(of: DunningCase, invoices: readonly string[]): DunningCase {
  const unpaid = of.unpaid.filter(({ invoice }) => !invoices.includes(invoice))
  return { ...of, unpaid, status: unpaid.length === 0 ? 'recovered' : of.status }
}

/**
 * The case when its next attempt has begun; undefined when none may be made. `attempt` is the number that a timer is for:
 * one that fires again after its attempt has ended makes no other. A case that was paid meanwhile is not asked for again,
 * even where the answer to an attempt was lost.
 */
export function withAttemptBegun(of: DunningCase, policy: DunningPolicy, attempt?: number): DunningCase | undefined {
  if (of.status !== 'open' || (attempt !== undefined && attempt !== of.attempts + 1)) return undefined
  if (of.underway !== undefined) return of
  return mayAttempt(of, policy) ? { ...of, underway: of.unpaid } : undefined
}

/** The case when the attempt under way has ended at `now`. */
export function withAttemptEnded(of: DunningCase, paid: boolean, now: number, { retries }: DunningPolicy): DunningCase {
  const { underway = [], ...rest } = of
  const ended = { ...rest, attempts: of.attempts + 1, nextAttemptAt: now + retries.everyMs }
  return paid
    ? withPaid(
        ended,
        underway.map(({ invoice }) => invoice)
      )
    : ended
}

/** What an attempt that was paid collected although it had been paid otherwise meanwhile. */
export function paidTwice({ underway = [], unpaid }: DunningCase): bigint {
  return amountOf(underway.filter((one) => unpaid.every(({ invoice }) => invoice !== one.invoice)))
}

/** Whether enough is unpaid, and attempts are left, to make one. */
export function mayAttempt(of: DunningCase, { retries, thresholds }: DunningPolicy): boolean {
  if (of.status !== 'open' || of.attempts >= retries.attemptsMax) return false
  return amountOf(of.unpaid) >= (thresholds[of.currency] ?? 0n)
}
