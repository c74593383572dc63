export type { CheckpointStore, StoredCheckpoint } from './checkpoint/checkpoint-store.ts'
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
export {
  createRuntime,
  type LimitQuestion,
  type OpenOptions,
  type RecoverOptions,
  type RestoreOptions,
  type Runtime,
  type RuntimeOptions
} from './runtime.ts'
export { RuntimeError, type RuntimeErrorTable } from './runtime-error.ts'
export type { IncidentRef, RuntimeEvent, SandboxRef } from './runtime-event.ts'
export { mebibytes } from './sandbox/memory-size.ts'
export type {
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
  HostAnswer,
  HostCall,
  HostCapabilities,
  HostSandbox,
  MemoryUsage,
  RestoredSandbox,
  RunEnd,
  SandboxHooks,
  SandboxHost,
  SandboxSpec
} from './sandbox/sandbox-host.ts'
export type { TerminationReason, TerminationRecord } from './sandbox/termination.ts'
