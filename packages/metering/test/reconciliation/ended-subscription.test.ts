import { createPlanChanges } from '@enablement/metering'
import { describe, expect, it } from 'vitest'
import { calendar, DAY, FEBRUARY, JANUARY, stage } from './stage.ts'

describe('a comparison of a period after the end of the subscription', () => {
  it('asks for no flat price, as its invoice of late usage does not', async () => {
    await using on = await stage()
    const sub = { tenant: 'org', subscription: 'sub' }
    const plans = createPlanChanges({
      store: on.invoices,
      profile: 'second',
      rounding: 'half-even',
      platform: on.platform
    })
    await plans.subscribe({ ...sub, plan: { name: 'basic', currency: 'EUR', minorUnits: 0, calendar } })
    await on.use('calls', 9, JANUARY.from)
    on.platform.clock.jumpWallTo(JANUARY.from + DAY)
    await plans.cancel({ ...sub, when: 'now' }, { idempotencyKey: 'end' })
    await on.final(JANUARY)
    expect((await on.compared()).metrics.map(({ metric }) => metric)).toEqual(['calls', 'seat'])
    await on.use('calls', 4, JANUARY.from, JANUARY.to + 3 * DAY)
    expect((await on.final(FEBRUARY)).lines.map(({ metric, kind }) => [kind, metric])).toEqual([
      ['adjustment', 'calls']
    ])
    expect(await on.compared(FEBRUARY.from)).toMatchObject({ verdict: 'agrees', minorUnits: 0n, metrics: [] })
    expect(await on.compared(JANUARY.from)).toMatchObject({ verdict: 'agrees' })
  })
})
