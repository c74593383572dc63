import { seededRandom, virtualClock } from '@enablement/core/testing'
import { createBloomFilter } from '@enablement/metering'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'

const scale = inject('scale')
/** A million keys in a soak; a filter of a tenth errs as often. */
const KEYS = Math.min(1_000_000, 100_000 * scale)

const SHAPES: readonly (readonly [string, (at: number) => string])[] = [
  ['random ids of 36 characters', (at) => uuid(at)],
  ['numbers', (at) => String(at)],
  ['counted ids', (at) => `evt_${String(at).padStart(12, '0')}`],
  ['keys of which only the middle differs', (at) => `3:6:orgsub_${at % 97}:${Math.floor(at / 97)}:call`]
]

/** A mixture of `at` in the form of a UUID; different for different `at`. */
function uuid(at: number): string {
  const hex = (salt: number): string =>
    (Math.imul(at ^ (at >>> 7) ^ salt, 0x9e3779b1) >>> 0).toString(16).padStart(8, '0')
  const all = hex(1) + hex(0x5bd1e995) + hex(0x1b873593) + hex(0x38b34ae5)
  return [all.slice(0, 8), all.slice(8, 12), all.slice(12, 16), all.slice(16, 20), all.slice(20)].join('-')
}

describe('the Bloom filter', () => {
  it.each(SHAPES)('is wrong of fewer than 5 in 10,000 with both generations full: %s', (_shape, keyOf) => {
    const filter = createBloomFilter({ capacity: KEYS })
    for (let at = 0; at < KEYS * 1.9; at++) filter.testAndAdd(keyOf(at))
    // The older generation is full, the younger gets so: as wrong as it can be.
    let wrong = 0
    for (let at = KEYS * 1.9; at < KEYS * 2; at++) if (filter.testAndAdd(keyOf(at))) wrong += 1
    expect(wrong / (KEYS / 10)).toBeLessThanOrEqual(0.0005)
  })

  it('never forgets a key of as many as fill a generation', () => {
    const filter = createBloomFilter({ capacity: 1_000 })
    for (let at = 0; at < 20_000; at++) {
      filter.testAndAdd(`key ${at}`)
      // Asking adds, too: at most two keys a round.
      if (at >= 499) expect(filter.testAndAdd(`key ${at - 499}`)).toBe(true)
    }
  })

  it('never fills up: after any number of keys a new one is still new', () => {
    const filter = createBloomFilter({ capacity: 1_000 })
    let wrong = 0
    for (let at = 0; at < 50_000; at++) if (filter.testAndAdd(`key ${at}`)) wrong += 1
    expect(wrong / 50_000).toBeLessThanOrEqual(0.0005)
  })

  it('forgets in time, and nothing before', async () => {
    const clock = virtualClock()
    const filter = createBloomFilter({ rotateMs: 60_000, platform: { clock, random: seededRandom(1) } })
    let keys = 0
    /** Enough keys for it to look at the clock. */
    const look = () => {
      for (let at = 0; at < 256; at++) filter.testAndAdd(`other ${++keys}`)
    }
    filter.testAndAdd('key')
    await clock.advance(59_999)
    look()
    await clock.advance(1)
    look()
    expect(filter.testAndAdd('key')).toBe(true)
    // It was added anew by asking.
    await clock.advance(60_000)
    look()
    await clock.advance(60_000)
    look()
    expect(filter.testAndAdd('key')).toBe(false)
  })

  test.prop([fc.array(fc.string({ unit: 'binary' }), { maxLength: 200 })], { numRuns: Math.ceil(50 * scale) })(
    'has what was added, whatever characters it is of',
    (keys) => {
      const filter = createBloomFilter({ capacity: 1_000 })
      for (const key of keys) filter.testAndAdd(key)
      for (const key of keys) expect(filter.testAndAdd(key)).toBe(true)
    }
  )

  it.each([{ capacity: 0 }, { capacity: 1.5 }, { rotateMs: 0 }, { keys: 5 }])('refuses %o', (wrong) => {
    expect(() => createBloomFilter(wrong as object)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
