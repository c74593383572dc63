export type {
  ApprovalAsk,
  ApprovalGate,
  Execution,
  ExecutionGrant,
  Requester,
  Verdict
} from './approval/approval-gate.ts'
export { type Random, randomFrom, systemRandom } from './chance/random.ts'
export { createIdSource } from './chance/uuid-v7.ts'
export { CoreError, type CoreErrorTable, type Issue } from './failure/core-error.ts'
export { type OptionsSchema, parseOptions } from './failure/options.ts'
export { reporter } from './failure/reporter.ts'
export { type ErrorTable, isSuiteError, SuiteError } from './failure/suite-error.ts'
export { canonicalJson, isJson } from './json/canonical-json.ts'
export type { JsonObject, JsonValue } from './json/json.ts'
export { type Platform, systemPlatform } from './platform.ts'
export { type Backoff, backoffMs } from './resilience/backoff.ts'
export type { BreakerCause, BreakerEvent, BreakerOverride, BreakerState } from './resilience/breaker-event.ts'
export type { BreakerWindow, CircuitBreakerOptions, SampleLimits } from './resilience/breaker-options.ts'
export type { BreakerSnapshot } from './resilience/breaker-snapshot.ts'
export type { BucketRefusal } from './resilience/bucket-level.ts'
export { type Bulkhead, type BulkheadOptions, createBulkhead } from './resilience/bulkhead.ts'
export {
  type BreakerPermit,
  type BreakerRejection,
  type BreakerStats,
  type CircuitBreaker,
  createCircuitBreaker
} from './resilience/circuit-breaker.ts'
export {
  type CallVerdict,
  type Classification,
  classifyError,
  classifyValue,
  hadNoEffect
} from './resilience/classification.ts'
export { createPipeline } from './resilience/pipeline.ts'
export type { Call, CallOptions, Policy, Work } from './resilience/policy.ts'
export {
  type AttemptCall,
  createRetry,
  type Retry,
  type RetryEvent,
  type RetryOptions
} from './resilience/retry.ts'
export { parseRetryAfter } from './resilience/retry-after.ts'
export { createRetryBudget, type RetryBudget, type RetryBudgetOptions } from './resilience/retry-budget.ts'
export {
  createRollingWindow,
  type RollingWindow,
  type RollingWindowOptions,
  type WindowSlice,
  type WindowTotals
} from './resilience/rolling-window.ts'
export { createTimeout, type Timeout, type TimeoutOptions } from './resilience/timeout.ts'
export {
  type BucketReservation,
  createTokenBucket,
  type TokenBucket,
  type TokenBucketOptions
} from './resilience/token-bucket.ts'
export { type Clock, systemClock, type Timer } from './time/clock.ts'
export { type Deadline, deadlineAfter } from './time/deadline.ts'
export { days, hours, minutes, seconds } from './time/duration.ts'
export { sleep } from './time/sleep.ts'
export { createKeyedMutex, type KeyedMutex } from './turn/keyed-mutex.ts'
export { createSemaphore, type Semaphore } from './turn/semaphore.ts'
export { createSingleFlight, type SingleFlight } from './turn/single-flight.ts'
export { untilAborted } from './turn/until-aborted.ts'
export type { Usage, UsageSink } from './usage/usage-sink.ts'
