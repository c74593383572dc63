import { postgresDatabase } from '@enablement/core/postgres'
import { migrate } from '@enablement/core/sql'
import { conformanceTests, virtualClock, withStoreClock } from '@enablement/core/testing'
import { emailSchema, sqlAddressHealth } from '@enablement/oversight/email'
import { addressHealthConformance, type CreateAddressHealth } from '@enablement/oversight/testing'
import { ownSchema } from '@enablement/services/own-schema'
import { test } from '@fast-check/vitest'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { expectLikeModel, histories } from './health-histories.ts'

describe('address health on Postgres', () => {
  const own = ownSchema(inject('postgresUrl'), { max: 9 })
  const server = postgresDatabase(own.pool)
  let subjects = 0
  beforeAll(async () => {
    await own.create()
    await migrate(server, [emailSchema])
  })
  afterAll(async () => {
    await server.close()
    await own.drop()
  })

  const create: CreateAddressHealth = async (rule) => {
    subjects += 1
    const clock = virtualClock()
    const health = sqlAddressHealth({ db: withStoreClock(server, clock), ...rule })
    // A pool gives each unit under way a connection of its own.
    return {
      health,
      clock,
      domain: `s${subjects}.example.com`,
      another: async () => health,
      [Symbol.asyncDispose]: async () => {}
    }
  }
  for (const { name, run } of conformanceTests(addressHealthConformance, { create, supports: {} })) it(name, run)

  test.prop([histories], { numRuns: Math.ceil(15 * inject('scale')) })(
    'answers as the model does',
    async (history) => {
      subjects += 1
      await expectLikeModel(history, {
        domain: `h${subjects}.example.com`,
        make: (clock, rule) => sqlAddressHealth({ db: withStoreClock(server, clock), ...rule })
      })
    },
    600_000
  )

  it('forgets what is over on the real clock', async () => {
    const health = sqlAddressHealth({ db: server })
    await health.record({ address: 'ana@sweep.example.com', messageId: 'm1' }, 'hard')
    const { signal } = new AbortController()
    // Those of the cases above are of 2026-01-01 at the latest by their own clock, and over.
    let handled = 1
    while (handled > 0) ({ handled } = await health.sweep.run({ signal }))
    expect(await health.standing('ana@sweep.example.com')).toEqual({ outcome: 'usable', hardBounces: 1 })
  })
})
