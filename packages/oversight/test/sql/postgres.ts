import { postgresDatabase } from '@enablement/core/postgres'
import type { SqlDatabase } from '@enablement/core/sql'
import pg from 'pg'

let schemas = 0

/** A schema of its own on the shared server, and what works in it: a pool, and a connection string. `drop` removes both. */
export async function postgresSchema(
  connectionString: string
): Promise<{ readonly db: SqlDatabase; readonly place: string; drop(): Promise<void> }> {
  schemas += 1
  const schema = `oversight_${process.pid}_${schemas}`
  const pool = new pg.Pool({ connectionString, max: 16, options: `-c search_path=${schema}` })
  await pool.query(`create schema ${schema}`)
  const db = postgresDatabase(pool)
  const place = new URL(connectionString)
  place.searchParams.set('options', `-c search_path=${schema}`)
  return {
    db,
    place: place.href,
    async drop() {
      await db.close()
      await pool.query(`drop schema ${schema} cascade`)
      await pool.end()
    }
  }
}
