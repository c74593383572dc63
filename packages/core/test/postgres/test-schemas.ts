import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { inject } from 'vitest'

export interface TestSchemas {
  /** A pool that sees nothing but a schema of its own, new and empty. */
  pool(config?: pg.PoolConfig): Promise<pg.Pool>
  /** Ends every pool and drops every schema. */
  drop(): Promise<void>
}

/** Empty places in the test server, which may be somebody's own: what was made is dropped. */
export function testSchemas(): TestSchemas {
  const connectionString = inject('postgresUrl')
  const admin = new pg.Pool({ connectionString, max: 1 })
  const pools: pg.Pool[] = []
  const names: string[] = []
  return {
    async pool(config = {}) {
      const name = `enablement_test_${randomUUID().replaceAll('-', '')}`
      await admin.query(`create schema ${name}`)
      const pool = new pg.Pool({ connectionString, options: `-c search_path=${name}`, max: 8, ...config })
      names.push(name)
      pools.push(pool)
      return pool
    },
    async drop() {
      await Promise.all(pools.map(async (pool) => pool.ended || (await pool.end())))
      for (const name of names) await admin.query(`drop schema ${name} cascade`)
      await admin.end()
    }
  }
}
