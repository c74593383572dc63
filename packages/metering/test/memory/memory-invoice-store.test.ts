import { conformanceTests, seededRandom, virtualClock } from '@enablement/core/testing'
import { memoryInvoiceStore } from '@enablement/metering/memory'
import { invoiceStoreConformance } from '@enablement/metering/testing'
import { describe, it } from 'vitest'

describe('the memory invoice store', () => {
  const create = async () => {
    const clock = virtualClock()
    const store = memoryInvoiceStore({ platform: { clock, random: seededRandom(1) } })
    return { store, clock, tenant: 'org', [Symbol.asyncDispose]: async () => {} }
  }
  for (const { name, run } of conformanceTests(invoiceStoreConformance, { create, supports: {} })) it(name, run)
})
