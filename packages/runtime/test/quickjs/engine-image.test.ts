import { zstdCompressSync } from 'node:zlib'
import { mebibytes, type SandboxSpec } from '@enablement/runtime'
import { quickjsHost } from '@enablement/runtime/quickjs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const limit = mebibytes(4)
const spec: SandboxSpec = {
  sandboxId: 's',
  incarnation: 1,
  memoryLimitBytes: limit,
  criticalAtBytes: limit,
  criticalClearBytes: limit,
  hostFunctions: [],
  seed: new Uint8Array(16),
  now: () => 0
}
const hooks = { onCall: () => {}, onConsole: () => {}, onPressure: () => {} }

describe('an image that nobody sealed', () => {
  // It takes one sandbox: had one stayed behind, it would refuse the next.
  const host = quickjsHost({ idleThreads: 0, sandboxesMax: 1 })
  let good: Uint8Array<ArrayBuffer>
  beforeAll(async () => {
    const sandbox = await host.create(spec, hooks)
    good = await sandbox.capture()
    await sandbox.close()
  })
  afterAll(async () => {
    const whole = await host.restore(good, spec, hooks)
    expect(await whole.sandbox.run('1')).toEqual({ outcome: 'completed', json: '1' })
    await host.close()
  })

  const changed = (bytes: Uint8Array, change: (view: DataView) => void): Uint8Array<ArrayBuffer> => {
    const copy = Uint8Array.from(bytes)
    change(new DataView(copy.buffer))
    return copy
  }

  it.each<readonly [string, (good: Uint8Array) => Uint8Array<ArrayBuffer>, string]>([
    ['is empty', () => new Uint8Array(0), 'CHECKPOINT_CORRUPT'],
    ['is cut short in its header', (good) => good.slice(0, 111), 'CHECKPOINT_CORRUPT'],
    ['is cut short in its body', (good) => good.slice(0, -1), 'CHECKPOINT_CORRUPT'],
    ['begins otherwise', (good) => changed(good, (view) => view.setUint8(0, 0)), 'CHECKPOINT_CORRUPT'],
    ['has another version', (good) => changed(good, (view) => view.setUint16(4, 1, true)), 'CHECKPOINT_CORRUPT'],
    [
      'has another engine',
      (good) => changed(good, (view) => view.setUint8(8, view.getUint8(8) ^ 1)),
      'CHECKPOINT_FOREIGN'
    ],
    [
      'differs from another pristine memory',
      (good) => changed(good, (view) => view.setUint8(71, view.getUint8(71) ^ 1)),
      'CHECKPOINT_FOREIGN'
    ],
    ['declares 4 GiB', (good) => changed(good, (view) => view.setUint32(72, 65_536, true)), 'CHECKPOINT_TOO_LARGE'],
    [
      'declares less memory than its runs need',
      (good) => changed(good, (view) => view.setUint32(72, view.getUint32(72, true) - 1, true)),
      'CHECKPOINT_CORRUPT'
    ],
    ['points outside', (good) => changed(good, (view) => view.setUint32(88, 0xffff_ffff, true)), 'CHECKPOINT_CORRUPT'],
    ['has an evaluation nowhere', (good) => changed(good, (view) => view.setUint8(6, 1)), 'CHECKPOINT_CORRUPT'],
    ['is packed in an unknown way', (good) => changed(good, (view) => view.setUint8(7, 2)), 'CHECKPOINT_CORRUPT'],
    ['is plain and says it is packed', (good) => changed(good, (view) => view.setUint8(7, 1)), 'CHECKPOINT_CORRUPT'],
    [
      'declares more runs than it has',
      (good) => changed(good, (view) => view.setUint32(100, view.getUint32(100, true) + 1, true)),
      'CHECKPOINT_CORRUPT'
    ],
    [
      'declares more units than its memory has',
      (good) => changed(good, (view) => view.setUint32(104, 0xffff_ffff, true)),
      'CHECKPOINT_CORRUPT'
    ],
    [
      'has a run that begins before the last one ends',
      (good) => changed(good, (view) => view.setUint32(120, view.getUint32(112, true), true)),
      'CHECKPOINT_CORRUPT'
    ],
    [
      'has a run that ends outside',
      (good) => changed(good, (view) => view.setUint32(112 + (view.getUint32(100, true) - 1) * 8, 0xffff_ff00, true)),
      'CHECKPOINT_CORRUPT'
    ],
    [
      'has runs of another length than it declares',
      (good) => changed(good, (view) => view.setUint32(116, view.getUint32(116, true) + 1, true)),
      'CHECKPOINT_CORRUPT'
    ],
    [
      'unpacks to 256 MiB',
      (good) => {
        const packed = Buffer.concat([good.subarray(0, 112), zstdCompressSync(Buffer.alloc(2 ** 28))])
        packed.writeUInt8(1, 7)
        return Uint8Array.from(packed)
      },
      'CHECKPOINT_CORRUPT'
    ]
  ])('and %s is refused, and no sandbox stays behind', async (_what, damage, code) => {
    await expect(host.restore(damage(good), spec, hooks)).rejects.toMatchObject({ code })
  })
})

describe('an image', () => {
  const roomy = { ...spec, memoryLimitBytes: mebibytes(32), criticalAtBytes: mebibytes(32) }

  it.each([
    ['a thread that has rehearsed', 1],
    ['a thread that was just started', 0]
  ])('of a small guest and of a large one is restored to the byte by %s', async (_what, idleThreads) => {
    const host = quickjsHost({ idleThreads })
    for (const [bytes, packing] of [
      [1_000, 0],
      [300_000, 1]
    ] as const) {
      const sandbox = await host.create(roomy, hooks)
      await sandbox.run(`const held = new Uint8Array(${bytes}).map((_, n) => (n * n) % 251)`)
      // Time in which another thread is started and rehearses.
      if (idleThreads > 0) await sandbox.run('for (const until = Date.now() + 150; Date.now() < until; );')
      const image = await sandbox.capture()
      expect(image[7]).toBe(packing)
      await sandbox.close()
      const restored = await host.restore(image, roomy, hooks)
      expect(Buffer.from(await restored.sandbox.capture()).equals(image)).toBe(true)
      const correct = 'held.every((byte, n) => byte === (n * n) % 251) && held.length'
      expect(await restored.sandbox.run(correct)).toEqual({ outcome: 'completed', json: String(bytes) })
      await restored.sandbox.close()
    }
    await host.close()
  })
})
