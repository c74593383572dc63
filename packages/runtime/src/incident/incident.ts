/**
 * How far an incident has come. Each step is durable before the next is taken, so a process that dies between two of
 * them is followed by one that reads where to go on.
 *
 * `detected` the sandbox is stopped and nothing is saved yet · `checkpointed` it is saved, or cannot be · `asked` the
 * approval request is open · `raised` the larger limit is granted · `refused` it is not · `resumed` a process owns the
 * resumed sandbox · `closed` that sandbox was closed
 */
export type IncidentState = 'detected' | 'checkpointed' | 'asked' | 'raised' | 'refused' | 'resumed' | 'closed'

/** Why a larger limit was not granted. */
export type Refusal =
  | { readonly verdict: 'denied'; readonly by: string; readonly reason: string; readonly decidedAt: number }
  | { readonly verdict: 'timed-out' | 'cancelled'; readonly decidedAt: number }

/** A sandbox that ran out of memory, from that moment until it is resumed and closed, or refused. */
export interface Incident {
  readonly id: string
  readonly tenant: string
  readonly agent: string
  /** Who is charged for the sandbox. */
  readonly subscription?: string
  readonly sandboxId: string
  /** The incarnation that ran out; raised by one each time a process takes the resumed sandbox over. */
  readonly incarnation: number
  readonly state: IncidentState
  readonly detectedAt: number
  /** Until then the process that detected it is left to finish `detected`; store time. */
  readonly handledUntil: number
  /** What the sandbox ran under, and what is asked for. */
  readonly limitBytes: number
  readonly requestedLimitBytes: number
  readonly peakBytes: number
  /** `suspended`: the checkpoint holds the evaluation whole. `lost`: globals are as they were, the evaluation is over. */
  readonly evaluation: 'suspended' | 'lost'
  /** What was seen, in one line. */
  readonly evidence: string
  /** Absent when there is none: it failed or took too long. */
  readonly checkpointId?: string
  readonly approvalRequestId?: string
  /** The incident that the sandbox had been recovered from, and as which incarnation. */
  readonly supersedes?: { readonly incidentId: string; readonly incarnation: number }
  readonly raisedLimitBytes?: number
  /** The fence of the execution that raised the limit. */
  readonly raisedFence?: number
  readonly refusal?: Refusal
  /** While it is `resumed`: until then the owner is alive; store time. */
  readonly ownedUntil?: number
}

/** What moves an incident on. */
export type IncidentStep =
  | { readonly type: 'checkpointed'; readonly checkpointId?: string }
  | { readonly type: 'asked'; readonly approvalRequestId: string }
  | { readonly type: 'raised'; readonly limitBytes: number; readonly fence: number }
  | { readonly type: 'refused'; readonly refusal: Refusal }
  /** Takes the sandbox over: from `raised`, or from an owner whose lease has run out. */
  | { readonly type: 'claimed'; readonly leaseMs: number }
  | { readonly type: 'renewed'; readonly incarnation: number; readonly leaseMs: number }
  /** Gives a claim back, because the sandbox could not be restored. */
  | { readonly type: 'released'; readonly incarnation: number }
  | { readonly type: 'closed'; readonly incarnation: number }

/** States from which `recover` leads on. */
export const OPEN_STATES: readonly IncidentState[] = ['detected', 'checkpointed', 'asked', 'raised', 'resumed']

/** The incident after `step`, or undefined when it does not apply: someone else has gone further. `now` is store time. */
export function stepIncident(incident: Incident, step: IncidentStep, now: number): Incident | undefined {
  const { state, incarnation } = incident
  const owns = (claimed: number): boolean => state === 'resumed' && claimed === incarnation
  switch (step.type) {
    case 'checkpointed':
      if (state !== 'detected') return undefined
      return {
        ...incident,
        state: 'checkpointed',
        ...(step.checkpointId === undefined ? {} : { checkpointId: step.checkpointId })
      }
    case 'asked':
      if (state !== 'checkpointed') return undefined
      return { ...incident, state: 'asked', approvalRequestId: step.approvalRequestId }
    case 'raised':
      if (state !== 'asked') return undefined
      return { ...incident, state: 'raised', raisedLimitBytes: step.limitBytes, raisedFence: step.fence }
    case 'refused':
      if (state !== 'asked') return undefined
      return { ...incident, state: 'refused', refusal: step.refusal }
    case 'claimed': {
      const abandoned = state === 'resumed' && (incident.ownedUntil ?? 0) <= now
      if (state !== 'raised' && !abandoned) return undefined
      return { ...incident, state: 'resumed', incarnation: incarnation + 1, ownedUntil: now + step.leaseMs }
    }
    case 'renewed':
      return owns(step.incarnation) ? { ...incident, ownedUntil: now + step.leaseMs } : undefined
    case 'released':
      // The incarnation stays used: what the failed restore may have started is fenced off.
      return owns(step.incarnation) ? { ...incident, state: 'raised', ownedUntil: now } : undefined
    case 'closed':
      return owns(step.incarnation) ? { ...incident, state: 'closed', ownedUntil: now } : undefined
  }
}
