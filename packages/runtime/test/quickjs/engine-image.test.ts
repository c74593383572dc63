import { zstdCompressSync } from 'node:zlib'
import { mebibytes, type SandboxSpec } from '@enablement/runtime'
import { quickjsHost } from '@enablement/runtime/quickjs'
import { afterAll, describe, expect, it } from 'vitest'

const limit = mebibytes(4)
const spec: SandboxSpec = {
  sandboxId: 's',
  memoryLimitBytes: limit,
  criticalAtBytes: limit,
  criticalClearBytes: limit,
  hostFunctions: [],
  seed: new Uint8Array(16),
  now: () => 0
}
const hooks = { onCall: () => {}, onConsole: () => {}, onPressure: () => {} }

describe('an image that nobody sealed', () => {
  const host = quickjsHost({ idleThreads: 0 })
  afterAll(() => host.close())

  const image = async (): Promise<Uint8Array<ArrayBuffer>> => {
    const sandbox = await host.create(spec, hooks)
    const captured = await sandbox.capture()
    await sandbox.close()
    return captured
  }

  const changed = (bytes: Uint8Array, change: (view: DataView) => void): Uint8Array<ArrayBuffer> => {
    const copy = Uint8Array.from(bytes)
    change(new DataView(copy.buffer))
    return copy
  }

  it.each<readonly [string, (good: Uint8Array) => Uint8Array<ArrayBuffer>, string]>([
    ['is empty', () => new Uint8Array(0), 'CHECKPOINT_CORRUPT'],
    ['is cut short in its header', (good) => good.slice(0, 79), 'CHECKPOINT_CORRUPT'],
    ['is cut short in its body', (good) => good.slice(0, -1), 'CHECKPOINT_CORRUPT'],
    ['begins otherwise', (good) => changed(good, (view) => view.setUint8(0, 0)), 'CHECKPOINT_CORRUPT'],
    ['has another version', (good) => changed(good, (view) => view.setUint16(4, 2, true)), 'CHECKPOINT_CORRUPT'],
    [
      'has another engine',
      (good) => changed(good, (view) => view.setUint8(8, view.getUint8(8) ^ 1)),
      'CHECKPOINT_FOREIGN'
    ],
    ['declares 4 GiB', (good) => changed(good, (view) => view.setUint32(40, 65_536, true)), 'CHECKPOINT_TOO_LARGE'],
    ['points outside', (good) => changed(good, (view) => view.setUint32(56, 0xffff_ffff, true)), 'CHECKPOINT_CORRUPT'],
    [
      'declares more chunks than it has',
      (good) => changed(good, (view) => view.setUint32(64, 300, true)),
      'CHECKPOINT_CORRUPT'
    ],
    [
      'unpacks to a gigabyte',
      (good) => Uint8Array.from(Buffer.concat([good.subarray(0, 80), zstdCompressSync(Buffer.alloc(2 ** 30))])),
      'CHECKPOINT_CORRUPT'
    ]
  ])('and %s is refused, and no sandbox stays behind', async (_what, damage, code) => {
    await expect(host.restore(damage(await image()), spec, hooks)).rejects.toMatchObject({ code })
    const whole = await host.restore(await image(), spec, hooks)
    expect(await whole.sandbox.run('1')).toEqual({ outcome: 'completed', json: '1' })
    await whole.sandbox.close()
  })
})
