export { type MemoryQuotaStoreOptions, memoryQuotaStore } from './memory-quota-store.ts'
export { type MemoryUsageStoreOptions, memoryUsageStore } from './memory-usage-store.ts'
