import { conformanceTests } from '@enablement/core/testing'
import { memoryMessageStore } from '@enablement/messaging/memory'
import { messageStoreConformance } from '@enablement/messaging/testing'
import { describe, expect, it } from 'vitest'

describe('the memory message store', () => {
  const create = async () => ({
    store: memoryMessageStore(),
    owner: 'alice#1',
    async [Symbol.asyncDispose]() {}
  })
  for (const { name, run } of conformanceTests(messageStoreConformance, { create, supports: {} })) it(name, run)

  it('says that nothing outlives the process', () => {
    expect(memoryMessageStore().supports).toEqual({ durable: 'none', sealedAtRest: false })
  })
})
