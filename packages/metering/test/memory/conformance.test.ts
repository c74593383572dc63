import { conformanceTests, seededRandom, virtualClock } from '@enablement/core/testing'
import { memoryQuotaStore, memoryUsageStore } from '@enablement/metering/memory'
import { quotaStoreConformance, usageStoreConformance } from '@enablement/metering/testing'
import { describe, it } from 'vitest'

describe('the memory quota store', () => {
  const create = async () => {
    const clock = virtualClock()
    const store = memoryQuotaStore({ platform: { clock, random: seededRandom(1) } })
    return { store, clock, tenant: 'org', [Symbol.asyncDispose]: async () => {} }
  }
  for (const { name, run } of conformanceTests(quotaStoreConformance, { create, supports: {} })) it(name, run)
})

describe('the memory usage store', () => {
  const create = async () => ({ store: memoryUsageStore(), tenant: 'org', [Symbol.asyncDispose]: async () => {} })
  for (const { name, run } of conformanceTests(usageStoreConformance, { create, supports: {} })) it(name, run)
})
