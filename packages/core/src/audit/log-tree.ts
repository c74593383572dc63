import { CoreError } from '../failure/core-error.ts'
import type { Sql, SqlDialect, SqlRow } from '../sql/sql-database.ts'
import { bytesOf, changes, execute, firstRow, integerOf, rows } from '../sql/statement.ts'
import { type LeafRange, subtreesOf } from './merkle-proof.ts'
import { type Subtree, TreeEdge } from './tree-edge.ts'

/**
 * Inner nodes are stored at every eighth level, one for 256 leaves in all, which costs a write next to nothing; a proof
 * reads at most 255 rows a stored level.
 */
export const STORED_LEVELS = 8

/** A tenant's head: its tree, and how much of it is signed. */
export interface LogHead {
  readonly edge: TreeEdge
  readonly signedSize: number
  readonly checkpoint: string | undefined
}

const HEAD = 'select size, edge, signed_size, checkpoint from audit_heads where tenant = ?'

/** A tenant's head as it is now; the empty one where there is none. Throws `STORE_DAMAGED`. */
export function* readHead(tenant: string): Sql<LogHead> {
  const row = yield* firstRow(HEAD, tenant)
  return row === undefined ? { edge: new TreeEdge(), signedSize: 0, checkpoint: undefined } : headOf(row)
}

/**
 * A tenant's head, its row locked. The row is made first where there is none: a lock on a row that does not exist holds
 * nobody up, and two first appends would fork the log. The select after the insert reads what the winner committed.
 * Throws `STORE_DAMAGED`.
 */
export function* lockHead(dialect: SqlDialect, tenant: string): Sql<LogHead> {
  const select = `${HEAD}${dialect.forUpdate}`
  const found = yield* firstRow(select, tenant)
  if (found !== undefined) return headOf(found)
  yield* execute(
    `insert into audit_heads(tenant, size, edge, signed_size) values (?, 0, ?, 0) on conflict do nothing`,
    tenant,
    new Uint8Array(0)
  )
  const made = yield* firstRow(select, tenant)
  if (made === undefined) throw damaged('an audit head vanished while it was made')
  return headOf(made)
}

/** Writes a head that is locked, after `leaves` were appended to it. */
export function* extendHead(tenant: string, edge: TreeEdge, leaves: readonly Uint8Array[]): Sql<void> {
  yield* storeFull(tenant, edge, leaves)
  const { size } = edge
  const written = yield* changes(
    'update audit_heads set size = ?, edge = ? where tenant = ?',
    size,
    edge.bytes(),
    tenant
  )
  if (written !== 1) throw damaged('an audit head vanished while it was extended')
}

/** Appends `leaves` to the edge; the nodes that became full are stored. */
export function* storeFull(tenant: string, edge: TreeEdge, leaves: readonly Uint8Array[]): Sql<void> {
  for (const leaf of leaves) {
    for (const node of edge.append(leaf)) if (isStored(node)) yield* storeNode(tenant, node)
  }
}

/** The hash of a range of leaves, from the stored nodes that it is made of. Throws `STORE_DAMAGED` where one is missing. */
export function* hashOfRange(tenant: string, range: LeafRange): Sql<Uint8Array> {
  const edge = new TreeEdge()
  for (const { level, index } of subtreesOf(range)) edge.append(yield* hashOfSubtree(tenant, level, index), level)
  return edge.root()
}

/** Whether a subtree is one of those that are stored; leaves stand in their entries. */
export function isStored({ level }: Pick<Subtree, 'level'>): boolean {
  return level > 0 && level % STORED_LEVELS === 0
}

function* hashOfSubtree(tenant: string, level: number, index: number): Sql<Uint8Array> {
  const storedLevel = level - (level % STORED_LEVELS)
  const width = 2 ** (level - storedLevel)
  const [begin, end] = [index * width, (index + 1) * width]
  const found =
    storedLevel === 0
      ? yield* rows(
          `select leaf_hash as hash from audit_entries
           where tenant = ? and leaf_index >= ? and leaf_index < ? order by leaf_index`,
          tenant,
          begin,
          end
        )
      : yield* rows(
          `select hash from audit_nodes
           where tenant = ? and level = ? and node_index >= ? and node_index < ? order by node_index`,
          tenant,
          storedLevel,
          begin,
          end
        )
  if (found.length !== width) {
    throw damaged(`${width - found.length} of ${width} hashes are missing at level ${storedLevel} of an audit tree`)
  }
  const edge = new TreeEdge()
  for (const row of found) edge.append(bytesOf(row, 'hash'))
  return edge.root()
}

function* storeNode(tenant: string, { level, index, hash }: Subtree): Sql<void> {
  yield* execute(
    // What stands in the place of a node that has only now become full is none of ours.
    `insert into audit_nodes(tenant, level, node_index, hash) values (?, ?, ?, ?)
     on conflict (tenant, level, node_index) do update set hash = excluded.hash`,
    tenant,
    level,
    index,
    hash
  )
}

/** The head in a row. Throws `STORE_DAMAGED`. */
export function headOf(row: SqlRow): LogHead {
  const edge = TreeEdge.from(integerOf(row, 'size'), bytesOf(row, 'edge'))
  if (edge === undefined) throw damaged('an audit head does not hold the edge of a tree of its size')
  const checkpoint = row['checkpoint']
  return {
    edge,
    signedSize: integerOf(row, 'signed_size'),
    checkpoint: typeof checkpoint === 'string' ? checkpoint : undefined
  }
}

/** The error of rows that are no tree. */
export function damaged(reason: string): CoreError<'STORE_DAMAGED'> {
  return new CoreError('STORE_DAMAGED', reason, { store: 'sql', reason })
}
