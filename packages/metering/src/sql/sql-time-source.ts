import { firstRow, integerOf, type SqlDatabase, type SqlRow } from '@enablement/core/sql'
import type { TimeSource } from '../clock-skew/time-source.ts'

/** Of the database's clock: it counts whole milliseconds, and is kept by whoever keeps the server. */
const ERROR_MS = 100

/**
 * The database's clock as a time source: on Postgres another machine's, on SQLite this one's. `errorMs` is how far off it
 * may be, 100 ms unless given.
 */
export function sqlTimeSource(db: SqlDatabase, options: { readonly errorMs?: number } = {}): TimeSource {
  const { errorMs = ERROR_MS } = options
  return {
    name: 'database',
    async now({ signal }) {
      const epochMs = await db.run(
        function* () {
          const row = yield* firstRow(`select ${db.dialect.now} as now`)
          return integerOf(row as SqlRow, 'now')
        },
        { signal }
      )
      return { epochMs, errorMs }
    }
  }
}
