/** What one step did to a tenant's quotas, as the server that took it tells a ledger. */
export interface QuotaStep {
  /** Its number in the epoch: a later step has a higher one. 0 when it did nothing that a ledger must know. */
  readonly revision: number
  readonly counters: readonly SteppedCounter[]
  readonly spends: readonly SteppedSpend[]
  readonly holds: readonly SteppedHold[]
}

/** A counter as it stands after the step, and so after all steps before it. */
export interface SteppedCounter {
  readonly name: string
  /** What the step took from it; below 0 for what it gave back. */
  readonly units: number
  /** From when on it says nothing, epoch milliseconds; null while waiting does not do it. */
  readonly forgetAt: number | null
  /** In the server's own words. */
  readonly state: string
}

/** A spend under its idempotency key. */
export interface SteppedSpend {
  readonly memoryMs: number
  readonly token: string
  readonly expiresAt: number
  /** In the server's own words. */
  readonly value: string
}

/** A hold as it stands after the step. */
export interface SteppedHold {
  readonly name: string
  /** Epoch milliseconds; null while it is open. */
  readonly forgetAt: number | null
  /** When it expires, epoch milliseconds. */
  readonly expiresAt: number
  /** In the server's own words. */
  readonly text: string
}

/**
 * The proof of what was sold, where the counters themselves may be lost. Per tenant it has an epoch: only steps of that one
 * are taken, so whoever advances it shuts out a server that was given up, and everything that it still sells.
 */
export interface QuotaLedger {
  /** What an appended step survives. */
  readonly supports: { readonly durable: 'power-loss' | 'process' | 'none' }
  /** The tenant's epoch; 0 when it never had one. */
  epoch(tenant: string): Promise<number>
  /**
   * Takes a step, in one unit; the same step again changes nothing. `fenced`: the epoch is another by now. Nothing was
   * taken, and nothing of this step will be. Throws an error of the suite.
   */
  append(tenant: string, epoch: number, step: QuotaStep): Promise<'appended' | 'fenced'>
  /** Begins the next epoch after `from`; gives the one that is, and whether this call began it. */
  advance(tenant: string, from: number): Promise<{ readonly epoch: number; readonly began: boolean }>
  /**
   * What the ledger proves and what is not over yet, by name after `after`, at most `limit` of each kind. Of each counter
   * and hold what the latest step said.
   */
  counters(tenant: string, after: string, limit: number): Promise<readonly SteppedCounter[]>
  holds(tenant: string, after: string, limit: number): Promise<readonly SteppedHold[]>
  spends(tenant: string, after: string, limit: number): Promise<readonly SteppedSpend[]>
}
