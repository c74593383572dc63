import type { AuditDraft } from '@enablement/core/audit'
import type { InvoiceStore, PendingAdjustment } from '../billing/invoice-store.ts'
import { minorUnitDigits } from '../money/currency.ts'
import { writeDecimal } from '../money/decimal-text.ts'
import type { MetricComparison } from './comparison.ts'
import type { PeriodComparison } from './period-check.ts'

/** Adjustments that go in one call: an audit log appends a thousand entries at once. */
const ADJUSTMENTS_MAX = 500

/** Attempts at a period whose bills change meanwhile: each needs somebody else's success, of which there are few. */
const ATTEMPTS_MAX = 20

/**
 * Puts right what differs, by adjustments on the next invoice: what was billed for the period is then what was processed.
 * `compare` is asked anew before each attempt, so that what somebody else has put right meanwhile, or an earlier attempt
 * whose process died, is not put right twice. Says whether it was brought to an end.
 *
 * An invoice that is made at the same time may have billed the same difference. The revision of the bills shows that, and
 * the next attempt takes it back.
 */
export async function correct(
  invoices: Pick<InvoiceStore, 'adjust' | 'revision'>,
  run: string,
  compare: () => Promise<PeriodComparison | undefined>
): Promise<'corrected' | 'contended'> {
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    const comparison = await compare()
    const differing = comparison?.metrics.filter(({ verdict }) => verdict === 'differs') ?? []
    if (comparison === undefined || differing.length === 0) return 'corrected'
    const { tenant, subscription } = comparison
    const now = differing.slice(0, ADJUSTMENTS_MAX)
    const before = await invoices.revision(tenant, subscription)
    const put = await invoices.adjust(
      now.map((metric) => adjustmentOf(comparison, metric, run, attempt)),
      { evidence: now.map((metric) => evidenceOf(comparison, metric, run)) }
    )
    const after = await invoices.revision(tenant, subscription)
    const isAlone = after === before + 1 && put.every(({ outcome }) => outcome === 'put')
    if (isAlone && now.length === differing.length) return 'corrected'
  }
  return 'contended'
}

function adjustmentOf(
  { tenant, subscription, currency, period }: PeriodComparison,
  { metric, difference }: MetricComparison,
  run: string,
  attempt: number
): PendingAdjustment {
  const minorUnits = -difference.minorUnits
  return {
    // A run's name has no colon, so that no two of a subscription are the same.
    idempotencyKey: `reconciliation:${period.from}:${period.to}:${run}:${attempt}:${metric}`,
    tenant,
    subscription,
    currency,
    line: {
      kind: 'adjustment',
      description: `${metric}, reconciled`,
      period,
      metric,
      quantity: -difference.quantity,
      events: -difference.events,
      minorUnits,
      exact: writeDecimal({ coefficient: minorUnits, scale: minorUnitDigits(currency) })
    }
  }
}

function evidenceOf(
  { tenant, subscription, currency, period, watermarkAt }: PeriodComparison,
  { metric, processed, billed }: MetricComparison,
  run: string
): AuditDraft {
  const amounts = ({ events, quantity, minorUnits }: MetricComparison['billed']) => ({
    events,
    quantity: quantity.toString(),
    minorUnits: minorUnits.toString()
  })
  return {
    tenant,
    actor: 'system:reconciliation',
    action: 'reconciliation.adjusted',
    subject: `reconciliation:${run}`,
    detail: {
      subscription,
      metric,
      currency,
      from: period.from,
      to: period.to,
      watermarkAt,
      processed: amounts(processed),
      billed: amounts(billed)
    }
  }
}
