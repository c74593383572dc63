import { RuntimeError, type RuntimeEvent, type Sandbox } from '@enablement/runtime'
import { describe, expect, it } from 'vitest'
import { runtimeKit, small, until } from '../fakes/runtime-kit.ts'

const code = (thrown: unknown): string => (thrown instanceof RuntimeError ? thrown.code : String(thrown))
const refusal = (saving: Promise<unknown>): Promise<string> => saving.then(() => 'saved', code)

/** Adds the numbers up to `count`, one job each. */
const adding = (count: number): string =>
  `globalThis.sum = 0; for (let n = 1; n <= ${count}; n += 1) { sum += n; await safepoint() } sum`
const sumOf = (count: number): number => (count * (count + 1)) / 2

/** Tells when the guest has made its first call, and answers when it is told to. */
function gatedCall() {
  let answer: (value: number) => void = () => undefined
  const calls: string[] = []
  return {
    calls,
    answer: (value: number) => answer(value),
    functions: {
      ask: (_argument: unknown, { idempotencyKey }: { readonly idempotencyKey: string }) => {
        calls.push(idempotencyKey)
        return new Promise<number>((resolve) => {
          answer = resolve
        })
      }
    }
  }
}

describe('a sandbox that is saved while it runs', () => {
  it('goes on, and the bytes hold an independent twin at the await where it stood', async () => {
    await using kit = runtimeKit()
    const sandbox = await kit.runtime.open(small)
    const running = sandbox.evaluate(adding(40_000))
    const bytes = await sandbox.checkpoint()
    expect(await running).toEqual({ outcome: 'completed', value: sumOf(40_000) })

    const twin = await kit.runtime.restore({ ...small, checkpoint: bytes })
    expect(await twin.continue()).toEqual({ outcome: 'completed', value: sumOf(40_000) })
    await sandbox.evaluate('sum = 1')
    expect(await twin.evaluate('sum')).toEqual({ outcome: 'completed', value: sumOf(40_000) })
  })

  it('waits for a host function in both, under one idempotency key', async () => {
    const gated = gatedCall()
    await using kit = runtimeKit({ hostFunctions: gated.functions })
    const sandbox = await kit.runtime.open(small)
    const running = sandbox.evaluate('1 + await host.ask()')
    await until(() => gated.calls.length === 1)
    const bytes = await sandbox.checkpoint()
    gated.answer(1)
    expect(await running).toEqual({ outcome: 'completed', value: 2 })

    const twin = await kit.runtime.restore({ ...small, checkpoint: bytes })
    const continued = twin.continue()
    await until(() => gated.calls.length === 2)
    gated.answer(41)
    expect(await continued).toEqual({ outcome: 'completed', value: 42 })
    expect(gated.calls[1]).toBe(gated.calls[0])
  })

  it('takes an answer that comes while it is being saved', async () => {
    const gated = gatedCall()
    await using kit = runtimeKit({ hostFunctions: gated.functions })
    const sandbox = await kit.runtime.open(small)
    for (let round = 0; round < 20; round += 1) {
      const before = gated.calls.length
      const running = sandbox.evaluate('await host.ask()')
      await until(() => gated.calls.length > before)
      const saving = sandbox.checkpoint()
      for (let turn = 0; turn < round % 5; turn += 1) await new Promise((resolve) => setImmediate(resolve))
      gated.answer(round)
      expect(await running).toEqual({ outcome: 'completed', value: round })
      expect(['saved', 'CHECKPOINT_REFUSED']).toContain(await refusal(saving))
    }
  })

  it('is not saved when it comes to no await in time, and goes on', async () => {
    await using kit = runtimeKit()
    const sandbox = await kit.runtime.open(small)
    const running = sandbox.evaluate('let n = 0; while (n < 5e8) n += 1; n', { timeoutMs: 1_500 })
    expect(await refusal(sandbox.checkpoint())).toBe('CHECKPOINT_REFUSED')
    expect(await running).toEqual({ outcome: 'timed-out', timeoutMs: 1_500 })
    expect(await sandbox.evaluate('1')).toEqual({ outcome: 'completed', value: 1 })
  })

  it('obeys a deadline that passes meanwhile', async () => {
    await using kit = runtimeKit()
    const sandbox = await kit.runtime.open(small)
    const running = sandbox.evaluate('for (;;) await safepoint()', { timeoutMs: 300 })
    while ((await Promise.race([running, sandbox.checkpoint().catch(code)])) instanceof Uint8Array);
    expect(await running).toEqual({ outcome: 'timed-out', timeoutMs: 300 })
    expect(await sandbox.evaluate('1')).toEqual({ outcome: 'completed', value: 1 })
  })

  it('runs out of memory all the same', async () => {
    await using kit = runtimeKit()
    const sandbox = await kit.runtime.open(small)
    const running = sandbox.evaluate(
      'const held = []; for (;;) { held.push(new ArrayBuffer(16384)); await safepoint() }'
    )
    let saving = true
    const saves = (async () => {
      while (saving) if ((await refusal(sandbox.checkpoint())) === 'SANDBOX_GONE') return
    })()
    expect(await running).toMatchObject({ outcome: 'memory-exhausted', recovery: { checkpointId: expect.any(String) } })
    saving = false
    await saves
    expect(kit.gate.asks).toHaveLength(1)
  })
})

describe('a sandbox that is preempted', () => {
  const ended = (events: readonly RuntimeEvent[]): unknown =>
    events.find((event) => event.type === 'sandbox.terminated')

  it('ends its evaluation as preempted, and continues from the bytes', async () => {
    await using kit = runtimeKit()
    const sandbox = await kit.runtime.open(small)
    const running = sandbox.evaluate(adding(200_000))
    const bytes = await sandbox.preempt()
    expect(await running).toMatchObject({
      outcome: 'terminated',
      record: { reason: 'preempted', retryable: true }
    })
    expect(await refusal(sandbox.evaluate('1'))).toBe('SANDBOX_GONE')
    const restored = await kit.runtime.restore({ ...small, checkpoint: bytes })
    expect(await restored.continue()).toEqual({ outcome: 'completed', value: sumOf(200_000) })
  })

  it('is saved whole when nothing runs', async () => {
    await using kit = runtimeKit()
    const sandbox = await kit.runtime.open(small)
    await sandbox.evaluate('globalThis.kept = 7')
    const bytes = await sandbox.preempt()
    expect(ended(kit.events)).toMatchObject({ record: { reason: 'preempted' } })
    const restored = await kit.runtime.restore({ ...small, checkpoint: bytes })
    expect(await restored.evaluate('kept')).toEqual({ outcome: 'completed', value: 7 })
  })

  it('keeps running when it cannot be saved', async () => {
    await using kit = runtimeKit()
    const sandbox = await kit.runtime.open(small)
    const running = sandbox.evaluate('let n = 0; while (n < 5e8) n += 1; n', { timeoutMs: 1_000 })
    expect(await refusal(sandbox.preempt())).toBe('CHECKPOINT_REFUSED')
    expect(await running).toMatchObject({ outcome: 'timed-out' })
    expect(await sandbox.evaluate('2')).toEqual({ outcome: 'completed', value: 2 })
    expect(ended(kit.events)).toBeUndefined()
  })
})

describe('a prepared sandbox', () => {
  const image = async (kit: ReturnType<typeof runtimeKit>) =>
    kit.runtime.prepareImage({
      memoryLimitBytes: small.memoryLimitBytes,
      code: 'const table = new Map([["tea", 3]]); globalThis.price = (name) => table.get(name)'
    })
  const run = async (sandbox: Sandbox, text: string): Promise<unknown> => {
    const outcome = await sandbox.evaluate(text)
    return outcome.outcome === 'completed' ? outcome.value : outcome
  }

  it('begins with what its image was set up with, and belongs to whom it is assigned', async () => {
    await using kit = runtimeKit({ hostFunctions: { who: () => 'acme' } })
    const prepared = await kit.runtime.prepare({
      memoryLimitBytes: small.memoryLimitBytes,
      hostFunctions: ['who'],
      image: await image(kit)
    })
    expect(prepared.isReady()).toBe(true)
    expect(kit.events).toEqual([])
    const sandbox = prepared.assign({ tenant: 'acme', agent: 'agent-7' })
    expect(prepared.isReady()).toBe(false)
    expect(kit.events).toMatchObject([{ type: 'sandbox.opened', tenant: 'acme', sandboxId: prepared.id }])
    expect(await run(sandbox, 'price("tea")')).toBe(3)
    expect(await run(sandbox, 'await host.who()')).toBe('acme')
    await sandbox.close()
  })

  it('is independent of its twins from the same image', async () => {
    await using kit = runtimeKit()
    const shared = await image(kit)
    const twins = await Promise.all(
      [0, 1].map(() => kit.runtime.prepare({ memoryLimitBytes: small.memoryLimitBytes, image: shared }))
    )
    const [a, b] = twins.map((twin) => twin.assign({ tenant: 'acme', agent: 'agent-7' })) as [Sandbox, Sandbox]
    await run(a, 'table.set("tea", 99); 0')
    expect(await run(b, 'price("tea")')).toBe(3)
    expect(await run(a, 'Math.random()')).not.toBe(await run(b, 'Math.random()'))
  })

  it('is assigned once, not after it was closed, and only with the functions it was prepared with', async () => {
    await using kit = runtimeKit()
    const owner = { tenant: 'acme', agent: 'agent-7' }
    const prepared = await kit.runtime.prepare({ memoryLimitBytes: small.memoryLimitBytes, hostFunctions: ['who'] })
    expect(() => prepared.assign(owner)).toThrow('hostFunctions.who')
    expect(() => prepared.assign({ ...owner, hostFunctions: { who: () => 1 }, tenent: 1 } as never)).toThrow('tenent')
    prepared.assign({ ...owner, hostFunctions: { who: () => 1 } })
    expect(() => prepared.assign({ ...owner, hostFunctions: { who: () => 1 } })).toThrow('given away')
    const closed = await kit.runtime.prepare({ memoryLimitBytes: small.memoryLimitBytes })
    await closed.close()
    await closed.close()
    expect(closed.isReady()).toBe(false)
    expect(() => closed.assign(owner)).toThrow('gone')
  })

  it('is ended with its runtime', async () => {
    const kit = runtimeKit()
    const prepared = await kit.runtime.prepare({ memoryLimitBytes: small.memoryLimitBytes })
    await kit.runtime.close()
    expect(prepared.isReady()).toBe(false)
  })

  it('is not made from a set-up that fails, times out or runs out of memory', async () => {
    await using kit = runtimeKit()
    const failing = (text: string, timeoutMs = 30_000) =>
      refusal(kit.runtime.prepareImage({ memoryLimitBytes: small.memoryLimitBytes, code: text, timeoutMs }))
    expect(await failing('throw new Error("no")')).toBe('SETUP_FAILED')
    expect(await failing('for (;;);', 50)).toBe('SETUP_FAILED')
    expect(await failing('const held = []; for (;;) held.push(new Array(65536).fill("x"))')).toBe('SETUP_FAILED')
    const other = { engine: 'quickjs:other', bytes: (await image(kit)).bytes }
    expect(await refusal(kit.runtime.prepare({ memoryLimitBytes: small.memoryLimitBytes, image: other }))).toBe(
      'CHECKPOINT_FOREIGN'
    )
  })
})
