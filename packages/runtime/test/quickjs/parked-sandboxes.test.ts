import type { GuestNotice, HostCall, HostSandbox, RunEnd } from '@enablement/runtime'
import { quickjsHost } from '@enablement/runtime/quickjs'
import { describe, expect, inject, it } from 'vitest'
import { completed, quiet, specOf, threadCount } from './quickjs-kit.ts'

const scale = inject('scale')

const degraded: GuestNotice = { type: 'degraded', reason: 'network_partition', capabilities: ['egress'] }

/** Takes the one thread that there is, so that the sandbox that has it is parked. */
async function nudge(other: HostSandbox): Promise<void> {
  expect(await other.run('0')).toEqual(completed('0'))
}

describe('sandboxes beyond the threads', () => {
  it('are parked while they run nothing, and come back with all they had', async () => {
    using threads = threadCount()
    await using host = quickjsHost({ idleThreads: 0, threadsMax: 2 })
    const count = Math.ceil(20 * Math.sqrt(scale))
    const sandboxes: HostSandbox[] = []
    for (let n = 0; n < count; n += 1) {
      const sandbox = await host.create(specOf(`s${n}`), quiet)
      await sandbox.run(`let mine = ${n}; const add = (m) => (mine += m)`)
      sandboxes.push(sandbox)
    }
    for (let round = 1; round <= 2; round += 1) {
      const ends = await Promise.all(sandboxes.map((sandbox) => sandbox.run('add(1)')))
      expect(ends).toEqual(sandboxes.map((_, n) => completed(String(n + round))))
    }
    expect(sandboxes.every((sandbox) => sandbox.isAlive())).toBe(true)
    expect(threads.started).toBe(2)
  })

  it('go on drawing where they stood, as if they had never been parked', async () => {
    const draws = async (threadsMax: number): Promise<RunEnd[]> => {
      await using host = quickjsHost({ idleThreads: 0, threadsMax })
      const sandbox = await host.create(specOf('s'), quiet)
      const other = await host.create(specOf('o'), quiet)
      const ends: RunEnd[] = []
      for (let n = 0; n < 3; n += 1) {
        ends.push(await sandbox.run('[Math.random(), Math.random()]'))
        await nudge(other)
      }
      return ends
    }
    const apart = await draws(2)
    expect(await draws(1)).toEqual(apart)
    expect(new Set(apart.map((end) => JSON.stringify(end))).size).toBe(3)
  })

  it('keep their notices, their limits and their readings', async () => {
    await using host = quickjsHost({ idleThreads: 0, threadsMax: 1 })
    const sandbox = await host.create(specOf('s'), quiet)
    await sandbox.run(
      'globalThis.seen = 0; onNotice(() => { seen += 1 }); globalThis.held = new Uint8Array(2_000_000); 0'
    )
    const before = sandbox.usage()
    sandbox.tell(degraded)
    const other = await host.create(specOf('o'), quiet)
    sandbox.tell(degraded)
    const parked = sandbox.usage()
    expect(parked.residentBytes).toBeLessThan(before.residentBytes / 4)
    expect(parked).toMatchObject({ usedBytes: expect.any(Number), peakBytes: before.peakBytes })
    expect(parked.usedBytes).toBeGreaterThan(2_000_000)
    expect(parked.ticks).toBeGreaterThanOrEqual(before.ticks)
    expect(await sandbox.run('await safepoint(); seen')).toEqual(completed('2'))
    expect(sandbox.usage().ticks).toBeGreaterThan(parked.ticks)
    const bomb = 'for (;;) { held = new Uint8Array(held.length * 2) }'
    expect(await sandbox.run(bomb)).toEqual({ outcome: 'exhausted' })
    await nudge(other)
  })

  it('are captured as they are, and the image belongs to whoever asked', async () => {
    await using host = quickjsHost({ idleThreads: 0, threadsMax: 1 })
    const sandbox = await host.create(specOf('s'), quiet)
    await sandbox.run('let n = 7')
    const seated = await sandbox.capture()
    const other = await host.create(specOf('o'), quiet)
    const parked = await sandbox.capture()
    expect(Buffer.from(parked).equals(seated)).toBe(true)
    parked.fill(0)
    expect(await sandbox.run('n')).toEqual(completed('7'))
    await nudge(other)
  })

  it('number their host calls on, under their own keys', async () => {
    await using host = quickjsHost({ idleThreads: 0, threadsMax: 1 })
    const calls: HostCall[] = []
    const hooks = {
      ...quiet,
      onCall(call: HostCall) {
        calls.push(call)
        sandbox.answer(call.callId, { outcome: 'fulfilled', json: '1' })
      }
    }
    const sandbox = await host.create(specOf('s'), hooks)
    await sandbox.run('host.echo()')
    await nudge(await host.create(specOf('o'), quiet))
    await sandbox.run('host.echo()')
    expect(calls.map(({ idempotencyKey }) => idempotencyKey)).toEqual(['s:1:1', 's:1:2'])
  })

  it('are refused, with the number, when their images take more room than there is', async () => {
    await using host = quickjsHost({ idleThreads: 0, threadsMax: 1, parkedBytesMax: 1_000 })
    const sandbox = await host.create(specOf('s'), quiet)
    await sandbox.run('let n = 7')
    await expect(host.create(specOf('o'), quiet)).rejects.toMatchObject({
      code: 'OVERLOADED',
      detail: { limit: 1_000 }
    })
    expect(await sandbox.run('n')).toEqual(completed('7'))
  })

  it('are gone at once when they are closed or killed while parked', async () => {
    await using host = quickjsHost({ idleThreads: 0, threadsMax: 1 })
    const one = await host.create(specOf('one'), quiet)
    const two = await host.create(specOf('two'), quiet)
    await host.create(specOf('three'), quiet)
    await Promise.all([one.close(), two.kill()])
    expect([one.isAlive(), two.isAlive()]).toEqual([false, false])
    expect(await one.run('1')).toMatchObject({ outcome: 'gone' })
  })
})

describe('more runs than threads', () => {
  const loop = 'await host.echo()'

  const crowd = async (host: ReturnType<typeof quickjsHost>, count: number) => {
    const calls = new Map<number, HostCall>()
    let heard = (): void => undefined
    const sandboxes: HostSandbox[] = []
    for (let n = 0; n < count; n += 1) {
      const onCall = (call: HostCall): void => {
        calls.set(n, call)
        heard()
      }
      sandboxes.push(await host.create(specOf(`s${n}`), { ...quiet, onCall }))
    }
    return {
      sandboxes,
      async running(n: number): Promise<HostCall> {
        for (;;) {
          const call = calls.get(n)
          if (call !== undefined) return call
          await new Promise<void>((resolve) => {
            heard = resolve
          })
        }
      },
      began: (n: number) => calls.has(n)
    }
  }

  it('wait in line, the first first', async () => {
    await using host = quickjsHost({ idleThreads: 0, threadsMax: 1 })
    const { sandboxes, running, began } = await crowd(host, 3)
    // The last one opened has the thread.
    const order = [2, 0, 1]
    const ends = order.map((n) => sandboxes[n]?.run(loop))
    for (const [place, n] of order.entries()) {
      const { callId } = await running(n)
      expect(order.filter(began)).toEqual(order.slice(0, place + 1))
      sandboxes[n]?.answer(callId, { outcome: 'fulfilled', json: String(n) })
      expect(await ends[place]).toEqual(completed(String(n)))
    }
  })

  it('go to its end, also those of a sandbox that has a thread and runs again and again', async () => {
    await using host = quickjsHost({ idleThreads: 0, threadsMax: 1 })
    const { sandboxes } = await crowd(host, 2)
    const [one, two] = sandboxes as [HostSandbox, HostSandbox]
    let over = false
    const other = one.run('1').then((end) => {
      over = true
      return end
    })
    let runs = 0
    for (; !over && runs < 1_000; runs += 1) await two.run('2')
    expect(await other).toEqual(completed('1'))
    expect(runs).toBeLessThan(10)
  })

  it('are refused when the line is full, and nothing of them was run', async () => {
    await using host = quickjsHost({ idleThreads: 0, threadsMax: 1, waitingMax: 1 })
    const { sandboxes, running } = await crowd(host, 3)
    const [one, two, three] = sandboxes as [HostSandbox, HostSandbox, HostSandbox]
    const first = one.run(loop)
    const { callId } = await running(0)
    const second = two.run('1')
    await expect(three.run('globalThis.ran = 1')).rejects.toMatchObject({ code: 'OVERLOADED', detail: { limit: 1 } })
    one.answer(callId, { outcome: 'fulfilled', json: undefined })
    expect([await first, await second]).toEqual([completed(undefined), completed('1')])
    expect(await three.run('typeof ran')).toEqual(completed('"undefined"'))
  })

  it('leave the line when they are interrupted or killed, and hold up nobody', async () => {
    await using host = quickjsHost({ idleThreads: 0, threadsMax: 1 })
    const { sandboxes, running } = await crowd(host, 4)
    const [one, two, three, four] = sandboxes as [HostSandbox, HostSandbox, HostSandbox, HostSandbox]
    const first = one.run(loop)
    const { callId } = await running(0)
    const [second, third, fourth] = [two.run('2'), three.run('3'), four.run('4')]
    two.interrupt()
    expect(await second).toEqual({ outcome: 'interrupted' })
    await three.kill()
    expect(await third).toMatchObject({ outcome: 'gone' })
    one.answer(callId, { outcome: 'fulfilled', json: undefined })
    await first
    expect(await fourth).toEqual(completed('4'))
    expect(await two.run('22')).toEqual(completed('22'))
  })

  it('are told that the host was closed', async () => {
    const host = quickjsHost({ idleThreads: 0, threadsMax: 1 })
    const { sandboxes, running } = await crowd(host, 2)
    const first = sandboxes[0]?.run(loop)
    await running(0)
    const second = sandboxes[1]?.run('1')
    await host.close()
    expect([await first, await second]).toMatchObject([{ outcome: 'gone' }, { outcome: 'gone' }])
  })
})
