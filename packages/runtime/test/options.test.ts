import { inspect } from 'node:util'
import { createRuntime, mebibytes } from '@enablement/runtime'
import { quickjsHost } from '@enablement/runtime/quickjs'
import { describe, expect, it } from 'vitest'
import { runtimeKit, sealingKey, small } from './fakes/runtime-kit.ts'

const invalid = (path: string) => ({
  code: 'INVALID_OPTIONS',
  detail: { issues: expect.arrayContaining([expect.objectContaining({ path })]) }
})

const thrownBy = (work: () => unknown): unknown => {
  try {
    return work()
  } catch (error) {
    return error
  }
}

describe('the options of a runtime', () => {
  it.each([
    [{ sealingKey: new Uint8Array(31) }, 'sealingKey'],
    [{ host: undefined }, 'host'],
    [{ approvals: 'oversight' }, 'approvals'],
    [{ incidentTtlMs: 1 }, 'incidentTtlMs'],
    [{ hostFunctions: { 'not a name': () => 1 } }, 'hostFunctions.not a name'],
    [{ hostFunctions: { f: 1 } }, 'hostFunctions.f'],
    [{ observer: () => {} }, 'observer']
  ])('are refused with the path: %j', async (wrong, path) => {
    await using kit = runtimeKit()
    expect(thrownBy(() => createRuntime({ ...kit.options, ...(wrong as object) }))).toMatchObject(invalid(path))
  })

  it('show the sealing key neither in an error nor in inspect', async () => {
    await using kit = runtimeKit()
    const key = new Uint8Array(33).fill(0xab)
    try {
      createRuntime({ ...kit.options, sealingKey: key })
    } catch (error) {
      expect(`${inspect(error, { depth: 9 })}${JSON.stringify(error)}`).not.toMatch(/171|abab/)
    }
    expect(inspect(kit.runtime, { depth: 9, showHidden: true })).not.toContain(String(sealingKey[0]).repeat(2))
  })
})

describe('the options of a sandbox', () => {
  it.each([
    [{ tenant: '' }, 'tenant'],
    [{ agent: 'a\nb' }, 'agent'],
    [{ memoryLimitBytes: -1 }, 'memoryLimitBytes'],
    [{ memoryLimitBytes: 1.5e6 + 0.5 }, 'memoryLimitBytes'],
    [{ memoryLimitBytes: Number.NaN }, 'memoryLimitBytes'],
    [{ memoryLimitBytes: Number.POSITIVE_INFINITY }, 'memoryLimitBytes'],
    [{ memoryLimitBytes: 64 }, 'memoryLimitBytes'],
    [{ memoryLimitBytes: 2 ** 31 + 1 }, 'memoryLimitBytes'],
    [{ memoryLimit: 64 }, 'memoryLimit']
  ])('are refused with the path: %j', async (wrong, path) => {
    await using kit = runtimeKit()
    await expect(kit.runtime.open({ ...small, ...wrong })).rejects.toMatchObject(invalid(path))
  })

  it('must name a subscription when runs are reported', async () => {
    await using kit = runtimeKit({ usage: { accept: async () => {} } })
    await expect(kit.runtime.open(small)).rejects.toMatchObject(invalid('subscription'))
  })

  it.each([{ timeoutMs: 0 }, { timeoutMs: Number.NaN }, { timeoutMs: 1e12 }])(
    'refuse an evaluation with %j',
    async (wrong) => {
      await using kit = runtimeKit()
      const sandbox = await kit.runtime.open(small)
      await expect(sandbox.evaluate('1', wrong)).rejects.toMatchObject(invalid('timeoutMs'))
    }
  )

  it.each([-1, 0, 0.3, Number.NaN, Number.POSITIVE_INFINITY])('refuse %d mebibytes', (count) => {
    expect(() => mebibytes(count)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})

describe('a quickjs host', () => {
  it.each([
    [{ idleThreads: -1 }, 'idleThreads'],
    [{ sandboxesMax: 100_001 }, 'sandboxesMax'],
    [{ threadsMax: 501 }, 'threadsMax'],
    [{ idleThreads: 3, threadsMax: 2 }, 'idleThreads'],
    [{ parkedBytesMax: -1 }, 'parkedBytesMax'],
    [{ waitingMax: 10_001 }, 'waitingMax'],
    [{ wasm: 'x' }, 'wasm'],
    [{ memoryLimitBytes: 1 }, 'memoryLimitBytes']
  ])('refuses %j', (wrong, path) => {
    expect(thrownBy(() => quickjsHost(wrong as object))).toMatchObject(invalid(path))
  })

  it.each([
    ['no module', new Uint8Array([1, 2, 3])],
    ['an empty module', new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])],
    ['a module cut short', new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 5, 0xff])]
  ])('refuses %s as its engine', async (_what, wasm) => {
    await using kit = runtimeKit({ host: quickjsHost({ wasm }) })
    await expect(kit.runtime.open(small)).rejects.toMatchObject({ code: 'ENGINE_UNAVAILABLE' })
  })

  it('takes as many sandboxes as it was told, and another one when one has gone', async () => {
    await using kit = runtimeKit({ host: quickjsHost({ sandboxesMax: 1, idleThreads: 0 }) })
    const first = await kit.runtime.open(small)
    await expect(kit.runtime.open(small)).rejects.toMatchObject({ code: 'OVERLOADED', detail: { count: 1, limit: 1 } })
    await first.close()
    expect(await kit.runtime.open(small)).toMatchObject({ tenant: 'acme' })
  })

  it('opens nothing once it is closed', async () => {
    const kit = runtimeKit()
    await kit.runtime.close()
    await expect(kit.runtime.open(small)).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(kit.runtime.recover('x')).rejects.toMatchObject({ code: 'CLOSED' })
  })

  it('hands a waiting thread over, and starts the next one', async () => {
    await using kit = runtimeKit({ host: quickjsHost({ idleThreads: 2 }) })
    for (let n = 0; n < 3; n += 1) {
      const sandbox = await kit.runtime.open(small)
      expect(await sandbox.evaluate(`${n}`)).toEqual({ outcome: 'completed', value: n })
      await sandbox.close()
    }
  })
})
