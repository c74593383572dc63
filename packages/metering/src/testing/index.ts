export { usageEventIssues } from '../event/usage-event-schema.ts'
export { type CreateQuotaStore, type QuotaStoreSubject, quotaStoreConformance } from './quota-store-conformance.ts'
export { redisQuotaStoreOnClock } from './redis-quota-store-on-clock.ts'
export { type CreateUsageStore, type UsageStoreSubject, usageStoreConformance } from './usage-store-conformance.ts'
