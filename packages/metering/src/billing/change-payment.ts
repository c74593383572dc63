import { parseOptions } from '@enablement/core'
import type { BillingEvent } from './billing-event.ts'
import { keyOf } from './billing-key.ts'
import type { ChangeOutcome } from './change-outcome.ts'
import type { CurrentSubscriptions } from './current-subscription.ts'
import { planChange } from './plan-change.ts'
import { type Decision, decidedAs } from './plan-decision.ts'
import { type PlanPaymentAnswer, type PlanPayments, paymentAnswerSchema } from './plan-payments.ts'
import { changed, declined } from './subscription-step.ts'
import type { PlanChangeRecord, SubscriptionRecord } from './subscription-store.ts'

/** Asks for the payment of a change that the store knows of, and decides it. Undefined when others were faster. */
export type PayForChange = (
  record: SubscriptionRecord,
  known: PlanChangeRecord,
  signal: AbortSignal | undefined
) => Promise<ChangeOutcome | undefined>

/** Without `payments` it is not known whether a change was paid that another process began to pay. */
export function createChangePayment(
  payments: PlanPayments | undefined,
  commit: CurrentSubscriptions['commit'],
  report: (event: BillingEvent) => void
): PayForChange {
  return async (record, known, signal) => {
    const { tenant, subscription } = record
    const { request, gross } = JSON.parse(known.decisionJson) as Decision & { readonly outcome: 'paying' }
    const change = planChange(request)
    const plan = change.plan.name
    const minorUnits = BigInt(gross)
    let answer: PlanPaymentAnswer
    try {
      if (payments === undefined) throw new TypeError('a payment is under way, and there is nobody to ask for it')
      const idempotencyKey = keyOf('plan-change', tenant, subscription, known.idempotencyKey)
      answer = parseOptions(
        paymentAnswerSchema,
        'payments.collect',
        await payments.collect(
          { tenant, subscription, idempotencyKey, currency: change.currency, minorUnits },
          signal === undefined ? {} : { signal }
        )
      )
    } catch (error) {
      report({ type: 'plan.payment-unknown', tenant, subscription, error })
      return { outcome: 'payment-unknown', error }
    }
    if (answer.outcome === 'paid') {
      const paid = { gross: minorUnits, reference: answer.reference }
      const step = changed(record, change, decidedAs(known, { outcome: 'changed', request }), paid)
      const isDone = await commit(step, { type: 'plan.changed', tenant, subscription, plan })
      return isDone ? { outcome: 'changed', change } : undefined
    }
    const reason = answer.reason.slice(0, 255)
    const step = declined(record, change, decidedAs(known, { outcome: 'declined', reason }))
    const isDone = await commit(step, { type: 'plan.change-declined', tenant, subscription, plan })
    return isDone ? { outcome: 'declined', reason } : undefined
  }
}
