import { quickjsHost } from '@enablement/runtime/quickjs'
import { afterAll, describe, expect, it } from 'vitest'
import { completed, quiet, specOf } from './quickjs-kit.ts'

describe('the processor time of a run', () => {
  const host = quickjsHost({ idleThreads: 0 })
  afterAll(() => host.close())

  it.each([
    ['one long job', 'for (;;);'],
    ['one that catches everything', 'for (;;) { try { for (;;); } catch {} finally { continue } }'],
    ['many short jobs', 'for (;;) await 0'],
    ['a job after an await', 'await 0; for (;;);'],
    ['a regex', "/^(a+)+$/.test('a'.repeat(60) + 'b')"]
  ])('is bounded, in %s, and the sandbox can be used on', async (_what, code) => {
    const sandbox = await host.create(specOf(`cpu ${_what}`), quiet)
    await sandbox.run('let kept = 1')
    expect(await sandbox.run(code, { cpuMs: 30 })).toEqual({ outcome: 'interrupted', on: 'cpu' })
    expect(await sandbox.run('kept')).toEqual(completed('1'))
    await sandbox.close()
  })

  it('does not pass while the guest waits', async () => {
    const answers: (() => void)[] = []
    const sandbox = await host.create(specOf('waiting'), {
      ...quiet,
      onCall: ({ callId }) => {
        answers.push(() => sandbox.answer(callId, { outcome: 'fulfilled', json: '1' }))
        setTimeout(() => answers[0]?.(), 150)
      }
    })
    expect(await sandbox.run('await host.echo()', { cpuMs: 100 })).toEqual(completed('1'))
  })
})

describe('the chance of a guest', () => {
  it('follows from its seed, unless it is the host’s own', async () => {
    await using host = quickjsHost({ idleThreads: 0 })
    const drawn = async (id: string, randomness?: 'seeded' | 'host') => {
      const sandbox = await host.create(specOf(id, randomness === undefined ? {} : { randomness }), quiet)
      return sandbox.run('[Math.random(), Math.random()]')
    }
    const seeded = await drawn('a')
    expect(await drawn('b', 'seeded')).toEqual(seeded)
    expect(await drawn('c', 'host')).not.toEqual(await drawn('d', 'host'))
  })
})

describe('listeners for notices', () => {
  it('are bounded, and none is called outside of a run', async () => {
    await using host = quickjsHost({ idleThreads: 0 })
    const sandbox = await host.create(specOf('s'), quiet)
    expect(
      await sandbox.run('let heard = 0; for (let n = 0; n < 17; n++) onNotice(() => { heard += 1; for (;;); })')
    ).toMatchObject({
      outcome: 'failed',
      error: { message: expect.stringContaining('16') }
    })
    expect(await sandbox.run('onNotice(1)')).toMatchObject({ outcome: 'failed', error: { name: 'TypeError' } })
    sandbox.tell({ type: 'degraded', reason: 'disk_full', capabilities: ['workspace-write'] })
    expect((await sandbox.capture()).length).toBeGreaterThan(0)
    // A listener that never ends is stopped with the run that it is called in.
    expect(await sandbox.run('await safepoint(); await safepoint()', { cpuMs: 30 })).toEqual({
      outcome: 'interrupted',
      on: 'cpu'
    })
    expect(await sandbox.run('heard')).toEqual(completed('1'))
  })

  it('hear notices although the guest has spoiled what a notice goes through', async () => {
    await using host = quickjsHost({ idleThreads: 0 })
    const sandbox = await host.create(specOf('s'), quiet)
    await sandbox.run(`let seen; onNotice((notice) => { seen = notice.reason })
      JSON.parse = Reflect.apply = Promise.prototype.then = () => { throw 1 }
      Object.defineProperty(Array.prototype, 0, { set() { throw 1 } }); Promise = undefined; 0`)
    sandbox.tell({ type: 'degraded', reason: 'disk_full', capabilities: [] })
    expect(await sandbox.run('await safepoint(); seen')).toEqual(completed('"disk_full"'))
  })
})
