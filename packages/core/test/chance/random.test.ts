import { randomFrom, systemRandom } from '@enablement/core'
import { seededRandom } from '@enablement/core/testing'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, it } from 'vitest'

describe('random', () => {
  it('floats over the whole of [0, 1) and never reaches 1', () => {
    expect(randomFrom(() => 0).float()).toBe(0)
    expect(randomFrom(() => 0xffff_ffff).float()).toBe(1 - Number.EPSILON / 2)
  })

  test.prop([fc.integer({ min: 1, max: 2 ** 32 }), fc.integer()])('draws integers below the limit', (limit, seed) => {
    const drawn = seededRandom(seed).below(limit)
    expect(Number.isInteger(drawn) && drawn >= 0 && drawn < limit).toBe(true)
  })

  it('draws again rather than favour small integers', () => {
    // 2^32 = 3 * 1431655765 + 1: the largest word would make 0 likelier than 1 and 2.
    const words = [0xffff_ffff, 0xffff_fffe]
    expect(randomFrom(() => words.shift() as number).below(3)).toBe(0xffff_fffe % 3)
    expect(words).toEqual([])
  })

  it('takes words as they are for a limit of 2^32', () => {
    expect(randomFrom(() => 0xffff_ffff).below(2 ** 32)).toBe(0xffff_ffff)
  })

  it('is fair within five standard deviations', () => {
    const counts = [0, 0, 0, 0, 0, 0]
    const random = seededRandom(20260101)
    for (let at = 0; at < 60_000; at++) {
      const side = random.below(6)
      counts[side] = (counts[side] as number) + 1
    }
    // The mean is 10,000 and the deviation 91.
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(460)
  })

  it.each([0, -1, 1.5, Number.NaN, 2 ** 32 + 1, Number.POSITIVE_INFINITY])('refuses the limit %d', (limit) => {
    expect(() => systemRandom.below(limit)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS', detail: expect.objectContaining({ subject: 'random.below' }) })
    )
  })

  it.each([0, 1, 3, 4, 5, 17])('fills %d bytes, all of them and no more', (length) => {
    const room = new Uint8Array(length + 2)
    const target = room.subarray(1, length + 1)
    expect(randomFrom(() => 0xffff_ffff).fill(target)).toBe(target)
    expect([...room]).toEqual([0, ...Array.from({ length }, () => 255), 0])
  })

  it('does not repeat itself when it comes from the operating system', () => {
    const drawn = new Set(Array.from({ length: 2_000 }, () => systemRandom.float()))
    expect(drawn.size).toBe(2_000)
  })
})
