import { type PgPool, type PgPooledClient, type PgQuery, postgresDatabase } from '@enablement/core/postgres'
import { rows } from '@enablement/core/sql'
import { describe, expect, it } from 'vitest'

/** A pool whose server answers everything with nothing, and the names under which it was sent each text. */
function namingPool(): { pool: PgPool; names: Map<string, string | undefined> } {
  const names = new Map<string, string | undefined>()
  const client: PgPooledClient = {
    async query(query: string | PgQuery) {
      if (typeof query !== 'string') names.set(query.text, query.name)
      return { rows: [], rowCount: 0, command: 'SELECT' }
    },
    release() {}
  }
  return { pool: { connect: async () => client }, names }
}

describe('prepared statements', () => {
  it('stay prepared, however many texts come after them', async () => {
    const { pool, names } = namingPool()
    const db = postgresDatabase(pool)
    const texts = (count: number) => Array.from({ length: count }, (_, at) => `select ${at}`)
    await db.run(() => rows('select fixed'))
    const name = names.get('select fixed')
    expect(name).toMatch(/^enablement_[0-9a-f]{40}$/)
    await db.run(function* () {
      for (const text of texts(3_000)) yield* rows(text)
    })
    expect([...names.values()].filter((one) => one !== undefined)).toHaveLength(512)
    await db.run(() => rows('select fixed'))
    expect(names.get('select fixed')).toBe(name)
  })
})
