// The databases that ours runs on, as durable as those of the peers: SQLite syncs each commit, so does Postgres.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { postgresDatabase } from '@enablement/core/postgres'
import { sqliteDatabase } from '@enablement/core/sqlite'
import pg from 'pg'
import { startPostgres } from '../tooling/services/src/index.ts'

/** A file of its own. */
export function openSqlite() {
  const folder = mkdtempSync(join(tmpdir(), 'enablement-bench-'))
  const db = sqliteDatabase({ path: join(folder, 'ours.db') })
  return {
    db,
    async close() {
      await db.close()
      rmSync(folder, { recursive: true })
    }
  }
}

/** A server of its own. */
export async function openPostgres(connections) {
  const server = await startPostgres({ fsync: true })
  const pool = new pg.Pool({ connectionString: server.url, max: connections })
  return {
    db: postgresDatabase(pool),
    pool,
    url: server.url,
    /**
     * As autovacuum does within a minute wherever there are some rows; before it has, plans that were made when the tables
     * were empty read them whole.
     */
    tidy: () => pool.query('vacuum (analyze)'),
    async close() {
      await pool.end()
      await server.stop()
    }
  }
}
