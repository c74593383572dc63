export { type CreatePoolState, type PoolStateSubject, poolStateConformance } from './pool-state-conformance.ts'
export { redisPoolStateOnClock } from './redis-pool-state-on-clock.ts'
export {
  type CreateSandboxHost,
  type SandboxHostNeed,
  type SandboxHostSubject,
  sandboxHostConformance,
  sandboxHostSupports
} from './sandbox-host-conformance.ts'
