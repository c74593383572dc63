import type { Usage } from '@enablement/core'
import { testPlatform } from '@enablement/core/testing'
import type { RuntimeEvent, Sandbox } from '@enablement/runtime'
import { afterAll, describe, expect, it } from 'vitest'
import { runtimeKit, small, until } from '../fakes/runtime-kit.ts'

describe('an evaluation', () => {
  const shared = runtimeKit()
  const sandbox = shared.runtime.open(small)
  afterAll(() => shared.runtime.close())

  it.each([
    ['1 + 1', 2],
    ['"a" + "\\u0000b" + "ü𝒳"', 'a\u0000bü𝒳'],
    ['await 0; const x = await Promise.resolve(3); x * 2', 6],
    ['(async () => { await 0; return { list: [1, null, true] } })()', { list: [1, null, true] }],
    ['undefined', undefined],
    ['() => 1', undefined],
    ['', undefined],
    ['if (true) 5', 5]
  ])('of %j gives the value of the last expression, awaited', async (code, value) => {
    expect(await (await sandbox).evaluate(code)).toEqual({ outcome: 'completed', value })
  })

  it('keeps declarations for the next one', async () => {
    await using kit = runtimeKit()
    const sandbox = await kit.runtime.open(small)
    await sandbox.evaluate('let n = 1; const add = (m) => (n += m)')
    await sandbox.evaluate('await 0; let later = add(4)')
    expect(await sandbox.evaluate('later + n')).toEqual({ outcome: 'completed', value: 10 })
  })

  it("gives the guest's error with its name and message", async () => {
    await using kit = runtimeKit()
    const sandbox = await kit.runtime.open(small)
    const outcome = await sandbox.evaluate('await 0; throw new TypeError("no " + "x".repeat(5000))')
    expect(outcome).toMatchObject({ outcome: 'failed', error: { name: 'TypeError' } })
    expect(outcome.outcome === 'failed' && outcome.error.message).toHaveLength(2_000)
  })

  it('times out, and nothing of it runs later', async () => {
    await using kit = runtimeKit()
    const sandbox = await kit.runtime.open({ ...small, hostFunctions: { later: () => new Promise(() => {}) } })
    const code = 'globalThis.n = 0; await host.later(); n = 99'
    expect(await sandbox.evaluate(code, { timeoutMs: 20 })).toEqual({ outcome: 'timed-out', timeoutMs: 20 })
    expect(await sandbox.evaluate('await 0; await 0; n')).toEqual({ outcome: 'completed', value: 0 })
  })

  it('rejects with the reason of an aborted signal, and the sandbox can be used on', async () => {
    await using kit = runtimeKit()
    const sandbox = await kit.runtime.open(small)
    const abort = new AbortController()
    const running = sandbox.evaluate('for (;;);', { signal: abort.signal })
    const reason = new Error('changed my mind')
    abort.abort(reason)
    await expect(running).rejects.toBe(reason)
    expect(await sandbox.evaluate('7')).toEqual({ outcome: 'completed', value: 7 })
  })

  it('runs alone: a second one is refused, and changes nothing', async () => {
    await using kit = runtimeKit()
    const sandbox = await kit.runtime.open(small)
    const first = sandbox.evaluate('await 0; 1')
    await expect(sandbox.evaluate('globalThis.second = 1')).rejects.toMatchObject({ code: 'SANDBOX_BUSY' })
    expect(await first).toEqual({ outcome: 'completed', value: 1 })
    expect(await sandbox.evaluate('typeof second')).toEqual({ outcome: 'completed', value: 'undefined' })
  })

  it('is bounded in the time that it runs, waits not counted', async () => {
    await using kit = runtimeKit({
      hostFunctions: { wait: () => new Promise((resolve) => setTimeout(() => resolve(1), 120)) }
    })
    const sandbox = await kit.runtime.open(small)
    expect(await sandbox.evaluate('for (;;);', { cpuMs: 50 })).toEqual({ outcome: 'cpu-exhausted', cpuMs: 50 })
    expect(await sandbox.evaluate('await host.wait()', { cpuMs: 100 })).toEqual({ outcome: 'completed', value: 1 })
  })

  it('refuses code over 1 MiB before it reaches the guest', async () => {
    await using kit = runtimeKit()
    const sandbox = await kit.runtime.open(small)
    const error = { code: 'CODE_TOO_LARGE', detail: { bytes: 1_048_577, limitBytes: 1_048_576 } }
    await expect(sandbox.evaluate(' '.repeat(1_048_577))).rejects.toMatchObject(error)
  })

  it('comes back as terminated when the sandbox is closed under it', async () => {
    await using kit = runtimeKit()
    const sandbox = await kit.runtime.open(small)
    const running = sandbox.evaluate('for (;;);')
    await sandbox.close()
    expect(await running).toMatchObject({ outcome: 'terminated', record: { reason: 'closed', retryable: true } })
  })

  it("shows the injected wall clock, and chance from the platform's seed", async () => {
    const seen = async (seed: number): Promise<unknown> => {
      await using kit = runtimeKit({ platform: testPlatform({ now: 1_700_000_000_000, seed }) })
      const sandbox = await kit.runtime.open(small)
      return await sandbox.evaluate('[new Date().getUTCFullYear(), Math.floor(Date.now() / 6e4), Math.random()]')
    }
    const first = await seen(1)
    expect(first).toMatchObject({ value: [2023, Math.floor(1_700_000_000_000 / 6e4), expect.any(Number)] })
    expect(await seen(1)).toEqual(first)
    expect(await seen(2)).not.toEqual(first)
  })

  it('passes console lines on, cut and counted', async () => {
    await using kit = runtimeKit()
    const sandbox = await kit.runtime.open(small)
    await sandbox.evaluate(
      'console.warn("a", { b: 1 }, [2], undefined, Symbol("s")); for (let i = 0; i < 2000; i++) console.log("y".repeat(3000))'
    )
    const lines = kit.events.flatMap((event) => (event.type === 'console' ? [event.line] : []))
    expect(lines[0]).toEqual({ level: 'warn', text: 'a {"b":1} [2] undefined Symbol(s)' })
    expect(lines).toHaveLength(1_001)
    expect(lines[1]?.text).toHaveLength(2_000)
  })

  it('is metered once: a duration rounded up, under a transaction id of its own', async () => {
    const reported: Usage[] = []
    await using kit = runtimeKit({ usage: { accept: async (usage) => void reported.push(usage) } })
    const sandbox = await kit.runtime.open({ ...small, subscription: 'sub-1' })
    await sandbox.evaluate('1')
    await sandbox.evaluate('throw 1')
    expect(reported).toMatchObject([
      { tenant: 'acme', subscription: 'sub-1', metric: 'sandbox-milliseconds', transactionId: `${sandbox.id}:1:1` },
      { transactionId: `${sandbox.id}:1:2` }
    ])
    for (const { quantity } of reported) expect(Number.isInteger(quantity) && quantity >= 1).toBe(true)
  })

  it('hands its usage to the observer when the sink fails, and keeps its outcome', async () => {
    const down = new Error('down')
    await using kit = runtimeKit({ usage: { accept: () => Promise.reject(down) } })
    const sandbox = await kit.runtime.open({ ...small, subscription: 'sub-1' })
    expect(await sandbox.evaluate('1')).toEqual({ outcome: 'completed', value: 1 })
    expect(kit.events.find(({ type }) => type === 'usage.unreported')).toMatchObject({ error: down })
  })
})

describe('a host function', () => {
  const withHost = (
    hostFunctions: Record<string, (argument: never) => unknown>
  ): Promise<[Sandbox, RuntimeEvent[], () => Promise<void>]> => {
    const kit = runtimeKit({ hostFunctions: hostFunctions as never })
    return kit.runtime.open(small).then((sandbox) => [sandbox, kit.events, () => kit.runtime.close()])
  }

  it('takes and gives JSON, and its error reaches the guest as a message', async () => {
    const [sandbox, , close] = await withHost({
      add: async ({ a, b }: { a: number; b: number }) => ({ sum: a + b }),
      nothing: () => undefined,
      fail: () => {
        throw new Error('out of stock')
      }
    })
    const code = `[await host.add({ a: 1, b: 2 }), await host.nothing() === undefined, await host.fail().catch((e) => e.message)]`
    expect(await sandbox.evaluate(code)).toEqual({ outcome: 'completed', value: [{ sum: 3 }, true, 'out of stock'] })
    await close()
  })

  it('is told a key of its own for each call, and a signal that aborts when nobody waits any more', async () => {
    const calls: { readonly idempotencyKey: string; readonly signal: AbortSignal }[] = []
    await using kit = runtimeKit({
      hostFunctions: {
        wait: (_argument, call) => {
          calls.push(call)
          return new Promise(() => {})
        }
      }
    })
    const sandbox = await kit.runtime.open(small)
    await sandbox.evaluate('host.wait(); await host.wait()', { timeoutMs: 20 })
    expect(calls.map(({ idempotencyKey }) => idempotencyKey)).toEqual([`${sandbox.id}:1:1`, `${sandbox.id}:1:2`])
    expect(calls.map(({ signal }) => signal.aborted)).toEqual([true, true])
  })

  it('answers while the guest keeps itself busy with jobs', async () => {
    const [sandbox, , close] = await withHost({ now: async () => 1 })
    const code = 'let done = false; host.now().then(() => { done = true }); while (!done) await 0; done'
    expect(await sandbox.evaluate(code)).toEqual({ outcome: 'completed', value: true })
    await close()
  })
})

describe('a guest inside native operations', () => {
  it('is ended with its thread when it does not stop within the grace', async () => {
    const platform = testPlatform()
    await using kit = runtimeKit({ platform })
    const sandbox = await kit.runtime.open(small)
    // The engine polls once in 10,000 iterations, each of which fills 6 MB: seconds pass before it could stop.
    const code = 'const bytes = new Uint8Array(6e6); console.log("begins"); for (;;) bytes.fill(1)'
    const running = sandbox.evaluate(code, { timeoutMs: 1_000 })
    await until(() => kit.events.some(({ type }) => type === 'console'))
    await platform.clock.advance(6_000)
    expect(await running).toMatchObject({ outcome: 'terminated', record: { reason: 'unresponsive', retryable: false } })
    await expect(sandbox.evaluate('1')).rejects.toMatchObject({ code: 'SANDBOX_GONE' })
    expect(platform.clock.pendingTimers).toBe(0)
  })
})
