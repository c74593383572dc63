/** What can go wrong on the way to a callee and back, in the words of toxiproxy and Polly. */
export type Fault =
  /** It takes longer: `latencyMs`, give or take up to `jitterMs`. Two that take different times overtake each other. */
  | { readonly kind: 'latency'; readonly latencyMs: number; readonly jitterMs?: number }
  /** The callee answers with an error of this code, such as `EIO`. */
  | { readonly kind: 'error'; readonly code: string }
  /** The connection is reset. */
  | { readonly kind: 'reset' }
  /** Nothing comes back, ever. */
  | { readonly kind: 'hang' }
  /** The request is lost, or the reply to one that took effect. */
  | { readonly kind: 'drop'; readonly lose: 'request' | 'reply' }
  /** The request arrives twice. */
  | { readonly kind: 'duplicate' }
  /** Bytes arrive a few at a time, `delayMs` apart. */
  | { readonly kind: 'slice'; readonly sliceMaxBytes: number; readonly delayMs?: number }
  /** Nothing gets through, either way, until it heals, and no other fault strikes meanwhile. */
  | { readonly kind: 'partition' }

export type FaultKind = Fault['kind']

/** A fault, and when it strikes: always, unless told otherwise. */
export type FaultRule = Fault & {
  /** Milliseconds since the plan was made, from which and until which (exclusive) it strikes. */
  readonly fromMs?: number
  readonly untilMs?: number
  /** The share of calls that it strikes, above 0 and up to 1; drawn from the plan's chance. */
  readonly ratio?: number
  /** How often it strikes at most. */
  readonly times?: number
  /**
   * Strikes only where one of these names stands: an operation of a port or a disk; a node, or `from->to`, in a
   * simulated network; `up` (to the server) or `down` in a proxy.
   */
  readonly only?: readonly string[]
}
