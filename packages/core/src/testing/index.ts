export {
  type ConformanceCase,
  type ConformanceExam,
  type ConformanceKit,
  type ConformanceOmission,
  type ConformanceTest,
  conformanceTests
} from './conformance.ts'
export { type CrashingDatabase, type CrashPoint, crashPoints, SimulatedCrash, unlessCrashed } from './crash-points.ts'
export { type CreateLockStore, type LockStoreSubject, lockStoreConformance } from './lock-store-conformance.ts'
export { redisLockStoreOnClock } from './redis-lock-store-on-clock.ts'
export { seededRandom } from './seeded-random.ts'
export type { CreateSqlDatabase } from './sql-database/case.ts'
export { sqlDatabaseConformance } from './sql-database/sql-database-conformance.ts'
export { withStoreClock } from './store-clock.ts'
export { type TestPlatform, testPlatform } from './test-platform.ts'
export { type VirtualClock, virtualClock } from './virtual-clock.ts'
