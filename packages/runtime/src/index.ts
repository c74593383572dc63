export type { CheckpointStore, CheckpointSummary, StoredCheckpoint } from './checkpoint/checkpoint-store.ts'
export type { Incident, IncidentState, IncidentStep, Refusal } from './incident/incident.ts'
export type { IncidentAdvance, IncidentOpening, IncidentStore } from './incident/incident-store.ts'
export type { RecoveryOutcome } from './incident/recovery.ts'
export {
  createMemoryMonitor,
  type MemoryLevel,
  type MemoryMonitor,
  type MemoryReading,
  type MemorySample,
  type MemoryThresholds,
  memoryThresholds
} from './monitor/memory-monitor.ts'
export type {
  ClaimEnd,
  ClaimOptions,
  ClaimOutcome,
  ClaimPriority,
  ClaimRefusal,
  PoolClaim
} from './pool/claim.ts'
export type { Freshness } from './pool/freshness.ts'
export { createWarmPool, type WarmPool } from './pool/pool.ts'
export type { ClaimRef, PoolEvent } from './pool/pool-event.ts'
export type { ClaimSource, PoolMetrics, Quantiles } from './pool/pool-metrics.ts'
export type { PoolRuntime, WarmPoolOptions } from './pool/pool-options.ts'
export type {
  ClaimDraft,
  HeldClaim,
  PoolCommand,
  PoolExchange,
  PoolRules,
  PoolStateStore,
  PoolStock,
  PoolTotals,
  PoolView,
  WaitingClaim
} from './pool/pool-state-store.ts'
export type {
  AssignOptions,
  PreparedImage,
  PreparedSandbox,
  PrepareImageOptions,
  PrepareOptions
} from './pool/prepared-sandbox.ts'
export type { RolloutOptions, RolloutStatus } from './pool/rollout.ts'
export { createRuntime, type Runtime } from './runtime.ts'
export { RuntimeError, type RuntimeErrorTable } from './runtime-error.ts'
export type { IncidentRef, RuntimeEvent, SandboxRef } from './runtime-event.ts'
export type { LimitQuestion, OpenOptions, RecoverOptions, RestoreOptions, RuntimeOptions } from './runtime-options.ts'
export { mebibytes } from './sandbox/memory-size.ts'
export type {
  CheckpointOptions,
  EvaluationOptions,
  EvaluationOutcome,
  HostFunction,
  HostFunctionCall,
  HostFunctions,
  Recovery,
  Sandbox
} from './sandbox/sandbox.ts'
export type {
  ConsoleLine,
  GuestError,
  GuestNotice,
  HostAnswer,
  HostCall,
  HostCapabilities,
  HostSandbox,
  MemoryUsage,
  RestoredSandbox,
  RunBounds,
  RunEnd,
  SandboxHooks,
  SandboxHost,
  SandboxSpec
} from './sandbox/sandbox-host.ts'
export type { TerminationReason, TerminationRecord } from './sandbox/termination.ts'
