import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { outboxSchema } from '@enablement/core/outbox'
import { execute, migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { testPlatform } from '@enablement/core/testing'
import { createOversight, defineAction } from '@enablement/oversight'
import { oversightSchema, sqlOversightStore } from '@enablement/oversight/sql'
import { describe, expect, it } from 'vitest'
import { ACTION, ask, channel, type Raise, raiseDetail, twoTiers } from '../stage.ts'

describe('a policy', () => {
  it('is there for every process, although the unit that first wrote it was rolled back', async () => {
    await using db = sqliteDatabase({ path: ':memory:' })
    await migrate(db, [auditSchema, outboxSchema, oversightSchema])
    const raise = defineAction<Raise>({ name: ACTION, detail: raiseDetail, policy: twoTiers })
    const platform = testPlatform()
    const process = () =>
      createOversight({
        store: sqlOversightStore(db, { audit: createAuditLog({ db }), backlogMax: 1, platform }),
        actions: [raise],
        channels: { pager: channel(), desk: channel() }
      })
    const [one, other] = [process(), process()]
    await db.run(() =>
      execute(`insert into outbox_messages (id, outbox, destination, payload_text, put_at, budget_from_at, state, in_line, next_due_at)
        values ('full', 'oversight', 'x', 'x', 0, 0, 'pending', 1, 0)`)
    )
    const both = ['1', '2'].map((idempotencyKey) => one.open(raise, { ...ask, idempotencyKey }))
    for (const { status } of await Promise.allSettled(both)) expect(status).toBe('rejected')
    await db.run(() => execute('delete from outbox_messages'))
    await platform.clock.advance(1_000)
    const { id } = await one.open(raise, ask)
    expect((await other.inspect(id)).status).toBe('pending')
  })
})
