/** Why a sandbox ended, for good. */
export type TerminationReason =
  /** It reached its memory limit. Running the same code under the same limit again would end the same way. */
  | 'out-of-memory'
  /** It did not stop within the grace after it was told to. */
  | 'unresponsive'
  /** The engine trapped or left its stack unbalanced: its memory cannot be trusted any more. */
  | 'trap'
  /** The thread under it ended by itself. */
  | 'host-lost'
  /** Another process recovered the same sandbox and owns it now, or ownership could not be proved in time. */
  | 'superseded'
  /** Its place was needed: it was saved whole first, by `preempt`. */
  | 'preempted'
  /** `close` was called while an evaluation was under way. */
  | 'closed'

/** The durable answer to "what happened to it". */
export interface TerminationRecord {
  readonly reason: TerminationReason
  /** Wall clock: epoch milliseconds. */
  readonly at: number
  readonly limitBytes: number
  /** The most the sandbox had allocated at any sample. */
  readonly peakBytes: number
  /** What was seen, in one line. */
  readonly evidence: string
  readonly checkpointId?: string
  /** Whether the same work under the same limit has a chance. Never for `out-of-memory`. */
  readonly retryable: boolean
}

/** The record of a sandbox that ended now. */
export function terminationRecord(
  reason: TerminationReason,
  facts: Pick<TerminationRecord, 'at' | 'limitBytes' | 'peakBytes' | 'evidence'> & { readonly checkpointId?: string }
): TerminationRecord {
  return { reason, ...facts, retryable: reason !== 'out-of-memory' && reason !== 'unresponsive' }
}
