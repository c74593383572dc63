import type { EffectPolicy, PartitionCounts, SendOutcome } from '@enablement/runtime/network'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject } from 'vitest'
import { type Fate, simulatedNetwork } from './simulated-network.ts'

const scale = inject('scale')

const ENTRIES_MAX = 6
const BYTES_MAX = 100
const AGE_MAX_MS = 60_000

type Step =
  | {
      readonly do: 'send'
      readonly policy: EffectPolicy
      readonly lane: 'x' | 'y'
      readonly bytes: number
      readonly loads: boolean
      readonly deadlineMs: number | undefined
      readonly times: number
    }
  | { readonly do: 'abort'; readonly which: number }
  | { readonly do: 'network'; readonly up: boolean }
  | { readonly do: 'fates'; readonly fates: readonly Fate[] }
  | { readonly do: 'advance'; readonly ms: number }
  | { readonly do: 'wall'; readonly to: number }

const fates = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.constant<Fate>('reply') },
    { weight: 1, arbitrary: fc.constantFrom<Fate>('unsent', 'early', 'late', 'failed', 'silent') }
  ),
  { minLength: 1, maxLength: 6 }
)

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('send' as const),
      policy: fc.constantFrom<EffectPolicy>('safe', 'idempotent', 'keyed', 'never'),
      lane: fc.constantFrom('x' as const, 'y' as const),
      bytes: fc.constantFrom(0, 10, 45, 60),
      loads: fc.boolean(),
      deadlineMs: fc.constantFrom(undefined, undefined, undefined, 500, 20_000),
      times: fc.constantFrom(1, 1, 3)
    })
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('abort' as const), which: fc.nat(40) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('network' as const), up: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('fates' as const), fates }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.constantFrom(0, 1, 300, 5_000, 30_000) })
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('wall' as const), to: fc.constantFrom(0, 4_000_000_000_000) }) }
)

interface Sent {
  readonly name: string
  readonly sequence: number
  readonly policy: EffectPolicy
  readonly lane: string
  readonly whileAway: boolean
  readonly giveUp: AbortController
  /** Endings so far: there must be one. */
  readonly ends: (SendOutcome<string> | 'aborted')[]
}

describe('requests under partitions', () => {
  test.prop(
    {
      seed: fc.integer(),
      unsentWrites: fc.constantFrom('refuse' as const, 'buffer' as const),
      steps: fc.array(step, { maxLength: 40 })
    },
    {
      numRuns: Math.min(Math.ceil(60 * scale), 1_200)
    }
  )('end once each, in order, and none is sent more often than it may be', async ({ seed, unsentWrites, steps }) => {
    const net = simulatedNetwork(
      {
        entriesMax: ENTRIES_MAX,
        bytesMax: BYTES_MAX,
        bodyBytesMax: 50,
        ageMaxMs: AGE_MAX_MS,
        replay: { perSecond: 20, burst: 2, lanesMax: 2 },
        unsentWrites
      },
      seed
    )
    const { clock } = net.platform
    const all: Sent[] = []
    /** Names in the order in which their first attempts reached the network. */
    const begun: string[] = []
    let drawn: readonly Fate[] = ['reply']
    let draws = 0
    net.fate = (name, attempt) => {
      if (attempt === 1) begun.push(name)
      return drawn[draws++ % drawn.length] as Fate
    }

    const check = (): void => {
      const { submitted, replied, refused, expired, replyLost, failed, aborted, waiting, sending, bytes } =
        net.guard.statistics()
      expect(replied + refused + expired + replyLost + failed + aborted + waiting + sending).toBe(submitted)
      expect(submitted).toBe(all.length)
      expect(waiting).toBeLessThanOrEqual(ENTRIES_MAX)
      expect(bytes).toBeLessThanOrEqual(BYTES_MAX)
    }

    for (const now of steps) {
      if (now.do === 'send') {
        for (let time = 0; time < now.times; time++) {
          const sequence = all.length
          const sent: Sent = {
            name: `${now.policy} ${sequence}`,
            sequence,
            policy: now.policy,
            lane: now.lane,
            whileAway: net.monitor.state !== 'connected',
            giveUp: new AbortController(),
            ends: []
          }
          all.push(sent)
          const body = now.loads
            ? { load: (room: { take(bytes: number): boolean }) => clock.advance(0).then(() => room.take(now.bytes)) }
            : { bytes: now.bytes }
          const request = net.request(sent.name, {
            policy: now.policy,
            ...(now.policy === 'keyed' ? { idempotencyKey: sent.name.replace(' ', '-') } : {}),
            lane: now.lane,
            ...(now.deadlineMs === undefined ? {} : { deadlineMs: now.deadlineMs }),
            ...body
          })
          net.guard.send(request, { signal: sent.giveUp.signal }).then(
            (outcome) => sent.ends.push(outcome),
            () => sent.ends.push('aborted')
          )
        }
      } else if (now.do === 'abort') all[now.which]?.giveUp.abort()
      else if (now.do === 'network') net.up = now.up
      else if (now.do === 'fates') drawn = now.fates
      else if (now.do === 'wall') clock.jumpWallTo(now.to)
      else await clock.advance(now.ms)
      check()
    }

    // Everything heals, but for what stays silent until somebody gives up.
    net.up = true
    net.fate = (name, attempt) => {
      if (attempt === 1) begun.push(name)
      return 'reply'
    }
    await clock.advance(10 * AGE_MAX_MS)
    for (const { ends, giveUp } of all) if (ends.length === 0) giveUp.abort()
    await clock.advance(0)
    check()
    expect(net.guard.statistics()).toMatchObject({ waiting: 0, sending: 0, bytes: 0 })

    for (const { name, policy, ends } of all) {
      expect(ends, name).toHaveLength(1)
      const end = ends[0]
      const arrived = net.arrivals.filter((arrival) => arrival === name).length
      if (policy === 'never') expect(arrived, name).toBeLessThanOrEqual(1)
      if (end === undefined || end === 'aborted') continue
      // What is said to have had no effect has had none; what is said to have been answered arrived.
      if ('sent' in end && !end.sent) expect(arrived, name).toBe(0)
      if (end.outcome === 'replied') expect(arrived, name).toBeGreaterThanOrEqual(1)
      if (end.outcome === 'expired' && end.limit === 'age')
        expect(end.waitedMs, name).toBeGreaterThanOrEqual(AGE_MAX_MS)
    }
    for (const key of net.keys) if (key !== undefined) expect(key).toMatch(/^keyed-\d+$/)

    // What came while the network was away was sent in the order in which it came, lane by lane.
    const bySequence = new Map(all.map((sent) => [sent.name, sent]))
    for (const lane of ['x', 'y']) {
      const replayed = begun
        .map((name) => bySequence.get(name) as Sent)
        .filter((sent) => sent.lane === lane && sent.whileAway)
      expect(replayed.map(({ sequence }) => sequence)).toEqual(
        replayed.map(({ sequence }) => sequence).toSorted((a, b) => a - b)
      )
    }

    const counts = net.events.flatMap((event): PartitionCounts[] => ('counts' in event ? [event.counts] : []))
    for (const { buffered, replayed, expired, aborted, failed, waiting } of counts) {
      expect(replayed + expired + aborted + failed + waiting).toBe(buffered)
    }
    await net.close()
    expect(clock.pendingTimers).toBe(0)
  })
})
