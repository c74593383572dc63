import { postgresDatabase } from '@enablement/core/postgres'
import type { SqlDatabase } from '@enablement/core/sql'
import { ownSchema } from '@enablement/services/own-schema'

/** A schema of its own on the shared server, and what works in it: a pool, and a connection string. `drop` removes both. */
export async function postgresSchema(
  connectionString: string
): Promise<{ readonly db: SqlDatabase; readonly place: string; drop(): Promise<void> }> {
  const own = ownSchema(connectionString, { max: 16 })
  await own.create()
  const db = postgresDatabase(own.pool)
  return {
    db,
    place: own.connectionString,
    async drop() {
      await db.close()
      await own.drop()
    }
  }
}
