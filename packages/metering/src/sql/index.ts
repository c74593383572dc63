export { meteringSchema } from './metering-schema.ts'
export { sqlQuotaStore } from './sql-quota-store.ts'
export { type SqlUsageStoreOptions, sqlUsageStore } from './sql-usage-store.ts'
