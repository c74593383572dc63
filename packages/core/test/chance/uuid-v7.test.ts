import { createIdSource, randomFrom, systemPlatform } from '@enablement/core'
import { seededRandom, testPlatform, virtualClock } from '@enablement/core/testing'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, it } from 'vitest'

/** RFC 9562 §4.1 and §5.7: the version nibble is 7, the variant bits are 10. */
const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

const timeOf = (id: string): number => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)

describe('id', () => {
  it('has the layout of the example in RFC 9562, appendix A.6', () => {
    // rand_a is 0xCC3 and rand_b 0x18C4DC0C0C07398F, which is drawn as two words whose low byte comes first.
    const words = [0x0cdc_c418, 0x8f39_070c]
    const random = { ...randomFrom(() => words.shift() as number), below: () => 0xcc3 }
    const clock = virtualClock({ now: Date.UTC(2022, 1, 22, 19, 22, 22) })
    expect(createIdSource({ clock, random })()).toBe('017f22e2-79b0-7cc3-98c4-dc0c0c07398f')
  })

  it('starts with the wall time in milliseconds', async () => {
    const platform = testPlatform({ now: 1_767_225_600_123 })
    const next = createIdSource(platform)
    expect(timeOf(next())).toBe(1_767_225_600_123)
    await platform.clock.advance(77)
    expect(timeOf(next())).toBe(1_767_225_600_200)
  })

  it('sorts in the order of making through a burst of 20,000 within one millisecond', () => {
    const next = createIdSource(testPlatform())
    const ids = Array.from({ length: 20_000 }, next)
    expect(ids.every((id) => UUID_V7.test(id))).toBe(true)
    expect(new Set(ids).size).toBe(ids.length)
    expect(ids).toEqual([...ids].sort())
  })

  it('does not go back with a wall clock that jumps back, and follows it again when it has caught up', async () => {
    const platform = testPlatform({ now: 2_000_000 })
    const next = createIdSource(platform)
    const before = next()
    platform.clock.jumpWallTo(1_000_000)
    const during = next()
    expect([timeOf(before), timeOf(during), during > before]).toEqual([2_000_000, 2_000_000, true])
    await platform.clock.advance(1_500_000)
    expect(timeOf(next())).toBe(2_500_000)
  })

  test.prop([
    fc.integer(),
    fc.array(fc.oneof(fc.constant('make' as const), fc.integer({ min: 0, max: 4_000_000_000_000 })), { maxLength: 200 })
  ])('sorts in the order of making, wherever the wall clock jumps', (seed, steps) => {
    const platform = testPlatform({ seed, now: 1_000_000 })
    const next = createIdSource(platform)
    const ids = [next()]
    for (const step of steps) {
      if (step === 'make') ids.push(next(), next())
      else platform.clock.jumpWallTo(step)
    }
    ids.push(next())
    expect(ids).toEqual([...ids].sort())
    expect(new Set(ids).size).toBe(ids.length)
    expect(ids.every((id) => UUID_V7.test(id))).toBe(true)
  })

  it.each([0, -1, -5_000, Number.NaN])('keeps its form on a machine whose clock says %d', (now) => {
    const next = createIdSource({ clock: { ...virtualClock(), now: () => now }, random: seededRandom(1) })
    const ids = [next(), next(), next()]
    expect(ids.every((id) => UUID_V7.test(id))).toBe(true)
    expect(ids).toEqual([...ids].sort())
  })

  it('differs between two sources of one machine', () => {
    const ids = [createIdSource(systemPlatform), createIdSource(systemPlatform)].flatMap((next) =>
      Array.from({ length: 1_000 }, next)
    )
    expect(new Set(ids).size).toBe(2_000)
  })
})
