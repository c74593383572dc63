import {
  bytesOf,
  changes,
  execute,
  firstRow,
  integerOf,
  rows,
  type SqlDatabase,
  type SqlRow,
  textOf
} from '@enablement/core/sql'
import type { CheckpointStore, StoredCheckpoint } from '../checkpoint/checkpoint-store.ts'

/** Checkpoints in a database that holds `runtimeSchema`. Throws what `SqlDatabase.run` throws. */
export function sqlCheckpointStore(db: SqlDatabase): CheckpointStore {
  return {
    async save({ id, tenant, sandboxId, createdAt, expiresAt, bytes }) {
      await db.run(() =>
        execute(
          `insert into runtime_checkpoints (id, tenant, sandbox_id, created_at, expires_at, sealed)
           values (?, ?, ?, ?, ?, ?) on conflict do nothing`,
          id,
          tenant,
          sandboxId,
          createdAt,
          expiresAt,
          bytes
        )
      )
    },
    async load(id) {
      const row = await db.run(() => firstRow('select * from runtime_checkpoints where id = ?', id))
      if (row === undefined) return undefined
      return {
        ...identityOf(row),
        // The driver's bytes may be a view of a buffer that it uses again.
        bytes: Uint8Array.from(bytesOf(row, 'sealed'))
      }
    },
    async remove(id) {
      await db.run(() => execute('delete from runtime_checkpoints where id = ?', id))
    },
    async list(tenant, { limit }) {
      const found = await db.run(() =>
        rows(
          `select id, tenant, sandbox_id, created_at, expires_at, length(sealed) as sealed_bytes
           from runtime_checkpoints where tenant = ? order by created_at, id limit ?`,
          tenant,
          limit
        )
      )
      return found.map((row) => ({ ...identityOf(row), sealedBytes: integerOf(row, 'sealed_bytes') }))
    },
    removeExpired: (now, limit) =>
      db.run(() =>
        changes(
          `delete from runtime_checkpoints where id in
             (select id from runtime_checkpoints where expires_at <= ? order by expires_at limit ?)`,
          now,
          limit
        )
      )
  }
}

const identityOf = (row: SqlRow): Omit<StoredCheckpoint, 'bytes'> => ({
  id: textOf(row, 'id'),
  tenant: textOf(row, 'tenant'),
  sandboxId: textOf(row, 'sandbox_id'),
  createdAt: integerOf(row, 'created_at'),
  expiresAt: integerOf(row, 'expires_at')
})
