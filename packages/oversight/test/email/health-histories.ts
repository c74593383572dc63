import { seededRandom, type VirtualClock, virtualClock } from '@enablement/core/testing'
import { type AddressHealth, type AddressHealthRule, memoryAddressHealth } from '@enablement/oversight/email'
import { fc } from '@fast-check/vitest'
import { expect } from 'vitest'

const HOUR_MS = 3_600_000

/** Short enough for histories of some days to come by every edge. */
const rule: AddressHealthRule = {
  hardBouncesMax: 3,
  windowMs: 24 * HOUR_MS,
  settleMs: 4 * HOUR_MS,
  invalidMs: 30 * HOUR_MS
}

interface Step {
  readonly call: 'accepted' | 'soft' | 'refused' | 'hard' | 'trace' | 'reinstate' | 'enter' | 'entries'
  readonly name: string
  readonly messageId: string
  readonly passedMs: number
}

export const histories: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    call: fc.oneof(
      { weight: 3, arbitrary: fc.constant('hard' as const) },
      { weight: 3, arbitrary: fc.constant('accepted' as const) },
      {
        weight: 2,
        arbitrary: fc.constantFrom('soft' as const, 'refused' as const, 'trace' as const, 'reinstate' as const)
      },
      { weight: 2, arbitrary: fc.constantFrom('enter' as const, 'entries' as const) }
    ),
    name: fc.constantFrom('ana', 'bo'),
    messageId: fc.integer({ min: 1, max: 12 }).map((number) => `m${number}`),
    // In whole steps, so that edges are met.
    passedMs: fc.constantFrom(0, 0, 1, HOUR_MS, 4 * HOUR_MS, 24 * HOUR_MS)
  }),
  { minLength: 5, maxLength: 40 }
)

/** Plays the same calls on a store and on the model, and expects the same answers. */
export async function expectLikeModel(
  history: readonly Step[],
  store: {
    readonly domain: string
    readonly make: (clock: VirtualClock, rule: AddressHealthRule) => AddressHealth
  }
): Promise<void> {
  const clock = virtualClock()
  const health = store.make(clock, rule)
  const model = memoryAddressHealth({ ...rule, platform: { clock, random: seededRandom(1) } })
  const play = (on: AddressHealth, { call, name, messageId: number, passedMs }: Step): Promise<unknown> => {
    // Of this history alone, on a store that others share: entries are found by the message.
    const messageId = `${number} ${store.domain}`
    const address = `${name}@${store.domain}`
    if (call === 'reinstate') return on.reinstate(address)
    if (call === 'entries') return on.entries(messageId)
    if (call === 'enter') return on.enter({ address, messageId }, [{ requestId: `${passedMs}`, invitationId: number }])
    return call === 'trace' ? on.trace({ address, messageId }) : on.record({ address, messageId }, call)
  }
  for (const step of history) {
    clock.jumpWallTo(clock.now() + step.passedMs)
    expect(await play(health, step)).toEqual(await play(model, step))
  }
}
