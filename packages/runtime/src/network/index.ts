export type { CertificateEvent } from '../certificate/certificate-event.ts'
export {
  type CertificateJudge,
  type CertificateJudgeOptions,
  type ConnectCallback,
  type ConnectOptions,
  createCertificateJudge,
  type JudgedConnection
} from '../certificate/certificate-judge.ts'
export type {
  AcceptedChain,
  CertificateVerdict,
  CertificateWarning,
  ChainCertificate,
  ChainPlace,
  RejectionReason
} from '../certificate/verdict.ts'
export type { GuardedSandbox } from '../partition/guarded-sandboxes.ts'
export type {
  Attempt,
  AttemptEnd,
  BodyRoom,
  EffectPolicy,
  OutboundRequest,
  RefusalReason,
  Sendable,
  SendOutcome
} from '../partition/outbound-request.ts'
export type { PartitionCounts, PartitionEvent } from '../partition/partition-event.ts'
export {
  createPartitionGuard,
  type PartitionGuard,
  type PartitionStatistics
} from '../partition/partition-guard.ts'
export type { PartitionGuardOptions } from '../partition/partition-guard-options.ts'
export {
  createPartitionMonitor,
  type EgressEndpoint,
  type EgressProbe,
  type PartitionMonitor,
  type PartitionMonitorOptions,
  type PartitionReading
} from '../partition/partition-monitor.ts'
export {
  connectedStanding,
  type NetworkState,
  type NextRound,
  type PartitionRule,
  type PartitionStanding,
  partitionStep
} from '../partition/partition-state.ts'
export type { DohEndpoint } from '../resolver/doh-server.ts'
export type { Lookup, LookupAddress, LookupCallback, LookupOptions } from '../resolver/lookup.ts'
export type { FailureReason, Family, Tier } from '../resolver/name-server.ts'
export { createResolver, type Resolution, type ResolveOptions, type Resolver } from '../resolver/resolver.ts'
export type { ResolverEvent } from '../resolver/resolver-event.ts'
export type { ResolverOptions } from '../resolver/resolver-options.ts'
export type { EgressRequest, EgressTreatment } from './http-request.ts'
export { type AgentOptions, type NetworkDispatcherOptions, networkDispatcher } from './network-dispatcher.ts'
export { tcpProbe } from './tcp-probe.ts'
export type { DispatchController, DispatchHandler, DispatchOptions, UndiciDispatcher, UndiciModule } from './undici.ts'
