export {
  type MemoryOversightStore,
  type MemoryOversightStoreOptions,
  memoryOversightStore
} from './memory-oversight-store.ts'
