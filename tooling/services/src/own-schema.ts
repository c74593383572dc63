import process from 'node:process'
import pg from 'pg'

/** A schema of a test's own on a server that others use, so that one that lives longer is not littered. */
export interface OwnSchema {
  readonly name: string
  /** Sees nothing but the schema. */
  readonly pool: pg.Pool
  /** For other processes, which then see nothing else either. */
  readonly connectionString: string
  create(): Promise<void>
  /** Ends the pool, unless that was done before, and drops the schema with all that is in it. */
  drop(): Promise<void>
}

let schemas = 0

/** Names a schema on the server; `create` makes it. At most `max` connections, 8 unless given. */
export function ownSchema(server: string, { max = 8 }: { readonly max?: number } = {}): OwnSchema {
  schemas += 1
  const name = `enablement_${process.pid}_${process.hrtime.bigint()}_${schemas}`
  const options = `-c search_path=${name}`
  const place = new URL(server)
  place.searchParams.set('options', options)
  const pool = new pg.Pool({ connectionString: server, max, options })
  return {
    name,
    pool,
    connectionString: place.href,
    async create() {
      await pool.query(`create schema ${name}`)
    },
    async drop() {
      if (!pool.ended) await pool.end()
      const admin = new pg.Client({ connectionString: server })
      await admin.connect()
      try {
        await admin.query(`drop schema ${name} cascade`)
      } finally {
        await admin.end()
      }
    }
  }
}
