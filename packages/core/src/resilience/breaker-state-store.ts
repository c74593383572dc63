/** A break that all processes keep. Times are spans by the store's clock, so that the processes' clocks do not matter. */
export interface SharedBreak {
  /** How long it has still to last; 0 when it is over and nobody has closed the breaker yet. */
  readonly breakLeftMs: number
  /** Breaks in a row. */
  readonly breaks: number
  /** How long the probe that somebody has claimed may still take; 0 when there is none. */
  readonly probeLeaseLeftMs: number
}

/**
 * Where processes that call the same callee agree on one breaker. Each counts its own calls; what they share is that it
 * is open, and who probes. A store that does not answer throws `STORE_UNAVAILABLE`, and each process goes on by itself:
 * a breaker must not depend on something that can fail as well.
 */
export interface BreakerStateStore {
  /** The break that stands; undefined when the breaker is closed. */
  read(name: string): Promise<SharedBreak | undefined>
  /**
   * Opens the breaker for `breakMs` from now, and ends a claim to probe. When a break stands, the one that ends later
   * stays, with the larger `breaks`. Safe to repeat. Gives what stands.
   */
  open(name: string, next: { readonly breakMs: number; readonly breaks: number }): Promise<SharedBreak>
  /**
   * Claims the probe after a break, for `leaseMs`. Of all owners exactly one gets it until it reports or its lease ends;
   * that owner gets it again. False during a break, and when the breaker is closed.
   */
  claimProbe(name: string, claim: { readonly owner: string; readonly leaseMs: number }): Promise<boolean>
  /** Closes the breaker if `owner` holds the probe; false, and nothing changes, if not. */
  close(name: string, owner: string): Promise<boolean>
}
