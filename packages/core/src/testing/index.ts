export {
  type CheckpointSinkSubject,
  type CreateCheckpointSink,
  checkpointSinkConformance
} from './audit/checkpoint-sink-conformance.ts'
export {
  type ConformanceCase,
  type ConformanceExam,
  type ConformanceKit,
  type ConformanceOmission,
  type ConformanceTest,
  conformanceTests
} from './conformance.ts'
export { type CrashingDatabase, type CrashPoint, crashPoints, SimulatedCrash, unlessCrashed } from './crash-points.ts'
export {
  type CreateJournalDisk,
  type JournalDiskSubject,
  journalDiskConformance
} from './disk/journal-disk-conformance.ts'
export { type PowerCut, randomPowerCut, type WriteRemains } from './disk/power-cut.ts'
export {
  type DiskEvent,
  type DiskOperation,
  type SimulatedDisk,
  type SimulatedDiskOptions,
  simulatedDisk
} from './disk/simulated-disk.ts'
export type { Fault, FaultKind, FaultRule } from './faults/fault.ts'
export {
  createFaultPlan,
  type FaultPlan,
  type FaultPlanOptions,
  type FaultPoint,
  type FaultTarget,
  type Strike
} from './faults/fault-plan.ts'
export { type FailedCall, withFaults } from './faults/with-faults.ts'
export {
  type BreakerStateStoreSubject,
  breakerStateStoreConformance,
  type CreateBreakerStateStore
} from './fleet/breaker-state-store-conformance.ts'
export {
  redisBreakerStateStoreOnClock,
  redisTokenBucketStoreOnClock
} from './fleet/redis-fleet-stores-on-clock.ts'
export {
  type CreateTokenBucketStore,
  type TokenBucketStoreSubject,
  tokenBucketStoreConformance
} from './fleet/token-bucket-store-conformance.ts'
export { type CreateLockStore, type LockStoreSubject, lockStoreConformance } from './lock-store-conformance.ts'
export type { NetworkListener, NodeNetwork, SimulatedNetwork } from './network/simulated-network.ts'
export { redisLockStoreOnClock } from './redis-lock-store-on-clock.ts'
export {
  type CircuitBreakerNeed,
  type CircuitBreakerSubject,
  type CreateCircuitBreaker,
  circuitBreakerConformance,
  type ExaminedBreakerOptions
} from './resilience/circuit-breaker-conformance.ts'
export {
  type CreateDueClaims,
  type DueClaimsSubject,
  dueClaimsConformance
} from './schedule/due-claims-conformance.ts'
export { type DueRowStore, dueRowStore } from './schedule/due-row-store.ts'
export { seededRandom } from './seeded-random.ts'
export {
  type SimulatedWorld,
  type SimulationOptions,
  type SimulationResult,
  simulate
} from './simulation/simulate.ts'
export type { SimulatedNode, SimulatedProcess, StartProcess } from './simulation/simulated-node.ts'
export type { CreateSqlDatabase } from './sql-database/case.ts'
export { sqlDatabaseConformance } from './sql-database/sql-database-conformance.ts'
export { withStoreClock } from './store-clock.ts'
export { type TestPlatform, testPlatform } from './test-platform.ts'
export { type VirtualClock, virtualClock } from './virtual-clock.ts'
