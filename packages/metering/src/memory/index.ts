export { type MemoryCreditStoreOptions, memoryCreditStore } from './memory-credit-store.ts'
export { type MemoryDedupStoreOptions, memoryDedupStore } from './memory-dedup-store.ts'
export {
  type MemoryInvoiceStore,
  type MemoryInvoiceStoreOptions,
  memoryInvoiceStore
} from './memory-invoice-store.ts'
export { type MemoryQuotaStoreOptions, memoryQuotaStore } from './memory-quota-store.ts'
export { type MemoryUsageStoreOptions, memoryUsageStore } from './memory-usage-store.ts'
