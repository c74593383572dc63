export { usageEventIssues } from '../event/usage-event-schema.ts'
export { type CreateCreditStore, type CreditStoreSubject, creditStoreConformance } from './credit-store-conformance.ts'
export { type CreateDedupStore, type DedupStoreSubject, dedupStoreConformance } from './dedup-store-conformance.ts'
export {
  type CreateInvoiceStore,
  type InvoiceStoreSubject,
  invoiceStoreConformance
} from './invoice-store-conformance.ts'
export type { CreateQuotaStore, QuotaStoreSubject } from './quota-store/exam.ts'
export { quotaStoreConformance } from './quota-store-conformance.ts'
export { redisDedupStoreOnClock } from './redis-dedup-store-on-clock.ts'
export { redisQuotaStoreOnClock } from './redis-quota-store-on-clock.ts'
export { type CreateUsageStore, type UsageStoreSubject, usageStoreConformance } from './usage-store-conformance.ts'
