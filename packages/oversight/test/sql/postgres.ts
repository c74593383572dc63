import { postgresDatabase } from '@enablement/core/postgres'
import type { SqlDatabase } from '@enablement/core/sql'
import pg from 'pg'

let schemas = 0

/** A schema of its own on the shared server, with a pool that works in it. `drop` removes both. */
export async function postgresSchema(
  connectionString: string
): Promise<{ readonly db: SqlDatabase; drop(): Promise<void> }> {
  schemas += 1
  const schema = `oversight_${process.pid}_${schemas}`
  const pool = new pg.Pool({ connectionString, max: 16, options: `-c search_path=${schema}` })
  await pool.query(`create schema ${schema}`)
  const db = postgresDatabase(pool)
  return {
    db,
    async drop() {
      await db.close()
      await pool.query(`drop schema ${schema} cascade`)
      await pool.end()
    }
  }
}
