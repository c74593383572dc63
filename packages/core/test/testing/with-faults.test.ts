import { createFaultPlan, type FaultRule, type TestPlatform, testPlatform, withFaults } from '@enablement/core/testing'
import { beforeEach, describe, expect, it } from 'vitest'

/** A port whose methods need their own `this`. */
class Counter {
  #count = 0

  async add(by: number): Promise<number> {
    if (by < 0) throw new RangeError('negative')
    this.#count += by
    return this.#count
  }

  async close(): Promise<string> {
    return 'closed'
  }

  now(): number {
    return this.#count
  }
}

let counter: Counter
let platform: TestPlatform
beforeEach(() => {
  counter = new Counter()
  platform = testPlatform()
})

const faulty = (...faults: FaultRule[]): Counter =>
  withFaults(counter, createFaultPlan({ platform, faults }), { operations: ['add'] })

describe('a port with faults', () => {
  it('is the port when nothing strikes, and throws what it throws', async () => {
    const port = faulty()
    expect([await port.add(2), await port.add(3), port.now(), await port.close()]).toEqual([2, 5, 5, 'closed'])
    await expect(port.add(-1)).rejects.toThrow(RangeError)
  })

  it.each([
    [{ kind: 'error', code: 'EIO' }, 'EIO'],
    [{ kind: 'reset' }, 'ECONNRESET'],
    [{ kind: 'drop', lose: 'request' }, 'ECONNRESET'],
    [{ kind: 'partition' }, 'EHOSTUNREACH']
  ] as const)('fails before it does anything: %o', async (fault, code) => {
    await expect(faulty(fault).add(1)).rejects.toMatchObject({ code })
    expect(counter.now()).toBe(0)
  })

  it('fails after it has done it when the reply is lost', async () => {
    await expect(faulty({ kind: 'drop', lose: 'reply' }).add(1)).rejects.toMatchObject({ code: 'ECONNRESET' })
    expect(counter.now()).toBe(1)
  })

  it('fails after it has done it when a partition begins meanwhile', async () => {
    const plan = createFaultPlan({ platform })
    const slow = { add: async (by: number) => counter.add(by).finally(() => plan.add({ kind: 'partition' })) }
    await expect(withFaults(slow, plan).add(1)).rejects.toMatchObject({ code: 'EHOSTUNREACH' })
    expect(counter.now()).toBe(1)
  })

  it('does it later', async () => {
    const added = faulty({ kind: 'latency', latencyMs: 100 }).add(1)
    await platform.clock.advance(99)
    expect(counter.now()).toBe(0)
    await platform.clock.advance(1)
    expect(await added).toBe(1)
  })

  it('does it twice, and gives what the first came to', async () => {
    expect(await faulty({ kind: 'duplicate' }).add(1)).toBe(1)
    expect(counter.now()).toBe(2)
  })

  it('hangs, and does nothing', async () => {
    let settled = false
    void faulty({ kind: 'hang' })
      .add(1)
      .finally(() => {
        settled = true
      })
    await platform.clock.advance(86_400_000)
    expect([settled, counter.now()]).toEqual([false, 0])
  })

  it('throws what its owner says it throws', async () => {
    const plan = createFaultPlan({
      platform,
      faults: [
        { kind: 'reset', times: 1 },
        { kind: 'drop', lose: 'reply' }
      ]
    })
    const port = withFaults(counter, plan, {
      operations: ['add'],
      failure: ({ operation, effect, fault }) => new Error(`${operation} ${effect} ${fault.kind}`)
    })
    await expect(port.add(1)).rejects.toThrow('add none reset')
    await expect(port.add(1)).rejects.toThrow('add done drop')
  })

  it('strikes all methods but close unless told which', async () => {
    const plan = createFaultPlan({ platform, faults: [{ kind: 'reset' }] })
    const port = withFaults(counter, plan)
    await expect(port.add(1)).rejects.toMatchObject({ code: 'ECONNRESET' })
    expect(await port.close()).toBe('closed')
  })
})
