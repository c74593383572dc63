import { CoreError } from '../failure/core-error.ts'
import { type Checkpoint, readCheckpoint } from './checkpoint.ts'
import { sameHash } from './merkle-hash.ts'
import { verifyConsistency } from './merkle-proof.ts'

/** A checkpoint on its way to a sink, and the proof that it goes on from the one before. */
export interface CheckpointOffer {
  /** A signed note, https://c2sp.org/tlog-checkpoint. */
  readonly note: string
  /** The size of the checkpoint that the proof begins with: the sink's newest, 0 where it has none. */
  readonly fromSize: number
  /** That the offered tree begins with that one: RFC 9162 §2.1.4. Empty where there is nothing to prove. */
  readonly proof: readonly Uint8Array[]
}

/** What a sink made of an offer. Unless it was `kept`, nothing changed. */
export type CheckpointVerdict =
  /** Kept, now or before: an offer may come again. */
  | { readonly outcome: 'kept' }
  | { readonly outcome: 'refused'; readonly reason: CheckpointRefusal; readonly newestSize: number }

export type CheckpointRefusal =
  /** A larger tree of this log is kept already. */
  | 'smaller'
  /** The tree of this size that is kept is another one, or the offered tree does not begin with the newest. */
  | 'different'
  /** The proof begins with another size than that of the newest: ask for the newest and offer again. */
  | 'unproven'

/** What a sink can promise. */
export interface CheckpointSinkSupports {
  /** What a kept checkpoint survives. */
  readonly durable: 'power-loss' | 'process' | 'none'
}

/**
 * Where checkpoints go. A sink is worth what lies between it and whoever could rewrite the log: another database,
 * another account, a printer. It never keeps a smaller or a different tree of the same log, so that a log that was
 * rewritten or set back is found when the next checkpoint is due, and it forgets nothing.
 *
 * Offers come at least once. When both calls throw, nothing is known; the sealer asks again later.
 */
export interface CheckpointSink {
  readonly supports: CheckpointSinkSupports
  /** The newest note of the log, undefined where there is none. */
  newest(origin: string, options?: { readonly signal?: AbortSignal }): Promise<string | undefined>
  /**
   * Keeps a checkpoint: durable, as far as the manifest says, once resolved. Throws `INVALID_OPTIONS` for what is no
   * checkpoint.
   */
  keep(offer: CheckpointOffer, options?: { readonly signal?: AbortSignal }): Promise<CheckpointVerdict>
}

/** The checkpoint in an offer. Throws `INVALID_OPTIONS` when it has none. */
export function offeredCheckpoint(offer: CheckpointOffer): Checkpoint {
  const checkpoint = readCheckpoint(offer.note)
  if (checkpoint !== undefined && checkpoint.size > 0) return checkpoint
  const message = 'must be a signed note that holds a checkpoint of at least one leaf'
  throw new CoreError('INVALID_OPTIONS', `a checkpoint sink refused its offer: note: ${message}`, {
    subject: 'a checkpoint offer',
    issues: [{ path: 'note', message }]
  })
}

/**
 * How every sink decides: what it has, against what it is offered. `keep` is right when the offered one is new, and
 * `kept` when it is the newest already. Throws `INVALID_OPTIONS` for an offer that holds no checkpoint.
 */
export function judgeOffer(
  newest: Checkpoint | undefined,
  offer: CheckpointOffer
): CheckpointVerdict | { readonly outcome: 'keep' } {
  const { size, root } = offeredCheckpoint(offer)
  const { fromSize, proof } = offer
  if (newest === undefined) return fromSize === 0 ? { outcome: 'keep' } : refusal('unproven', 0)
  if (size < newest.size) return refusal('smaller', newest.size)
  if (size === newest.size) return sameHash(root, newest.root) ? { outcome: 'kept' } : refusal('different', newest.size)
  if (fromSize !== newest.size) return refusal('unproven', newest.size)
  const proved = verifyConsistency({ fromSize, fromRoot: newest.root, size, root }, proof)
  return proved ? { outcome: 'keep' } : refusal('different', newest.size)
}

function refusal(reason: CheckpointRefusal, newestSize: number): CheckpointVerdict {
  return { outcome: 'refused', reason, newestSize }
}
