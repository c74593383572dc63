import { minorUnitDigits } from '../money/currency.ts'
import { writeExact } from '../money/decimal-text.ts'
import type { InvoiceLine } from './invoice.ts'
import type { Plan } from './plan.ts'
import { type PlanChange, type PlanTermination, type ProrationTerms, planCharge } from './plan-change.ts'
import type { PendingStep, PlanChangeRecord, SubscriptionRecord, SubscriptionWrite } from './subscription-store.ts'

/** What the log is told of a step. */
type Evidence = readonly [action: string, detail: Readonly<Record<string, string | number>>]

/** A subscription begins: the rest of the plan's period is charged. */
export function begun(
  { tenant, subscription, plan, at }: { tenant: string; subscription: string; plan: Plan; at: number },
  terms: ProrationTerms
): SubscriptionWrite {
  const { period, charge, line } = planCharge({ plan, at, ...terms })
  const record = { tenant, subscription, revision: 1, plan, period, since: at, charged: charge }
  return write(record, ['plan.subscribed', { plan: plan.name, charge, at }], { lines: charge === 0 ? [] : [line] })
}

/** A period ends: the subscription renews, with the plan that waited if there is one, or ends. */
export function periodEnded(record: SubscriptionRecord, terms: ProrationTerms): SubscriptionWrite {
  const { pending, ...rest } = successor(record)
  const at = record.period.to
  if (pending?.kind === 'end') return write({ ...rest, endedAt: at }, ['plan.ended', { plan: record.plan.name, at }])
  const plan = pending?.plan ?? record.plan
  const { period, charge, line } = planCharge({ plan, at, ...terms })
  const action = pending === undefined ? 'plan.renewed' : 'plan.changed'
  return write({ ...rest, plan, period, since: at, charged: charge }, [action, { plan: plan.name, charge, at }], {
    lines: charge === 0 ? [] : [line]
  })
}

/** Another plan is in force, in place of one that waited. `paid` is what was collected for it. */
export function changed(
  record: SubscriptionRecord,
  change: PlanChange,
  decided: PlanChangeRecord,
  paid?: { readonly gross: bigint; readonly reference: string }
): SubscriptionWrite {
  const { pending, paying: _, ...rest } = successor(record)
  const { plan, period, effectiveAt, refund, charge, strategy } = change
  const lines = [...change.lines]
  if (paid !== undefined) {
    lines.push({
      kind: 'credit',
      description: `Paid at the change: ${paid.reference.slice(0, 200)}`,
      period: { from: effectiveAt, to: period.to },
      minorUnits: -paid.gross,
      exact: writeExact(-paid.gross, 10n ** BigInt(minorUnitDigits(change.currency)))
    })
  }
  const detail = { from: record.plan.name, plan: plan.name, strategy, refund, charge, at: effectiveAt }
  return write(
    { ...rest, plan, period, since: effectiveAt, charged: charge },
    ['plan.changed', { ...detail, ...supersedes(pending) }],
    { lines, change: decided }
  )
}

/** A change or the end waits for the end of the period, in place of what waited before. */
export function scheduled(
  record: SubscriptionRecord,
  pending: PendingStep,
  decided: PlanChangeRecord
): SubscriptionWrite {
  const evidence: Evidence =
    pending.kind === 'end'
      ? ['plan.end-scheduled', { plan: record.plan.name, at: record.period.to, ...supersedes(record.pending) }]
      : ['plan.change-scheduled', { plan: pending.plan.name, at: record.period.to, ...supersedes(record.pending) }]
  return write({ ...successor(record), pending }, evidence, { change: decided })
}

/** What waits will not happen. */
export function withdrawn(record: SubscriptionRecord, pending: PendingStep): SubscriptionWrite {
  const { pending: _, ...rest } = successor(record)
  return pending.kind === 'end'
    ? write(rest, ['plan.end-withdrawn', { plan: record.plan.name }])
    : write(rest, ['plan.change-withdrawn', { plan: pending.plan.name }])
}

/** A payment is about to be asked for; until it is decided nothing else changes. */
export function paymentBegun(
  record: SubscriptionRecord,
  change: PlanChange,
  paying: PlanChangeRecord
): SubscriptionWrite {
  return write(
    { ...successor(record), paying: paying.idempotencyKey },
    ['plan.payment-begun', { plan: change.plan.name, net: change.net }],
    { change: paying }
  )
}

/** The payment was declined, and all is as it was. */
export function declined(record: SubscriptionRecord, change: PlanChange, decided: PlanChangeRecord): SubscriptionWrite {
  const { paying: _, ...rest } = successor(record)
  const detail = { plan: change.plan.name, strategy: change.strategy }
  return write(rest, ['plan.change-declined', detail], { change: decided })
}

/** The subscription is over at once, with what is refunded of the charge, in place of a change that waited. */
export function ended(
  record: SubscriptionRecord,
  endedAt: number,
  { refund, lines }: PlanTermination,
  decided: PlanChangeRecord
): SubscriptionWrite {
  const { pending, ...rest } = successor(record)
  const detail = { plan: record.plan.name, refund, at: endedAt, ...supersedes(pending) }
  return write({ ...rest, endedAt }, ['plan.ended', detail], { lines, change: decided })
}

const successor = (record: SubscriptionRecord): SubscriptionRecord => ({ ...record, revision: record.revision + 1 })

/** For the log: the plan that waited, and will not come. */
const supersedes = (pending: PendingStep | undefined): { readonly supersedes?: string } =>
  pending?.kind === 'change' ? { supersedes: pending.plan.name } : {}

function write(
  subscription: SubscriptionRecord,
  [action, detail]: Evidence,
  { lines = [], change }: { readonly lines?: readonly InvoiceLine[]; readonly change?: PlanChangeRecord } = {}
): SubscriptionWrite {
  const { tenant, subscription: name, revision, plan } = subscription
  return {
    subscription,
    ...(change === undefined ? {} : { change }),
    // Each step has a revision of its own, and so each line a key of its own.
    adjustments: lines.map((line, at) => ({
      idempotencyKey: `plan:${revision}:${at}`,
      tenant,
      subscription: name,
      currency: plan.currency,
      line
    })),
    evidence: [{ tenant, actor: 'system:billing', action, subject: `subscription:${name}`, detail }]
  }
}
