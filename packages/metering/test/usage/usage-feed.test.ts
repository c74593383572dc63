import { pgliteDatabase } from '@enablement/core/postgres'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { meteringSchema, sqlUsageFeed, sqlUsageStore } from '@enablement/metering/sql'
import { emptyPglite } from '@enablement/services/pglite'
import { describe, expect, it } from 'vitest'

const AT = Date.UTC(2026, 0, 15, 10)

const entry = (transactionId: string, more: object = {}) => ({
  tenant: 'org',
  subscription: 'sub',
  transactionId,
  metric: 'calls',
  quantity: 3,
  at: AT,
  propertiesJson: '{"region":"eu"}',
  payloadHash: 'h',
  receivedAt: AT + 5,
  lateness: 'on-time' as const,
  rollup: { rollup: 'sum' as const },
  ...more
})

describe.each([
  ['SQLite', async (): Promise<SqlDatabase> => sqliteDatabase({ path: ':memory:' })],
  ['PGlite', async (): Promise<SqlDatabase> => pgliteDatabase(await emptyPglite())]
])(
  'the feed of a ledger on %s',
  (_name, create) => {
    it('gives counted events in the order of recording, each once, and those released when they are released', async () => {
      await using db = await create()
      await migrate(db, [meteringSchema])
      const store = sqlUsageStore(db)
      const feed = sqlUsageFeed(db)
      expect(await feed.end()).toBe(0)
      expect(await feed.read({ after: 0, limit: 10 })).toEqual([])
      await store.record([entry('a', { source: 'host' }), entry('q', { setAside: 'quarantine' })])
      await store.record([entry('a'), entry('b')])
      const first = await feed.read({ after: 0, limit: 10 })
      expect(first.map(({ transactionId }) => transactionId)).toEqual(['a', 'b'])
      expect(first[0]).toEqual({
        position: first[0]?.position,
        tenant: 'org',
        subscription: 'sub',
        transactionId: 'a',
        source: 'host',
        metric: 'calls',
        quantity: 3,
        at: AT,
        receivedAt: AT + 5,
        properties: { region: 'eu' }
      })
      const last = first[1]?.position as number
      const released = {
        tenant: 'org',
        subscription: 'sub',
        transactionId: 'q',
        reason: 'quarantine',
        by: 'bo',
        decidedAt: AT + 9
      } as const
      expect(await store.decide({ ...released, as: 'counted', at: AT, lateness: 'on-time' })).toBe('decided')
      await store.record([entry('c')])
      const second = await feed.read({ after: last, limit: 10 })
      expect(second.map(({ transactionId }) => transactionId)).toEqual(['q', 'c'])
      expect(await feed.end()).toBe(second[1]?.position)
      expect(await feed.read({ after: 0, upTo: last, limit: 10 })).toEqual(first)
      expect((await feed.read({ after: 0, limit: 1 })).map(({ transactionId }) => transactionId)).toEqual(['a'])
    })
  },
  60_000
)
