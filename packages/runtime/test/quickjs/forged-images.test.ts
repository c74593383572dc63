import type { RunEnd } from '@enablement/runtime'
import { quickjsHost } from '@enablement/runtime/quickjs'
import { describe, expect, inject, it } from 'vitest'
import { quiet, specOf } from './quickjs-kit.ts'

const scale = inject('scale')

/** Codes with which a host refuses an image; anything else would be a fault of the host's. */
const REFUSALS = ['CHECKPOINT_CORRUPT', 'CHECKPOINT_FOREIGN', 'CHECKPOINT_TOO_LARGE', 'SANDBOX_NOT_STARTED']

describe('an image with one byte flipped, which no seal has caught', () => {
  it('is refused, or its guest ends in one of the ways that guests end; the host and its other guests live', async () => {
    await using host = quickjsHost({ idleThreads: 1, threadsMax: 2 })
    const neighbour = await host.create(specOf('neighbour'), quiet)
    await neighbour.run('let mine = 1')
    const one = await host.create(specOf('one'), quiet)
    await one.run('let n = 0; const step = () => { n += 1; return n }; globalThis.list = [1, 2, 3].map((x) => ({ x }))')
    const image = await one.capture()
    await one.close()
    const count = Math.ceil(40 * scale)
    for (let flipped = 0; flipped < count; flipped += 1) {
      // Every byte of the header in turn, and as many places of the body, evenly spread.
      const at =
        flipped % 2 === 0 ? (flipped / 2) % 112 : 112 + Math.floor(((image.length - 112) * (flipped + 0.5)) / count)
      const forged = image.slice()
      forged[at] = (forged[at] ?? 0) ^ (1 << (flipped % 8))
      let end: RunEnd | 'refused'
      try {
        const { sandbox } = await host.restore(forged, specOf('forged'), quiet)
        // An engine in a loop of its own hears no interrupt.
        const patience = setTimeout(() => void sandbox.kill(), 300)
        end = await sandbox.run('step() + list.length', { cpuMs: 100 })
        clearTimeout(patience)
        await sandbox.kill()
      } catch (error) {
        expect(REFUSALS).toContain((error as { code?: string }).code)
        end = 'refused'
      }
      if (end !== 'refused') {
        expect(['completed', 'failed', 'exhausted', 'interrupted', 'tainted', 'gone']).toContain(end.outcome)
      }
    }
    expect(await neighbour.run('mine')).toEqual({ outcome: 'completed', json: '1' })
  }, 600_000)
})

describe('a chain of images', () => {
  it('ends, after many generations, byte for byte where an uninterrupted twin ends', async () => {
    await using host = quickjsHost({ idleThreads: 1 })
    const setUp = `let state = 1; const log = []
      const step = async (n) => { await 0; state = (state * 31 + n) % 1000003; if (n % 10 === 0) log.push({ n, state }); return state }`
    const twin = await host.create(specOf('twin'), quiet)
    await twin.run(setUp)
    let generation = await host.create(specOf('generation'), quiet)
    await generation.run(setUp)
    for (let n = 0; n < 20 * scale; n += 1) {
      const [one, other] = await Promise.all([generation.run(`await step(${n})`), twin.run(`await step(${n})`)])
      expect(one).toEqual(other)
      const image = await generation.capture()
      await generation.close()
      generation = (await host.restore(image, specOf('generation'), quiet)).sandbox
    }
    const [last, whole] = [await generation.capture(), await twin.capture()]
    expect(Buffer.from(last).equals(whole)).toBe(true)
  }, 600_000)
})
