export type { BucketRefusal, BucketRule } from '../resilience/bucket-level.ts'
export type { BreakerStateStore, ProbeAnswer, ProbeClaim, SharedBreak, SharedStanding } from './breaker-state-store.ts'
export { fleetSchema } from './fleet-schema.ts'
export { type MemoryBreakerStateStoreOptions, memoryBreakerStateStore } from './memory-breaker-state-store.ts'
export { type MemoryTokenBucketStoreOptions, memoryTokenBucketStore } from './memory-token-bucket-store.ts'
export {
  createSharedCircuitBreaker,
  type SharedBreakerEvent,
  type SharedCircuitBreaker,
  type SharedCircuitBreakerOptions
} from './shared-circuit-breaker.ts'
export {
  createSharedTokenBucket,
  type SharedReservation,
  type SharedTokenBucket,
  type SharedTokenBucketEvent,
  type SharedTokenBucketOptions
} from './shared-token-bucket.ts'
export {
  type SqlBreakerStateStore,
  type SqlBreakerStateStoreOptions,
  sqlBreakerStateStore
} from './sql-breaker-state-store.ts'
export {
  type SqlTokenBucketStore,
  type SqlTokenBucketStoreOptions,
  sqlTokenBucketStore
} from './sql-token-bucket-store.ts'
export type { BucketAnswer, BucketClaim, BucketPause, TokenBucketStore } from './token-bucket-store.ts'
