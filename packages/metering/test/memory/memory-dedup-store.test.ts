import { conformanceTests, seededRandom, virtualClock } from '@enablement/core/testing'
import { memoryDedupStore } from '@enablement/metering/memory'
import { dedupStoreConformance } from '@enablement/metering/testing'
import { describe, expect, it } from 'vitest'

const DAY_MS = 86_400_000

const stage = (options: { readonly identitiesMax?: number } = {}) => {
  const clock = virtualClock({ now: Date.UTC(2040, 0) })
  const store = memoryDedupStore({ ttlMs: DAY_MS, platform: { clock, random: seededRandom(1) }, ...options })
  return { store, clock, tenant: 'org', [Symbol.asyncDispose]: async () => {} }
}

const claim = (transactionId: string) => ({
  tenant: 'org',
  subscription: 'sub',
  transactionId,
  payloadHash: 'a0'.repeat(32),
  receivedAt: 1_000
})

describe('the memory dedup store', () => {
  const create = async () => stage()
  for (const { name, run } of conformanceTests(dedupStoreConformance, { create, supports: {} })) it(name, run)

  it('takes no more than it may hold, of a call all or nothing, and goes on when something was forgotten', async () => {
    const { store, clock } = stage({ identitiesMax: 3 })
    await store.claim([claim('a'), claim('b')])
    await expect(store.claim([claim('c'), claim('d')])).rejects.toMatchObject({ code: 'OVERLOADED' })
    expect(await store.claim([claim('c'), claim('c'), claim('a')])).toMatchObject([
      { outcome: 'new' },
      { outcome: 'pending' },
      { outcome: 'pending' }
    ])
    clock.jumpWallTo(clock.now() + DAY_MS)
    expect(await store.claim([claim('d'), claim('e'), claim('f')])).toMatchObject([
      { outcome: 'new' },
      { outcome: 'new' },
      { outcome: 'new' }
    ])
  })

  it('forgets an identity after its time, counted from its claim', async () => {
    const { store, clock } = stage()
    const claimedAt = clock.now()
    await store.claim([claim('a')])
    clock.jumpWallTo(claimedAt + DAY_MS - 1)
    await store.settle([claim('a')])
    expect(await store.claim([claim('a')])).toMatchObject([{ outcome: 'duplicate' }])
    clock.jumpWallTo(claimedAt + DAY_MS)
    expect(await store.claim([claim('a')])).toEqual([{ outcome: 'new' }])
  })

  it.each([{ ttlMs: 0 }, { ttlMs: Number.NaN }, { identitiesMax: 0 }, { ttl: 1 }])('refuses %o', (wrong) => {
    expect(() => memoryDedupStore(wrong as object)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
