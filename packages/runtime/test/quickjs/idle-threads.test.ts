import { quickjsHost } from '@enablement/runtime/quickjs'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { completed, quiet, specOf, threadCount } from './quickjs-kit.ts'

describe('a thread that is not needed any more', () => {
  afterEach(() => void vi.useRealTimers())

  it('is given to nobody while it ends', async () => {
    using threads = threadCount()
    await using host = quickjsHost({ idleThreads: 0 })
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    const one = await host.create(specOf('one'), quiet)
    await one.close()
    vi.advanceTimersByTime(60_000)
    vi.useRealTimers()
    const two = await host.create(specOf('two'), quiet)
    expect(await two.run('1')).toEqual(completed('1'))
    expect(threads.started).toBe(2)
  })
})
