import { conformanceTests, seededRandom, virtualClock } from '@enablement/core/testing'
import { memoryQuotaStore } from '@enablement/metering/memory'
import { quotaStoreConformance } from '@enablement/metering/testing'
import { describe, expect, it } from 'vitest'

const charge = (name: string) =>
  [{ limit: 'units', path: [name], quantity: 10, rule: { kind: 'every', everyMs: 1_000 }, reserved: [] }] as const

function small(entriesMax: number) {
  const clock = virtualClock()
  const store = memoryQuotaStore({ platform: { clock, random: seededRandom(1) }, entriesMax })
  const spend = (name: string, key?: string) =>
    store.consume('org', [{ scope: name, charges: charge(name), amounts: [1], keys: [key], idempotencyMs: 60_000 }])
  const hold = (name: string) =>
    store.hold('org', {
      scope: 'quota',
      key: name,
      charges: charge('shared'),
      amount: 1,
      amountMin: 1,
      ttlMs: 60_000,
      onExpiry: 'returned',
      keepMs: 60_000
    })
  return { clock, store, spend, hold }
}

describe('the memory quota store', () => {
  const create = async () => {
    const clock = virtualClock()
    const store = memoryQuotaStore({ platform: { clock, random: seededRandom(1) } })
    return { store, clock, tenant: 'org', [Symbol.asyncDispose]: async () => {} }
  }
  for (const { name, run } of conformanceTests(quotaStoreConformance, { create, supports: {} })) it(name, run)
})

describe('the bounds of the memory quota store', () => {
  it('refuse one counter too many, and change nothing', async () => {
    const { store, spend } = small(2)
    await spend('a')
    await spend('b', 'key')
    await expect(spend('c', 'another')).rejects.toMatchObject({ code: 'OVERLOADED', detail: { limit: 2 } })
    expect(await spend('a')).toMatchObject([[{ outcome: 'consumed', remaining: 8 }]])
    expect(await store.read('org', charge('c'))).toMatchObject([{ used: 0 }])
    expect(await spend('b', 'another')).toMatchObject([[{ outcome: 'consumed', replayed: false }]])
  })

  it('refuse one remembered spend too many, and spend nothing', async () => {
    const { spend, store } = small(2)
    await spend('a', '1')
    await spend('a', '2')
    await expect(spend('a', '3')).rejects.toMatchObject({ code: 'OVERLOADED' })
    expect(await store.read('org', charge('a'))).toMatchObject([{ used: 2 }])
    expect(await spend('a', '2')).toMatchObject([[{ replayed: true }]])
  })

  it('refuse one hold too many, and hold nothing', async () => {
    const { hold, store } = small(2)
    await hold('1')
    await hold('2')
    await expect(hold('3')).rejects.toMatchObject({ code: 'OVERLOADED' })
    expect(await store.read('org', charge('shared'))).toMatchObject([{ used: 2, held: 2 }])
  })

  it('make room as what was remembered and counted is over', async () => {
    const { clock, spend, hold } = small(3)
    for (let day = 0; day < 20; day++) {
      clock.jumpWallTo(Date.UTC(2040, 0, 1 + 2 * day))
      for (const name of ['a', 'b']) expect(await spend(`${name}-${day}`, name)).toMatchObject([[{ replayed: false }]])
      expect(await hold(`${day}`)).toMatchObject({ outcome: 'held' })
    }
  })

  it('are positive integers', () => {
    expect(() => memoryQuotaStore({ entriesMax: 0 })).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
