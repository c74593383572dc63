export { admitFence, assertFence, type FenceAdmission } from './fence-guard.ts'
export type { AcquiredLock, LockExtension, LockHold, LockRelease } from './hold.ts'
export {
  type AcquireOptions,
  createLock,
  type Lock,
  type LockBusy,
  type Locked,
  type LockOptions,
  type WithLockOptions
} from './lock.ts'
export type { LockEvent, LockLoss, LockLossReason } from './lock-event.ts'
export { lockSchema } from './lock-schema.ts'
export type { LeaseClaim, LeaseGrant, LockStore, LockStoreSupports } from './lock-store.ts'
export { type MemoryLockStoreOptions, memoryLockStore } from './memory-lock-store.ts'
export { type SqlLockStore, type SqlLockStoreOptions, sqlLockStore } from './sql-lock-store.ts'
