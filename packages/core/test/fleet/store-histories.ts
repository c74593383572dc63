import type {
  BreakerStateStore,
  BucketAnswer,
  ProbeAnswer,
  SharedStanding,
  TokenBucketStore
} from '@enablement/core/fleet'
import type { VirtualClock } from '@enablement/core/testing'
import { fc } from '@fast-check/vitest'
import { expect } from 'vitest'

/** 2040-01-01: the keys of a clock that shows less would be gone at once. */
export const START_AT = Date.UTC(2040, 0, 1)

/** How far the store's clock has moved since the last call, mostly ahead. */
const passedMs = fc.oneof(
  { weight: 9, arbitrary: fc.integer({ min: 0, max: 300 }) },
  { weight: 1, arbitrary: fc.integer({ min: -500, max: 0 }) }
)

interface BreakerCall {
  readonly call: 'read' | 'open' | 'claim' | 'close' | 'reset'
  /** Which generation is claimed to be known: the n-th last one that was seen. */
  readonly known: number
  readonly owner: string
  readonly ms: number
  readonly passedMs: number
}

export const breakerHistory: fc.Arbitrary<BreakerCall[]> = fc.array(
  fc.record({
    call: fc.constantFrom('read', 'open', 'open', 'claim', 'claim', 'claim', 'close', 'reset'),
    known: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(3) }),
    owner: fc.constantFrom('one', 'two', 'three'),
    ms: fc.integer({ min: 1, max: 400 }),
    passedMs
  }),
  { minLength: 1, maxLength: 40, size: 'max' }
)

/** Plays the same calls on all stores, and expects the same answers, generations included. */
export async function playBreaker(
  history: readonly BreakerCall[],
  clock: VirtualClock,
  name: string,
  stores: readonly BreakerStateStore[]
): Promise<void> {
  const seen: number[] = [0]
  for (const { call, known, owner, ms, passedMs: passed } of history) {
    clock.jumpWallTo(clock.now() + passed)
    const generation = seen.at(-1 - known) ?? 0
    const answers: (SharedStanding | ProbeAnswer)[] = []
    for (const store of stores) {
      if (call === 'read') answers.push(await store.read(name))
      else if (call === 'open')
        answers.push(await store.open(name, { generation, breaks: ms, breakMs: ms, breakLeftMs: ms }))
      else if (call === 'claim') answers.push(await store.claimProbe(name, { generation, owner, leaseMs: ms }))
      else if (call === 'close') answers.push(await store.close(name, { generation }))
      else answers.push(await store.reset(name))
    }
    const [first, ...others] = answers
    for (const other of others) expect(first).toEqual(other)
    const standing = first !== undefined && 'standing' in first ? first.standing : first
    if (standing !== undefined && standing.generation !== seen.at(-1)) seen.push(standing.generation)
  }
}

interface BucketCall {
  readonly call: 'reserve' | 'cancel' | 'pause'
  readonly perSecond: number
  readonly burst: number
  readonly tokens: number
  readonly waitMaxMs: number
  readonly key: number
  readonly passedMs: number
}

/** Rates that have no short binary form, and tokens that must be waited for. */
export const bucketHistory: fc.Arbitrary<BucketCall[]> = fc.array(
  fc.record({
    call: fc.constantFrom('reserve', 'reserve', 'reserve', 'reserve', 'cancel', 'pause'),
    perSecond: fc.constantFrom(1 / 3, 0.7692307692307693, 10, 10, 10, 333.3),
    burst: fc.constantFrom(1, 5, 5, 5, 20),
    tokens: fc.nat(6),
    waitMaxMs: fc.constantFrom(0, 0, 150.5, 86_400_000),
    key: fc.nat(12),
    passedMs: fc.oneof(
      { weight: 9, arbitrary: passedMs },
      { weight: 1, arbitrary: fc.constantFrom(30_000, 86_400_000) }
    )
  }),
  { minLength: 1, maxLength: 40, size: 'max' }
)

/** Plays the same claims, cancellations and pauses on all stores, and expects the same answers, to the last bit of each double. */
export async function playBucket(
  history: readonly BucketCall[],
  clock: VirtualClock,
  bucket: string,
  stores: readonly TokenBucketStore[]
): Promise<void> {
  for (const { call, perSecond, burst, tokens, waitMaxMs, key, passedMs: passed } of history) {
    clock.jumpWallTo(clock.now() + passed)
    const idempotencyKey = `key-${key}`
    const answers: (BucketAnswer | number)[] = []
    for (const store of stores) {
      const rule = { perSecond, burst }
      if (call === 'cancel') answers.push(await store.cancel(bucket, idempotencyKey))
      else if (call === 'reserve')
        answers.push(await store.reserve(bucket, { rule, tokens, waitMaxMs, idempotencyKey }))
      else await store.pause(bucket, { rule, durationMs: waitMaxMs })
    }
    const [first, ...others] = answers
    for (const other of others) expect(first).toEqual(other)
  }
}
