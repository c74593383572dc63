import { conformanceTests } from '@enablement/core/testing'
import { mebibytes } from '@enablement/runtime'
import { quickjsHost } from '@enablement/runtime/quickjs'
import { sandboxHostConformance, sandboxHostSupports } from '@enablement/runtime/testing'
import { describe, expect, it } from 'vitest'

describe('a quickjs host', () => {
  const { tests, omitted } = conformanceTests(sandboxHostConformance, {
    create: async () => {
      const host = quickjsHost({ idleThreads: 1 })
      return { host, memoryLimitBytes: mebibytes(16), [Symbol.asyncDispose]: () => host.close() }
    },
    supports: sandboxHostSupports(quickjsHost().capabilities)
  })

  it.each([...tests])('$name', ({ run }) => run())

  it('is excused from files, from handing over, and from what a running guest cannot be given', () => {
    expect(new Set(omitted.flatMap(({ unmet }) => unmet))).toEqual(
      new Set(['cooperative-checkpoint', 'workspace', 'resize-live', 'read-only'])
    )
  })
})
