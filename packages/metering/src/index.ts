export { minorUnitDigits } from './billing/currency.ts'
export {
  type PackageRate,
  type PricedUsage,
  type PricingRequest,
  priceUsage,
  type Rate,
  type UnitRate
} from './billing/price.ts'
export type { Rounding } from './billing/rounding.ts'
export type { DedupVerdict } from './dedup/dedup.ts'
export { type CheckedUsage, parseUsageEvent, type UsageParse } from './event/parse-usage-event.ts'
export type { BatchOutcome, RecordOutcome } from './event/record-outcome.ts'
export type { UsageEvent } from './event/usage-event.ts'
export { createMeter, type Meter, type MeterOptions } from './meter.ts'
export { MeteringError, type MeteringErrorTable } from './metering-error.ts'
export type { MeteringEvent, MeteringObserver } from './metering-event.ts'
export type { Limit } from './quota/limit.ts'
export type { Period } from './quota/period.ts'
export {
  type ConsumeOutcome,
  createQuotas,
  type Quota,
  type QuotaBinding,
  type Quotas,
  type QuotasOptions
} from './quota/quota.ts'
export type { QuotaAnswer, QuotaSpend, QuotaStore, QuotaStoreSupports } from './quota/quota-store.ts'
export type { TotalsQuery, UsageTotal } from './usage/totals.ts'
export type { UsageEntry, UsageStore, UsageStoreSupports } from './usage/usage-store.ts'
