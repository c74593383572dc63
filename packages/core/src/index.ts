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
export { type ErrorTable, isSuiteError, SuiteError } from './failure/suite-error.ts'
export { canonicalJson, isJson } from './json/canonical-json.ts'
export type { JsonObject, JsonValue } from './json/json.ts'
export { type Platform, systemPlatform } from './platform.ts'
export { type Clock, systemClock, type Timer } from './time/clock.ts'
export { type Deadline, deadlineAfter } from './time/deadline.ts'
export { days, hours, minutes, seconds } from './time/duration.ts'
export { sleep } from './time/sleep.ts'
export { createKeyedMutex, type KeyedMutex } from './turn/keyed-mutex.ts'
export { createSemaphore, type Semaphore } from './turn/semaphore.ts'
export { createSingleFlight, type SingleFlight } from './turn/single-flight.ts'
export type { Usage, UsageSink } from './usage/usage-sink.ts'
