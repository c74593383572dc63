/** What one run of a duty found to do. */
export interface DutyRun {
  /** How many due items it handled. As long as there are any, it is run again at once. */
  readonly handled: number
  /**
   * How long until the next item falls due, if the duty knows: a worker looks again then, rather than at its next poll,
   * which it does not put off. Items put into the store meanwhile may be due before.
   */
  readonly nextDueInMs?: number | undefined
}

/** What a duty knows of its items. */
export interface DutyStatus {
  /** How long the item that has waited longest has been due; 0 when none waits. */
  readonly lagMs: number
  /** Items that failed too often and wait for an operator. */
  readonly setAside: number
}

/** What a run is given. */
export interface DutyRunOptions {
  /** Aborts when the worker closes: take nothing more on, and bring what is under way to its end. */
  readonly signal: AbortSignal
  /** Aborts when the time to bring things to an end is over: give up what is under way. Never before `signal`. */
  readonly cutoff?: AbortSignal
}

/**
 * Work that falls due and that any worker may do: an escalation, an expiry, a delivery. The duty claims its items in
 * its own store, so several workers can run it at the same time.
 */
export interface Duty {
  /** Such as `oversight.escalation`; unique within a worker. */
  readonly name: string
  /**
   * Handles what is due, no more at a time than it can begin at once: what it claims and leaves lying, no other worker
   * can do. Stops early, between items, when the signal aborts.
   */
  run(options: DutyRunOptions): Promise<DutyRun>
  /** There may be work now, a worker says while a run is under way: for duties whose runs go on looking. */
  wake?(): void
  /**
   * A worker begins to run the duty, and tells it how to be run at once: for duties that know in this process when there is
   * work, as after a commit. What it returns is called when the worker closes.
   */
  attach?(wake: () => void): () => void
  /** As it was when the duty last looked; undefined before. Asks nothing and nobody. */
  status?(): DutyStatus | undefined
}
