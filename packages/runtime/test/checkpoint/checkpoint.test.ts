import { testPlatform } from '@enablement/core/testing'
import { createRuntime, mebibytes, type OpenOptions, type Runtime } from '@enablement/runtime'
import { quickjsHost } from '@enablement/runtime/quickjs'
import { fc } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'
import { runtimeKit, small } from '../fakes/runtime-kit.ts'

const scale = inject('scale')

async function checkpointOf(
  runtime: Runtime,
  code: string,
  options: OpenOptions = small
): Promise<Uint8Array<ArrayBuffer>> {
  const sandbox = await runtime.open(options)
  await sandbox.evaluate(code)
  const bytes = await sandbox.checkpoint()
  await sandbox.close()
  return bytes
}

describe('a checkpoint', () => {
  it('holds the whole state: closures, generators, private fields, pending promises', async () => {
    await using kit = runtimeKit()
    const checkpoint = await checkpointOf(
      kit.runtime,
      `const count = ((n) => () => ++n)(5); count()
       const steps = (function* () { yield 1; yield 2 })(); steps.next()
       class Box { #secret = 9; open() { return this.#secret } }
       const box = new Box(), when = new Date(0), pattern = /a/g, big = 2n ** 70n; pattern.test('aa')
       let release; const gate = new Promise((resolve) => { release = resolve })
       let passed = 'no'; gate.then((value) => { passed = value })`
    )
    const sandbox = await kit.runtime.restore({ ...small, checkpoint })
    const code = `release('yes'); await gate; [count(), steps.next().value, box.open(), when.getTime(), pattern.lastIndex, String(big), passed]`
    expect(await sandbox.evaluate(code)).toEqual({
      outcome: 'completed',
      value: [7, 2, 9, 0, 1, '1180591620717411303424', 'yes']
    })
  })

  it('restores as often as it is asked to, into sandboxes that draw their own chance', async () => {
    await using kit = runtimeKit()
    const checkpoint = await checkpointOf(kit.runtime, 'let n = 1')
    const [one, two] = await Promise.all([1, 2].map(() => kit.runtime.restore({ ...small, checkpoint })))
    expect(await one?.evaluate('n += 10')).toEqual({ outcome: 'completed', value: 11 })
    expect(await two?.evaluate('n')).toEqual({ outcome: 'completed', value: 1 })
    expect(await one?.evaluate('Math.random()')).not.toEqual(await two?.evaluate('Math.random()'))
    expect(one?.id).not.toBe(two?.id)
  })

  it('ends, after many generations, where an uninterrupted twin ends', async () => {
    await using kit = runtimeKit()
    const setUp = `let state = 1; const log = new Map(); const step = async (n) => { await 0; state = (state * 31 + n) % 1000003; log.set(n, [state]); return state }`
    const twin = await kit.runtime.open(small)
    await twin.evaluate(setUp)
    let sandbox = await kit.runtime.open(small)
    await sandbox.evaluate(setUp)
    for (let n = 0; n < 10 * scale; n += 1) {
      expect(await sandbox.evaluate(`await step(${n})`)).toEqual(await twin.evaluate(`await step(${n})`))
      const checkpoint = await sandbox.checkpoint()
      await sandbox.close()
      sandbox = await kit.runtime.restore({ ...small, checkpoint })
    }
    const whole = '[state, ...log]'
    expect(await sandbox.evaluate(whole)).toEqual(await twin.evaluate(whole))
    expect(sandbox.memory().usedBytes).toBe(twin.memory().usedBytes)
  }, 600_000)

  it('shows nothing of what the guest holds', async () => {
    await using kit = runtimeKit()
    const checkpoint = await checkpointOf(kit.runtime, "const secret = 'swordfish-' + 'swordfish'")
    expect(Buffer.from(checkpoint).includes('swordfish')).toBe(false)
  })
})

describe('a checkpoint that does not fit', () => {
  it.each([
    ['of another tenant', { tenant: 'other' }, {}, 'tenant'],
    ['under another key', {}, { sealingKey: new Uint8Array(32).fill(8) }, 'key']
  ] as const)('%s is refused as foreign', async (_what, opening, overrides, claim) => {
    await using kit = runtimeKit()
    const checkpoint = await checkpointOf(kit.runtime, '1')
    await using runtime = createRuntime({ ...kit.options, host: quickjsHost({ idleThreads: 0 }), ...overrides })
    const restoring = runtime.restore({ ...small, ...opening, checkpoint })
    await expect(restoring).rejects.toMatchObject({ code: 'CHECKPOINT_FOREIGN', detail: { claim } })
  })

  it('of another engine build is refused as foreign', async () => {
    await using kit = runtimeKit()
    const checkpoint = await checkpointOf(kit.runtime, '1')
    const host = quickjsHost({ idleThreads: 0 })
    await using runtime = createRuntime({ ...kit.options, host: { ...host, engine: async () => 'quickjs:other' } })
    const restoring = runtime.restore({ ...small, checkpoint })
    await expect(restoring).rejects.toMatchObject({ code: 'CHECKPOINT_FOREIGN', detail: { claim: 'engine' } })
  })

  it('has expired to the millisecond', async () => {
    const platform = testPlatform()
    await using kit = runtimeKit({ platform })
    const sandbox = await kit.runtime.open(small)
    const checkpoint = await sandbox.checkpoint({ ttlMs: 1_000 })
    await platform.clock.advance(999)
    expect(await kit.runtime.restore({ ...small, checkpoint })).toMatchObject({ incarnation: 1 })
    await platform.clock.advance(1)
    await expect(kit.runtime.restore({ ...small, checkpoint })).rejects.toMatchObject({ code: 'CHECKPOINT_EXPIRED' })
  })

  it('into a smaller sandbox is refused as too large', async () => {
    await using kit = runtimeKit()
    const large = { ...small, memoryLimitBytes: mebibytes(32) }
    const checkpoint = await checkpointOf(kit.runtime, 'const held = new ArrayBuffer(20e6)', large)
    const restoring = kit.runtime.restore({ ...small, checkpoint })
    await expect(restoring).rejects.toMatchObject({ code: 'CHECKPOINT_TOO_LARGE' })
  })

  it('with any bit flipped, or cut anywhere, is refused with a code of its own', async () => {
    await using kit = runtimeKit()
    const checkpoint = await checkpointOf(kit.runtime, '1')
    const refused = async (damaged: Uint8Array): Promise<void> => {
      const error = await kit.runtime.restore({ ...small, checkpoint: damaged }).catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({
        name: 'RuntimeError',
        code: expect.stringMatching(/^CHECKPOINT_(CORRUPT|FOREIGN)$/)
      })
    }
    // Every byte of the frame and its header, then samples of the body.
    for (let at = 0; at < 420; at += 1) {
      const damaged = checkpoint.slice()
      damaged[at] = (damaged[at] as number) ^ 0x01
      await refused(damaged)
    }
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: checkpoint.length - 1 }),
        fc.integer({ min: 0, max: 7 }),
        async (at, bit) => {
          const damaged = checkpoint.slice()
          damaged[at] = (damaged[at] as number) ^ (1 << bit)
          await refused(damaged)
          await refused(checkpoint.slice(0, at))
        }
      ),
      { numRuns: Math.ceil(30 * scale) }
    )
    expect(await kit.runtime.restore({ ...small, checkpoint })).toMatchObject({ tenant: 'acme' })
  }, 600_000)
})

describe('the checkpoint expiry duty', () => {
  it('removes what has expired and nothing else', async () => {
    const platform = testPlatform()
    await using kit = runtimeKit({ platform })
    const { checkpoints } = kit.options
    const now = platform.clock.now()
    for (const [id, expiresAt] of [
      ['old', now],
      ['new', now + 1]
    ] as const) {
      await checkpoints.save({ id, tenant: 'acme', sandboxId: 's', createdAt: 0, expiresAt, bytes: new Uint8Array(1) })
    }
    const [duty] = kit.runtime.duties
    expect(await duty?.run({ signal: new AbortController().signal })).toEqual({ handled: 1 })
    expect(await checkpoints.load('old')).toBeUndefined()
    expect(await checkpoints.load('new')).toBeDefined()
  })
})
