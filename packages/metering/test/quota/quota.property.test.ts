import { testPlatform } from '@enablement/core/testing'
import { createQuotas, type Limit, type MeteringEvent, type Quota, type Quotas } from '@enablement/metering'
import { memoryQuotaStore } from '@enablement/metering/memory'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject } from 'vitest'
import { type FaultyStore, faulty, settled } from './stage.ts'

const scale = inject('scale')

const QUANTITY = 200

const limitOf = (onPool: boolean): Limit => ({
  name: 'units',
  quantity: QUANTITY,
  period: { everyMs: 3_600_000 },
  ...(onPool
    ? { eachChild: { quantity: 150 } }
    : { share: 'reserved', children: { a: { quantity: 80 }, b: { quantity: 60 } } })
})

const PATHS = [[], ['a'], ['b']] as const

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('try' as const),
      amount: fc.integer({ min: 1, max: 6 }),
      times: fc.integer({ min: 1, max: 40 })
    })
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('consume' as const),
      amount: fc.integer({ min: 1, max: 9 }),
      key: fc.option(fc.nat(20))
    })
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('hold' as const),
      amount: fc.integer({ min: 1, max: 20 }),
      used: fc.nat(25)
    })
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(0, 1, 100, 2_000, 5_000, 11_000) })
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('fault' as const),
      fault: fc.constantFrom('down' as const, 'lost' as const, 'none' as const)
    })
  }
)

const action = fc.record({ process: fc.nat(1), path: fc.nat(PATHS.length - 1), step })

interface Process {
  quotas: Quotas
  store: FaultyStore
  bound: readonly Quota[]
}

describe('quotas of several processes over one store', () => {
  test.prop([fc.array(action, { minLength: 1, maxLength: 40 }), fc.boolean()], { numRuns: Math.ceil(60 * scale) })(
    'grant no more than the store sold, however calls, crashes, lost answers and refills interleave',
    async (actions, onPool) => {
      const platform = testPlatform()
      const shared = memoryQuotaStore({ platform })
      const limit = limitOf(onPool)
      /** Used beyond what the store had, and said so: a hold that used more than was left. */
      let overrun = 0
      const start = (): Process => {
        const store = faulty(shared)
        const observe = (event: MeteringEvent): void => {
          if (event.type === 'quota.unbooked') overrun += event.amount
        }
        const quotas = createQuotas({ store, limits: [limit], onStoreFailure: 'lease-only', platform, observe })
        return { quotas, store, bound: PATHS.map((path) => quotas.bind({ tenant: 'org', path, limit: 'units' })) }
      }
      const processes = [start(), start()]
      const granted = PATHS.map(() => 0)
      const keys = new Set<string>()
      for (const { process: at, path, step: what } of actions) {
        const process = processes[at] as Process
        const quota = process.bound[path] as Quota
        const grant = (amount: number): void => {
          granted[path] = (granted[path] as number) + amount
        }
        if (what.do === 'try') {
          for (let time = 0; time < what.times; time++)
            if (quota.tryConsume(what.amount) === 'consumed') grant(what.amount)
        } else if (what.do === 'consume') {
          const key = what.key === null ? undefined : `${at}-${path}-${what.key}`
          const outcome = await quota.consume(what.amount, key === undefined ? {} : { idempotencyKey: key })
          if (outcome.outcome === 'consumed' && !(key !== undefined && keys.has(key))) {
            grant(what.amount)
            if (key !== undefined) keys.add(key)
          }
        } else if (what.do === 'hold') {
          await quota.withHold(what.amount, { ttlMs: 60_000 }, async (hold) => {
            const end = await hold.commit(what.used)
            grant(what.used - (end.outcome === 'settled' ? end.overrun : 0))
          })
        } else if (what.do === 'pass') {
          await platform.clock.advance(what.ms)
        } else if (what.do === 'fault') {
          process.store.fault = what.fault
        } else {
          if (what.do === 'close') await process.quotas.close()
          else process.store.fault = 'down'
          processes[at] = start()
        }
      }
      for (const { store, quotas } of processes) {
        store.fault = 'none'
        await platform.clock.advance(70_000)
        await quotas.close()
      }
      await settled()
      const [org, a, b] = granted as [number, number, number]
      expect(org + a + b - overrun).toBeLessThanOrEqual(QUANTITY)
      const of = (name: 'a' | 'b'): number => limit.children?.[name]?.quantity ?? limit.eachChild?.quantity ?? QUANTITY
      expect(a - overrun).toBeLessThanOrEqual(of('a'))
      expect(b - overrun).toBeLessThanOrEqual(of('b'))
      if (!onPool) expect(org - overrun).toBeLessThanOrEqual(QUANTITY - 140)
    },
    600_000
  )
})
