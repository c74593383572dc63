export { memoryCheckpointStore } from './memory-checkpoint-store.ts'
export { type MemoryIncidentStore, memoryIncidentStore } from './memory-incident-store.ts'
export { memoryPoolState } from './memory-pool-state.ts'
