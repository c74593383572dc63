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
  /** Another process recovered the same sandbox and owns it now. */
  | 'superseded'

/** The durable answer to "what happened to it". */
export interface TerminationRecord {
  readonly reason: TerminationReason
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
