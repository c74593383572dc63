import { conformanceTests, testPlatform } from '@enablement/core/testing'
import { memoryOversightStore } from '@enablement/oversight/memory'
import { oversightStoreConformance } from '@enablement/oversight/testing'
import { describe, it } from 'vitest'

describe('the memory store', () => {
  const create = async () => {
    const platform = testPlatform()
    const store = memoryOversightStore({ platform })
    return {
      store,
      advance: (durationMs: number) => platform.clock.advance(durationMs),
      evidence: async (tenant: string) => store.evidence(tenant),
      async [Symbol.asyncDispose]() {}
    }
  }
  for (const { name, run } of conformanceTests(oversightStoreConformance, { create, supports: {} })) it(name, run)
})
