import type { BillingEvent } from './billing/billing-event.ts'
import type { ClockEvent } from './clock-skew/clock-event.ts'
import type { CreditEvent } from './credit/credit-event.ts'
import type { DedupEvent } from './dedup/dedup-event.ts'
import type { DunningEvent } from './dunning/dunning-event.ts'
import type { ExportEvent } from './export/export-event.ts'
import type { IntakeEvent } from './intake/intake-event.ts'
import type { QuotaEvent } from './quota/quota-event.ts'
import type { ReconciliationEvent } from './reconciliation/reconciliation-event.ts'

/** What metering tells an observer, by `type`. Names and numbers, never an event's properties. */
export type MeteringEvent =
  | BillingEvent
  | DunningEvent
  | ExportEvent
  | ClockEvent
  | CreditEvent
  | DedupEvent
  | IntakeEvent
  | QuotaEvent
  | ReconciliationEvent

/**
 * Is told what happens, after it happened. What it throws goes nowhere: the usage is recorded by then, and an error would
 * say that it is not.
 */
export type MeteringObserver = (event: MeteringEvent) => void
