/** A sealed checkpoint as it is kept. The bytes say everything else about themselves. */
export interface StoredCheckpoint {
  readonly id: string
  readonly tenant: string
  readonly sandboxId: string
  readonly createdAt: number
  /** From this moment on it does not open any more and may be removed. */
  readonly expiresAt: number
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** A checkpoint that is kept, without its bytes. */
export interface CheckpointSummary extends Omit<StoredCheckpoint, 'bytes'> {
  readonly sealedBytes: number
}

/** Where sealed checkpoints are kept. */
export interface CheckpointStore {
  /** Resolved means durable. A second save under the same id changes nothing. */
  save(checkpoint: StoredCheckpoint): Promise<void>
  load(id: string): Promise<StoredCheckpoint | undefined>
  /** Harmless when it is gone. */
  remove(id: string): Promise<void>
  /** A tenant's, the oldest first, at most `limit` of them. */
  list(tenant: string, options: { readonly limit: number }): Promise<readonly CheckpointSummary[]>
  /** Removes what has expired at `now`, at most `limit` of them; gives how many. */
  removeExpired(now: number, limit: number): Promise<number>
}
