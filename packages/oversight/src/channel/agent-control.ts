import type { Verdict } from '@enablement/core'
import type { AlertReason } from '../request/message.ts'
import type { RequestRecord } from '../request/request.ts'

/** Which agent a call is about. */
export interface AgentCall {
  /** The same for every attempt at this call. */
  readonly idempotencyKey: string
  readonly requestId: string
  readonly tenant: string
  readonly agent: string
  readonly task: string | undefined
}

/**
 * The host of agents: what ends their waiting. Called outside of any transaction, at least once for each verdict, and
 * again with pauses when it throws, for about an hour.
 */
export interface AgentControl {
  /** The agent's request has ended; one that was put to sleep or checkpointed is to go on with this. */
  resume(call: AgentCall & { readonly verdict: Verdict }, options: { readonly signal: AbortSignal }): Promise<void>
  /** Ends the agent's session, because its request ran out and its policy says so. Resolved: it has ended. */
  terminate(call: AgentCall, options: { readonly signal: AbortSignal }): Promise<void>
}

/** What those who run the place are told. */
export interface OpsAlert {
  /** The same for every attempt. */
  readonly id: string
  readonly reason: AlertReason
  readonly requestId: string
  readonly tenant: string
  readonly action: string
  readonly risk: RequestRecord['risk']
  readonly summary: string
}

/** Pages whoever runs the place. At least once; again with pauses when it throws. */
export type AlertOps = (alert: OpsAlert, options: { readonly signal: AbortSignal }) => Promise<void>

export const agentCall = (
  { id: requestId, tenant, requestedBy, task }: RequestRecord,
  idempotencyKey: string
): AgentCall => ({ idempotencyKey, requestId, tenant, agent: requestedBy.agent, task })
