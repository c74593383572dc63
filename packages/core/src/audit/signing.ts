import { CoreError } from '../failure/core-error.ts'
import { isSuiteError } from '../failure/suite-error.ts'
import type { Sql, SqlDatabase } from '../sql/sql-database.ts'
import { execute } from '../sql/statement.ts'
import { type Checkpoint, originOf, readCheckpoint, signCheckpoint } from './checkpoint.ts'
import type { CheckpointSigner } from './checkpoint-key.ts'
import type { CheckpointRefusal, CheckpointSink } from './checkpoint-sink.ts'
import { hashOfRange, readHead } from './log-tree.ts'
import { EMPTY_ROOT, sameHash } from './merkle-hash.ts'
import { consistencyRanges, verifyConsistency } from './merkle-proof.ts'

/** What became of a tenant's checkpoint. */
export type Signing =
  | { readonly outcome: 'signed' | 'nothing-new'; readonly size: number }
  | {
      readonly outcome: 'refused'
      readonly size: number
      readonly reason: CheckpointRefusal
      readonly newestSize: number
    }
  | {
      readonly outcome: 'damaged'
      readonly size: number
      readonly signedSize: number
      readonly damage: 'shorter' | 'rewritten' | 'unreadable'
    }

/** What signing needs. `guard` is part of every unit that writes: it throws when somebody else leads. */
export interface SigningParts {
  readonly db: SqlDatabase
  readonly signer: CheckpointSigner
  readonly sink: CheckpointSink
  readonly guard: () => Sql<void>
  readonly signal: AbortSignal
}

/**
 * Signs a tenant's tree as it is now and hands the checkpoint to the sink, then notes in the log that it is kept. Dying
 * in between does no harm: the same is offered again.
 *
 * The sink's newest checkpoint decides what may be signed, never the log's own note of it: a tree that does not begin
 * with what was signed last gets no signature, however the database came to hold it. Throws what database, signer and
 * sink throw.
 */
export async function signTree(parts: SigningParts, tenant: string): Promise<Signing> {
  const { db, signer, sink, guard, signal } = parts
  const origin = originOf(signer.name, tenant)
  const newestNote = await sink.newest(origin, { signal })
  const newest = newestNote === undefined ? undefined : newestOf(newestNote, origin)
  const grown = await db.run(() => readGrowth(tenant, newest?.size ?? 0), { signal })
  const { size } = grown
  const damage = damageSince(newest, grown)
  if (damage !== undefined) return { outcome: 'damaged', size, signedSize: newest?.size ?? 0, damage }
  if (size === 0) return { outcome: 'nothing-new', size }

  let note = newestNote
  if (note === undefined || newest?.size !== size) {
    signal.throwIfAborted()
    note = await signCheckpoint(signer, { origin, size, root: grown.root }, { signal })
    const offer = { note, fromSize: newest?.size ?? 0, proof: grown.proof ?? [] }
    const verdict = await sink.keep(offer, { signal })
    if (verdict.outcome === 'refused') return { ...verdict, size }
  }
  const kept = note
  await db.run(
    function* () {
      yield* guard()
      yield* execute(
        'update audit_heads set signed_size = ?, checkpoint = ? where tenant = ? and signed_size < ?',
        size,
        kept,
        tenant,
        size
      )
    },
    { signal }
  )
  return { outcome: 'signed', size }
}

/** A tree as it is, and the proof that it begins with one of `fromSize`: undefined when head or proof cannot be read. */
interface Growth {
  readonly size: number
  readonly root: Uint8Array
  readonly proof: readonly Uint8Array[] | undefined
}

function* readGrowth(tenant: string, fromSize: number): Sql<Growth> {
  let [size, root] = [0, EMPTY_ROOT]
  try {
    const { edge } = yield* readHead(tenant)
    ;[size, root] = [edge.size, edge.root()]
    const proof: Uint8Array[] = []
    if (fromSize >= size) return { size, root, proof }
    for (const range of consistencyRanges(fromSize, size)) proof.push(yield* hashOfRange(tenant, range))
    return { size, root, proof }
  } catch (error) {
    // Found by looking at the rows, not by a statement that failed: the unit is as good as before.
    if (isSuiteError(error, 'STORE_DAMAGED')) return { size, root, proof: undefined }
    throw error
  }
}

function damageSince(
  newest: Checkpoint | undefined,
  { size, root, proof }: Growth
): 'shorter' | 'rewritten' | 'unreadable' | undefined {
  if (proof === undefined) return 'unreadable'
  if (newest === undefined || newest.size === 0) return undefined
  if (size < newest.size) return 'shorter'
  if (size === newest.size) return sameHash(root, newest.root) ? undefined : 'rewritten'
  const claim = { fromSize: newest.size, fromRoot: newest.root, size, root }
  return verifyConsistency(claim, proof) ? undefined : 'rewritten'
}

function newestOf(note: string, origin: string): Checkpoint {
  const checkpoint = readCheckpoint(note)
  if (checkpoint?.origin === origin) return checkpoint
  const reason = 'the newest checkpoint that the sink has of a log is that of another, or none'
  throw new CoreError('STORE_DAMAGED', reason, { store: 'checkpoint sink', reason })
}
