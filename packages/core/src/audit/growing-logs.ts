import { bytesToHex } from '@noble/hashes/utils.js'
import { jsonRows } from '../sql/json-rows.ts'
import type { Sql, SqlDialect, SqlRow } from '../sql/sql-database.ts'
import { changes, execute, rows, textOf } from '../sql/statement.ts'
import { damaged, extendHead, headOf, lockHead, storeFull } from './log-tree.ts'
import type { TreeEdge } from './tree-edge.ts'

/** A tenant's log, its head locked, and the leaves that are to become its next. */
interface GrowingLog {
  readonly edge: TreeEdge
  readonly leaves: Uint8Array[]
}

/** Extends several logs in one unit. */
interface GrowingLogs {
  /** Locks the heads, and makes those that are missing. Throws `STORE_DAMAGED`. */
  lock(tenants: ReadonlySet<string>): Sql<ReadonlyMap<string, GrowingLog>>
  /** Writes the heads with their leaves. */
  extend(logs: ReadonlyMap<string, GrowingLog>): Sql<void>
}

/** One log costs what it costs alone, and any number of them three statements more than one. */
export function growingLogs(dialect: SqlDialect): GrowingLogs {
  const tenantRows = jsonRows(dialect, { tenant: 'text' })
  const headRows = jsonRows(dialect, { tenant: 'text', size: 'integer', edge: 'text' })
  const listed = `(select given.tenant from ${tenantRows.select} as given)`
  // In one order everywhere, or two units would wait for each other.
  const lockText = `select tenant, size, edge, signed_size, checkpoint from audit_heads
    where tenant in ${listed} order by tenant${dialect.forUpdate}`
  const makeText = `insert into audit_heads(tenant, size, edge, signed_size)
    select given.tenant, 0, ${dialect.name === 'postgres' ? "''::bytea" : "x''"}, 0 from ${tenantRows.select} as given
    where true order by given.tenant on conflict do nothing`
  const edge = dialect.name === 'postgres' ? "decode(given.edge, 'hex')" : 'unhex(given.edge)'
  const extendText = `update audit_heads set size = given.size, edge = ${edge}
    from ${headRows.select} as given where audit_heads.tenant = given.tenant`

  const logOf = (row: SqlRow): readonly [string, GrowingLog] => [
    textOf(row, 'tenant'),
    { edge: headOf(row).edge, leaves: [] }
  ]

  return {
    *lock(tenants) {
      const [first] = tenants
      if (tenants.size === 1 && first !== undefined) {
        return new Map([[first, { edge: (yield* lockHead(dialect, first)).edge, leaves: [] }]])
      }
      const listOf = (all: Iterable<string>): string => tenantRows.parameter(Array.from(all, (tenant) => ({ tenant })))
      const logs = new Map((yield* rows(lockText, listOf(tenants))).map(logOf))
      const missing = [...tenants].filter((tenant) => !logs.has(tenant))
      if (missing.length === 0) return logs
      yield* execute(makeText, listOf(missing))
      // Reads what the winner committed where another unit made them first.
      for (const row of yield* rows(lockText, listOf(missing))) logs.set(...logOf(row))
      if (logs.size !== tenants.size) throw damaged('an audit head vanished while it was made')
      return logs
    },
    *extend(logs) {
      const [first] = logs
      if (logs.size === 1 && first !== undefined) return yield* extendHead(first[0], first[1].edge, first[1].leaves)
      for (const [tenant, log] of logs) yield* storeFull(tenant, log.edge, log.leaves)
      const heads = Array.from(logs, ([tenant, log]) => {
        return { tenant, size: log.edge.size, edge: bytesToHex(log.edge.bytes()) }
      })
      const written = yield* changes(extendText, headRows.parameter(heads))
      if (written !== logs.size) throw damaged('an audit head vanished while it was extended')
    }
  }
}
