import type { BillingEvent } from './billing-event.ts'
import type { ProrationTerms } from './plan-change.ts'
import { periodEnded } from './subscription-step.ts'
import type { SubscriptionRecord, SubscriptionStore, SubscriptionWrite } from './subscription-store.ts'

/** Subscriptions as they should be by now, whether a worker came by or not. */
export interface CurrentSubscriptions {
  /** Commits a step and tells of it; false, and nothing, where the subscription changed meanwhile. */
  commit(step: SubscriptionWrite, ...events: readonly BillingEvent[]): Promise<boolean>
  /** The period is over: the record as it is then, or undefined where somebody else was faster. */
  endPeriod(record: SubscriptionRecord): Promise<SubscriptionRecord | undefined>
  /** The record as it should be at `at`: its periods that are over have been ended. */
  current(tenant: string, subscription: string, at: number): Promise<SubscriptionRecord | undefined>
}

export function createCurrentSubscriptions(
  store: SubscriptionStore,
  terms: ProrationTerms,
  report: (event: BillingEvent) => void
): CurrentSubscriptions {
  async function commit(step: SubscriptionWrite, ...events: readonly BillingEvent[]): Promise<boolean> {
    const { outcome } = await store.commitSubscription(step)
    if (outcome === 'stale') return false
    for (const event of events) report(event)
    return true
  }

  async function endPeriod(record: SubscriptionRecord): Promise<SubscriptionRecord | undefined> {
    const { tenant, subscription, period, pending } = record
    const step = periodEnded(record, terms)
    const plan = step.subscription.plan.name
    const whose = { tenant, subscription, plan }
    const event: BillingEvent =
      pending === undefined
        ? { type: 'plan.renewed', ...whose, periodAt: period.to }
        : { type: pending.kind === 'end' ? 'plan.ended' : 'plan.changed', ...whose }
    return (await commit(step, event)) ? step.subscription : undefined
  }

  async function current(tenant: string, subscription: string, at: number): Promise<SubscriptionRecord | undefined> {
    let record = await store.findSubscription(tenant, subscription)
    while (record !== undefined && isPeriodOver(record, at)) {
      record = (await endPeriod(record)) ?? (await store.findSubscription(tenant, subscription))
    }
    return record
  }

  return { commit, endPeriod, current }
}

/** Whether its period has to be ended at `at`; what is under payment is brought to its end first. */
export const isPeriodOver = ({ endedAt, paying, period }: SubscriptionRecord, at: number): boolean =>
  endedAt === undefined && paying === undefined && period.to <= at
