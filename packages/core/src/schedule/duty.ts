/** What one run of a duty found to do. */
export interface DutyRun {
  /** How many due items it handled. As long as there are any, it is run again at once. */
  readonly handled: number
}

/**
 * Work that falls due and that any worker may do: an escalation, an expiry, a delivery. The duty claims its items in
 * its own store, so several workers can run it at the same time.
 */
export interface Duty {
  /** Such as `oversight.escalation`; unique within a worker. */
  readonly name: string
  /** Handles what is due, a bounded number of items. Stops early, between items, when the signal aborts. */
  run(options: { readonly signal: AbortSignal }): Promise<DutyRun>
}
