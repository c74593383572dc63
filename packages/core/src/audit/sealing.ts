import { isSuiteError } from '../failure/suite-error.ts'
import type { Sql, SqlDialect } from '../sql/sql-database.ts'
import { bytesOf, firstRow, integerOf, rows, textOf } from '../sql/statement.ts'
import { damaged, extendHead, lockHead } from './log-tree.ts'
import type { TreeEdge } from './tree-edge.ts'

/** What became of a tenant's unsealed entries. `damaged` numbered none of them. */
export type Sealing =
  | { readonly outcome: 'sealed'; readonly leaves: number }
  | { readonly outcome: 'damaged'; readonly error: unknown }

/**
 * Makes leaves of a tenant's oldest unsealed entries, `limit` of them, and extends its tree by them. Leaf indexes are
 * assigned here and not when an entry is written: on Postgres an entry with a lower position may be committed after one
 * with a higher. It is then not sealed yet, whatever has been sealed meanwhile, and becomes a later leaf.
 *
 * The hashes are those that the appends stored. Whether an entry still says what was hashed is for verification to
 * find: a sealer that stopped at a changed entry would leave all later ones unsealed as well.
 *
 * Throws `STORE_DAMAGED` when an entry vanished while it was numbered: the unit must not be committed.
 */
export function* sealTenant(dialect: SqlDialect, tenant: string, limit: number): Sql<Sealing> {
  const locked = yield* lockTree(dialect, tenant)
  if (locked.outcome === 'damaged') return locked
  const { edge } = locked
  const from = edge.size
  // One statement finds and numbers them, so that both go by one snapshot.
  const sealed = yield* rows(
    `update audit_entries set leaf_index = batch.leaf_index
     from (select position, cast(? as bigint) - 1 + row_number() over (order by position) as leaf_index
           from (select position from audit_entries
                 where tenant = ? and leaf_index is null order by position limit ?) as oldest) as batch
     where audit_entries.position = batch.position
     returning audit_entries.leaf_index, audit_entries.leaf_hash`,
    from,
    tenant,
    limit
  )
  if (sealed.length === 0) return { outcome: 'sealed', leaves: 0 }
  const leaves = sealed
    .map((row) => ({ leafIndex: integerOf(row, 'leaf_index'), hash: bytesOf(row, 'leaf_hash') }))
    .sort((one, other) => one.leafIndex - other.leafIndex)
  // On Postgres one that is deleted meanwhile has got a number, and is not among those that are updated.
  if (leaves.some(({ leafIndex }, at) => leafIndex !== from + at))
    throw damaged('an audit entry vanished while it was sealed')
  yield* extendHead(
    tenant,
    edge,
    leaves.map(({ hash }) => hash)
  )
  return { outcome: 'sealed', leaves: leaves.length }
}

/**
 * The tree of a tenant, its head locked. Damaged where the head holds none, or there are leaves beyond it: it was set back,
 * and theirs are the places that come next.
 */
function* lockTree(
  dialect: SqlDialect,
  tenant: string
): Sql<{ readonly outcome: 'locked'; readonly edge: TreeEdge } | Extract<Sealing, { readonly outcome: 'damaged' }>> {
  try {
    const { edge } = yield* lockHead(dialect, tenant)
    const beyond = yield* firstRow(
      'select leaf_index from audit_entries where tenant = ? and leaf_index >= ? limit 1',
      tenant,
      edge.size
    )
    if (beyond !== undefined) throw damaged(`an audit head of ${edge.size} leaves has entries beyond them`)
    return { outcome: 'locked', edge }
  } catch (error) {
    // Found by looking at the rows, not by a statement that failed: the unit is as good as before.
    if (isSuiteError(error, 'STORE_DAMAGED')) return { outcome: 'damaged', error }
    throw error
  }
}

/**
 * Tenants with unsealed entries after `after`, `limit` of them: one look into the index for each, however many entries
 * they have.
 */
export function* unsealedTenants(after: string, limit: number): Sql<readonly string[]> {
  const found = yield* rows(
    `with recursive waiting(tenant) as (
       select min(tenant) from audit_entries where leaf_index is null and tenant > ?
       union all
       select (select min(tenant) from audit_entries where leaf_index is null and tenant > waiting.tenant)
       from waiting where waiting.tenant is not null)
     select tenant from waiting where tenant is not null limit ?`,
    after,
    limit
  )
  return found.map((row) => textOf(row, 'tenant'))
}

/** Tenants whose trees have grown since they were signed, after `after`, `limit` of them. */
export function* unsignedTenants(after: string, limit: number): Sql<readonly string[]> {
  const found = yield* rows(
    'select tenant from audit_heads where size > signed_size and tenant > ? order by tenant limit ?',
    after,
    limit
  )
  return found.map((row) => textOf(row, 'tenant'))
}
