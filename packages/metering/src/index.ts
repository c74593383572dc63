export type { BillingEvent } from './billing/billing-event.ts'
export type {
  CancelOutcome,
  CancelRequest,
  ChangeOutcome,
  ChangeRefusal,
  ChangeRequest,
  PreviewOutcome,
  WithdrawOutcome
} from './billing/change-outcome.ts'
export { type CreditNote, type CreditNoteRequest, creditNote, type TaxedAmount } from './billing/credit-note.ts'
export type { Invoice, InvoiceLine } from './billing/invoice.ts'
export type {
  BilledUsage,
  BillingAccount,
  ClaimedAccounts,
  InvoicePut,
  InvoicePutOutcome,
  InvoiceStore,
  PendingAdjustment
} from './billing/invoice-store.ts'
export {
  type BilledPeriod,
  createInvoicing,
  type DraftOutcome,
  type FinalOutcome,
  type InvoiceQuery,
  type Invoicing,
  type InvoicingOptions
} from './billing/invoicing.ts'
export type { Plan } from './billing/plan.ts'
export {
  type PlanChange,
  type PlanChangeRequest,
  type PlanChangeStrategy,
  type PlanCharge,
  type PlanTermination,
  type PlanTerminationRequest,
  type PlanUse,
  type ProrationTerms,
  planChange,
  planCharge,
  planTermination
} from './billing/plan-change.ts'
export { createPlanChanges, type PlanChanges, type PlanChangesOptions } from './billing/plan-changes.ts'
export type { PlanPayment, PlanPaymentAnswer, PlanPayments } from './billing/plan-payments.ts'
export { type PricedUsage, type PricingRequest, priceUsage, type RateTerms } from './billing/price.ts'
export type { ProrationProfile } from './billing/proration-profile.ts'
export type {
  FlatRate,
  GraduatedRate,
  PackageRate,
  Rate,
  StairstepRate,
  Tier,
  UnitRate,
  VolumeRate
} from './billing/rate.ts'
export { createRateCard, type RateCard, type RateCardOptions } from './billing/rate-card.ts'
export type {
  ClaimedSubscriptions,
  PendingStep,
  PlanChangeRecord,
  SubscriptionRecord,
  SubscriptionStore,
  SubscriptionWrite
} from './billing/subscription-store.ts'
export type { TaxRule } from './billing/tax.ts'
export type { Calendar, CalendarPeriod, PeriodFinder } from './calendar/calendar.ts'
export { calendarDays } from './calendar/calendar-days.ts'
export { longestPeriodMs } from './calendar/longest-period.ts'
export { periodFinder } from './calendar/period-finder.ts'
export type { ClockEvent } from './clock-skew/clock-event.ts'
export { type ClockTimeSourceOptions, clockTimeSource } from './clock-skew/clock-time-source.ts'
export {
  type ConsensusReading,
  type ConsensusTime,
  type ConsensusTimeOptions,
  createConsensusTime
} from './clock-skew/consensus-time.ts'
export {
  createDriftMonitor,
  type DriftingSource,
  type DriftMonitor,
  type DriftMonitorOptions
} from './clock-skew/drift-monitor.ts'
export {
  type HttpTimeSourceOptions,
  httpTimeSource,
  type TimeFetch,
  type TimeResponse
} from './clock-skew/http-time-source.ts'
export { classifySkew, judgeTime, type Skew, type TimeVerdict } from './clock-skew/skew.ts'
export type { TimeReading, TimeSource } from './clock-skew/time-source.ts'
export type { BurnOrder } from './credit/burn-order.ts'
export type {
  ActivateAnswer,
  ChargeAnswer,
  CommitAnswer,
  CreditConflict,
  CreditExtendAnswer,
  CreditHoldAnswer,
  GrantAnswer,
  InsufficientCredits,
  PaidBy,
  ReleaseAnswer,
  ReverseAnswer,
  VoidAnswer,
  WalletFull
} from './credit/credit-answers.ts'
export type { CreditCallKind, CreditEntryKind, LedgerEntry } from './credit/credit-entry.ts'
export type { CreditEvent } from './credit/credit-event.ts'
export type {
  CallRecord,
  ChargeRecord,
  CreditEvidence,
  CreditStore,
  CreditStoreSupports,
  Funding,
  Lane,
  WalletChanges,
  WalletName,
  WalletRecord,
  WalletRows
} from './credit/credit-store.ts'
export type { CreditUnit } from './credit/credit-unit.ts'
export { type Credits, type CreditsOptions, createCredits } from './credit/credits.ts'
export { type DerivedWallet, deriveWallet } from './credit/derive-wallet.ts'
export type { ExpiredReversal } from './credit/giving-back.ts'
export type { CreditRecurrence, GrantTerms, Lot, LotOrigin, LotState } from './credit/lot.ts'
export type { CreditEntry, CreditGrant, Wallet, WalletBalance, WalletCallOptions } from './credit/wallet.ts'
export { type BloomFilter, type BloomFilterOptions, createBloomFilter } from './dedup/bloom-filter.ts'
export {
  createDedup,
  type Dedup,
  type DedupOptions,
  type DedupOutcome,
  type DedupStats
} from './dedup/dedup.ts'
export type { DedupEvent } from './dedup/dedup-event.ts'
export type { DedupAnswer, DedupClaim, DedupStore } from './dedup/dedup-store.ts'
export type { DedupVerdict, Repeat } from './dedup/repeat.ts'
export {
  createDunning,
  type Dunning,
  type DunningOptions,
  type PaymentFailure,
  type PaymentSuccess
} from './dunning/dunning.ts'
export type { DunningCase, UnpaidInvoice } from './dunning/dunning-case.ts'
export type { DunningEvent } from './dunning/dunning-event.ts'
export { DUNNING_POLICY, type DunningPolicy } from './dunning/dunning-policy.ts'
export type { Notifier, PaymentNotice } from './dunning/notifier.ts'
export type { PaymentAnswer, PaymentAttempt, PaymentRetry } from './dunning/payment-retry.ts'
export type { RestrictionOrder, ServiceRestriction } from './dunning/service-restriction.ts'
export { type CheckedUsage, parseUsageEvent, type UsageParse } from './event/parse-usage-event.ts'
export type { BatchOutcome, HeldReason, RecordOutcome } from './event/record-outcome.ts'
export type { UsageEvent, UsageIdentity } from './event/usage-event.ts'
export type { ExportEvent } from './export/export-event.ts'
export type { ExportOptions } from './export/export-options.ts'
export type { RefusedUsage } from './export/export-rows.ts'
export type { ExportFetch, ExportKey } from './export/target-call.ts'
export type { UsageExport } from './export/usage-export.ts'
export type { ClaimAnswer, UsageDedup } from './intake/claims.ts'
export type { IntakeEvent, WhoseUsage } from './intake/intake-event.ts'
export type { CalendarOf } from './intake/judgement.ts'
export type {
  Quarantine,
  Reviews,
  SetAsidePage,
  SetAsidePageQuery,
  SetAsideSettlement,
  SettlementOutcome
} from './intake/set-aside-desk.ts'
export type { UsageJournal } from './intake/usage-journal.ts'
export {
  type JudgedLateness,
  judgeLateness,
  LATENESS_LIMITS,
  type Lateness,
  type LatenessLimits
} from './lateness/lateness.ts'
export { createMeter, type Meter, type MeterOptions } from './meter.ts'
export { MeteringError, type MeteringErrorTable } from './metering-error.ts'
export type { MeteringEvent, MeteringObserver } from './metering-event.ts'
export { allocate } from './money/allocation.ts'
export { minorUnitDigits } from './money/currency.ts'
export { prorate } from './money/proration.ts'
export type { Ratio } from './money/ratio.ts'
export type { Rounding } from './money/rounding.ts'
export { type StripeAmount, stripeAmount } from './money/stripe-amount.ts'
export type { ConsumeOptions, HoldOptions } from './quota/bound-quota.ts'
export type { Charge, CounterName, CounterRule, ReservedPart } from './quota/charge.ts'
export type { QuotaHold } from './quota/hold-handle.ts'
export type { Limit, LimitNode } from './quota/limit.ts'
export { type LimitConflict, limitConflicts } from './quota/limit-conflict.ts'
export type { Period } from './quota/period.ts'
export { createQuotas, type Quota, type Quotas } from './quota/quota.ts'
export type { QuotaEvent, QuotaSubject } from './quota/quota-event.ts'
export type { QuotaLedger, QuotaStep, SteppedCounter, SteppedHold, SteppedSpend } from './quota/quota-ledger.ts'
export type { LeaseOptions, LimitLookup, QuotaBinding, QuotasOptions } from './quota/quota-options.ts'
export type {
  Conflict,
  ConsumeOutcome,
  ExtendOutcome,
  HoldOutcome,
  Refused,
  RemainingOutcome,
  SettleOutcome,
  TryOutcome,
  Unavailable,
  UnknownLimit,
  WithHoldOutcome
} from './quota/quota-outcome.ts'
export type {
  CounterReading,
  Elsewhere,
  ExpiredHold,
  ExtendAnswer,
  ExtendRequest,
  HoldAnswer,
  HoldEnd,
  HoldRequest,
  KeyConflict,
  QuotaStore,
  QuotaStoreSupports,
  Refusal,
  SettleAnswer,
  SettleRequest,
  SpendAnswer,
  SpendGroup
} from './quota/quota-store.ts'
export { restrictLimit } from './quota/restricted-limit.ts'
export type { ComparisonVerdict, MeteredAmount, MetricComparison } from './reconciliation/comparison.ts'
export type { Finding, ReconciliationRun } from './reconciliation/finding.ts'
export type { PeriodCheck, PeriodComparison, ReconciliationQuery } from './reconciliation/period-check.ts'
export {
  createReconciliation,
  type Reconciled,
  type Reconciliation,
  type ReconciliationOptions
} from './reconciliation/reconciliation.ts'
export type { ReconciliationEvent } from './reconciliation/reconciliation-event.ts'
export type { FindingPlace } from './reconciliation/run-rows.ts'
export type { ListedSubscription, SubscriptionLister } from './reconciliation/subscription-lister.ts'
export type { Tolerance } from './reconciliation/tolerance.ts'
export type { MetricDefinition, Rollup } from './usage/rollup.ts'
export type {
  SetAside,
  SetAsideDecision,
  SetAsidePlace,
  SetAsideQuery,
  SetAsideState,
  SetAsideUsage
} from './usage/set-aside.ts'
export type { AdjustmentQuery, LateUsage, TotalsQuery, UsageTotal } from './usage/totals.ts'
export type { RecordedUsage, UsageFeed } from './usage/usage-feed.ts'
export type { UsageEntry, UsageStore, UsageStoreSupports } from './usage/usage-store.ts'
