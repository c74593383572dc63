import { bytesToHex, hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import { z } from 'zod'
import type { Sql, SqlDatabase } from '../sql/sql-database.ts'
import { firstRow, optionalIntegerOf, textOf } from '../sql/statement.ts'
import { isCheckpointOf, readCheckpoint, tenantOf } from './checkpoint.ts'
import { parseVerifierKey } from './checkpoint-key.ts'
import { hashOfRange, readHead } from './log-tree.ts'
import { leafHashOf } from './merkle-hash.ts'
import { consistencyRanges, inclusionRanges, verifyInclusion } from './merkle-proof.ts'

/** All that somebody without the database needs to see that an entry is in the log. JSON carries it. */
export interface EntryProof {
  readonly tenant: string
  /** The entry's text: names, time, and the commitment to its detail. */
  readonly entry: string
  readonly leafIndex: number
  /** The proof in hex, from the leaf upwards: RFC 9162 §2.1.3. */
  readonly path: readonly string[]
  /** The signed checkpoint that the proof leads to. */
  readonly checkpoint: string
}

export type EntryProving =
  | { readonly outcome: 'proved'; readonly proof: EntryProof }
  /** No checkpoint covers the entry yet. */
  | { readonly outcome: 'unsigned' }
  | { readonly outcome: 'unknown' }

/**
 * Proves that an entry is in its tenant's log, up to the newest checkpoint that the log has. Throws `STORE_DAMAGED` where
 * parts of the tree are missing, and what the database throws.
 */
export async function proveEntry(
  db: SqlDatabase,
  entry: { readonly tenant: string; readonly id: string }
): Promise<EntryProving> {
  return db.run(() => prove(entry.tenant, entry.id))
}

function* prove(tenant: string, id: string): Sql<EntryProving> {
  const row = yield* firstRow('select leaf_index, entry from audit_entries where id = ? and tenant = ?', id, tenant)
  if (row === undefined) return { outcome: 'unknown' }
  const leafIndex = optionalIntegerOf(row, 'leaf_index')
  const { signedSize, checkpoint } = yield* readHead(tenant)
  if (leafIndex === undefined || leafIndex >= signedSize || checkpoint === undefined) return { outcome: 'unsigned' }
  const path: string[] = []
  for (const range of inclusionRanges(leafIndex, signedSize)) path.push(bytesToHex(yield* hashOfRange(tenant, range)))
  return { outcome: 'proved', proof: { tenant, entry: textOf(row, 'entry'), leafIndex, path, checkpoint } }
}

/** A path has a hash per level: 53 for the largest size that there is. */
const PATH_MAX = 53

const proofSchema: z.ZodType<EntryProof> = z.object({
  tenant: z.string(),
  // Others would be hashed as if they had another character.
  entry: z.string().refine((text) => text.isWellFormed()),
  leafIndex: z.int().min(0),
  path: z.array(z.string().regex(/^[0-9a-f]{64}$/)).max(PATH_MAX),
  checkpoint: z.string()
})

/**
 * Whether a proof shows that its entry is in the log of its tenant which the key signs. Anything that is no proof is
 * false. Throws `INVALID_OPTIONS` for a key that is none.
 */
export function verifyEntryProof(proof: EntryProof, verifierKey: string): boolean {
  const key = parseVerifierKey(verifierKey)
  const parsed = proofSchema.safeParse(proof)
  if (!parsed.success) return false
  const { tenant, entry, leafIndex, path, checkpoint: note } = parsed.data
  const checkpoint = readCheckpoint(note)
  if (checkpoint === undefined || tenantOf(checkpoint.origin) !== tenant || !isCheckpointOf(note, key)) return false
  const { size, root } = checkpoint
  return verifyInclusion({ leafIndex, leafHash: leafHashOf(utf8ToBytes(entry)), size, root }, path.map(hexToBytes))
}

/**
 * The proof that a tenant's log of `size` entries begins with the log of `fromSize`, for `verifyConsistency`: what a
 * witness wants between two checkpoints. Undefined when the log is shorter. Throws `STORE_DAMAGED` where parts of the
 * tree are missing, and what the database throws.
 */
export async function proveConsistency(
  db: SqlDatabase,
  sizes: { readonly tenant: string; readonly fromSize: number; readonly size: number }
): Promise<readonly Uint8Array[] | undefined> {
  const { tenant, fromSize, size } = sizes
  return db.run(function* () {
    const { edge } = yield* readHead(tenant)
    if (size > edge.size || fromSize > size) return undefined
    const proof: Uint8Array[] = []
    for (const range of consistencyRanges(fromSize, size)) proof.push(yield* hashOfRange(tenant, range))
    return proof
  })
}
