import { reporter } from '@enablement/core'
import { describe, expect, it } from 'vitest'

describe('a reporter', () => {
  it('tells the observer', () => {
    const events: string[] = []
    reporter<string>((event) => events.push(event))('lock.lost')
    expect(events).toEqual(['lock.lost'])
  })

  it('needs no observer', () => {
    expect(() => reporter<string>(undefined)('lock.lost')).not.toThrow()
  })

  it('drops what the observer throws', () => {
    const report = reporter<string>(() => {
      throw new Error('the log is full')
    })
    expect(() => report('lock.lost')).not.toThrow()
  })

  it('drops what an asynchronous observer rejects with, which would end the process', async () => {
    const unhandled: unknown[] = []
    const listener = (error: unknown): number => unhandled.push(error)
    process.on('unhandledRejection', listener)
    const observe = (): unknown => Promise.reject(new Error('the log is full'))
    reporter<string>(observe)('lock.lost')
    // Node looks for unhandled rejections once the microtasks of a turn are done.
    await new Promise((resolve) => setImmediate(resolve))
    process.off('unhandledRejection', listener)
    expect(unhandled).toEqual([])
  })
})
