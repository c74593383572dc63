import { describe, expect, inject, it } from 'vitest'
import { race } from './race.ts'
import { postgresSchema } from './sql/postgres.ts'
import { channel, runDuties, stage, twoTiers } from './stage.ts'

describe('eight deciders and eight executors on Postgres', () => {
  it('come to one verdict and at most one execution each, all on record', async () => {
    const { db, drop } = await postgresSchema(inject('postgresUrl'))
    try {
      await race(db, 60)
    } finally {
      await drop()
    }
  })
})

describe('eight workers on Postgres', () => {
  it('ask each tier once, invite each person once, and end each request once', async () => {
    const { db, drop } = await postgresSchema(inject('postgresUrl'))
    try {
      const pager = channel()
      const desk = channel()
      const s = await stage(twoTiers, { disk: db, channels: { pager, desk } })
      await Promise.all(Array.from({ length: 60 }, (_, index) => s.open(`call-${index}`)))
      const workers = Array.from({ length: 8 }, () => s.another())
      for (const waitMs of [0, 2_000, 3_000]) {
        await s.platform.clock.advance(waitMs)
        await Promise.all(workers.map(runDuties))
      }
      expect(pager.delivered).toHaveLength(60)
      expect(desk.delivered).toHaveLength(60)
      expect(s.events.filter(({ type }) => type === 'tier.asked')).toHaveLength(120)
      expect(s.events.filter(({ type }) => type === 'request.denied')).toHaveLength(60)
      await s.story()
    } finally {
      await drop()
    }
  })
})
