import { describe, expect, inject, it } from 'vitest'
import { postgresSchema } from './sql/postgres.ts'
import { channel, runDuties, stage, twoTiers } from './stage.ts'

const requests = Math.ceil(20 * Math.min(inject('scale'), 3))

describe('eight workers on Postgres', () => {
  it('ask each tier once, invite each person once, and end each request once', async () => {
    const { db, drop } = await postgresSchema(inject('postgresUrl'))
    try {
      const pager = channel()
      const desk = channel()
      const s = await stage(twoTiers, { disk: db, channels: { pager, desk } })
      await Promise.all(Array.from({ length: requests }, (_, index) => s.open(`call-${index}`)))
      const workers = Array.from({ length: 8 }, () => s.another())
      for (const waitMs of [0, 2_000, 3_000]) {
        await s.platform.clock.advance(waitMs)
        await Promise.all(workers.map(runDuties))
      }
      expect(pager.delivered).toHaveLength(requests)
      expect(desk.delivered).toHaveLength(requests)
      expect(s.events.filter(({ type }) => type === 'tier.asked')).toHaveLength(requests)
      expect(s.events.filter(({ type }) => type === 'request.denied')).toHaveLength(requests)
      await s.story()
    } finally {
      await drop()
    }
  })
})
