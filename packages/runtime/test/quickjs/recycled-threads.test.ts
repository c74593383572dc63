import { zstdDecompressSync } from 'node:zlib'
import { quickjsHost } from '@enablement/runtime/quickjs'
import { describe, expect, it } from 'vitest'
import { completed, quiet, specOf, threadCount } from './quickjs-kit.ts'

describe('a thread that a sandbox has left', () => {
  it('serves the next ones', async () => {
    using threads = threadCount()
    await using host = quickjsHost({ idleThreads: 1, threadsMax: 1 })
    for (let n = 0; n < 5; n += 1) {
      const sandbox = await host.create(specOf(`s${n}`), quiet)
      expect(await sandbox.run(`globalThis.n ??= ${n}`)).toEqual(completed(String(n)))
      await (n % 2 === 0 ? sandbox.close() : sandbox.kill())
    }
    expect(threads.started).toBe(1)
  })

  it('holds no byte of the old guest that the new one could come by', async () => {
    using threads = threadCount()
    await using host = quickjsHost({ idleThreads: 1, threadsMax: 1 })
    const one = await host.create(specOf('one'), quiet)
    // In strings, typed arrays and freed memory; never as such in the code, which is not the guest's to hide.
    const fill = `
      globalThis.secret = ['sword', 'fish'].join('')
      globalThis.held = Array.from({ length: 2_000 }, (_, n) => secret + n)
      globalThis.bytes = new Uint8Array(1_000_000).fill(0xa7)
      for (let n = 0; n < 2_000; n++) (secret + n).toUpperCase()
      held.length`
    expect(await one.run(fill)).toEqual(completed('2000'))
    const before = Buffer.from(await one.capture())
    await one.close()

    const two = await host.create(specOf('two'), quiet)
    // Its memory grows as far as the other's did, so that whatever lay there would be in its image.
    await two.run('globalThis.grown = new Uint8Array(3_000_000); grown.length')
    const seen = await two.run(
      'JSON.stringify(Object.getOwnPropertyNames(globalThis)).includes("secret") || grown.some((byte) => byte !== 0)'
    )
    expect(seen).toEqual(completed('false'))
    const after = Buffer.from(await two.capture())
    expect(threads.started).toBe(1)
    for (const trace of ['swordfish', 'SWORDFISH', Buffer.alloc(64, 0xa7)]) {
      expect(unpacked(before).includes(trace)).toBe(true)
      expect(unpacked(after).includes(trace)).toBe(false)
    }
  })

  it('is ended, and no other sandbox gets it, when its guest was killed while it ran', async () => {
    using threads = threadCount()
    await using host = quickjsHost({ idleThreads: 1, threadsMax: 1 })
    let begun = (): void => undefined
    const begins = new Promise<void>((resolve) => {
      begun = resolve
    })
    const one = await host.create(specOf('one'), { ...quiet, onConsole: () => begun() })
    const running = one.run('console.log(1); for (;;);')
    await begins
    await one.kill()
    expect(await running).toMatchObject({ outcome: 'gone' })
    const two = await host.create(specOf('two'), quiet)
    expect(await two.run('1')).toEqual(completed('1'))
    expect(threads.started).toBe(2)
  })

  it('serves the next one also when an image was refused', async () => {
    using threads = threadCount()
    await using host = quickjsHost({ idleThreads: 1, threadsMax: 1 })
    await expect(host.restore(new Uint8Array(500), specOf('one'), quiet)).rejects.toMatchObject({
      code: 'CHECKPOINT_CORRUPT'
    })
    const two = await host.create(specOf('two'), quiet)
    expect(await two.run('1')).toEqual(completed('1'))
    expect(threads.started).toBe(1)
  })
})

/** The memory that an image says. */
function unpacked(image: Buffer): Buffer {
  const body = image.subarray(112)
  return image[7] === 1 ? zstdDecompressSync(body) : body
}
