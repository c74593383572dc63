export type { EgressAttempt, EgressConnect, EgressLookup } from './egress/egress-proxy.ts'
export type { ProcessEvent } from './process-event.ts'
export { type EgressOptions, type ProcessHost, type ProcessHostOptions, processHost } from './process-host.ts'
export type { ReapReport } from './reap.ts'
