import { memoryTokenBucketStore } from '@enablement/core/fleet'
import type { Channel, DeliveryOutcome, Invitation } from '@enablement/oversight'
import { type SlackMethod, slackLimits } from '@enablement/oversight/slack'
import { describe, expect, inject, it } from 'vitest'
import { digestOf, invitationOf, noticeOf, type SlackBench, signal, slackBench } from './slack-bench.ts'

const WORKERS = 4
const INVITATIONS = Math.max(3, Math.ceil(6 * inject('scale')))

/** Delivers as the kernel does: what is postponed comes again after the time that was asked for. */
async function deliverAll(s: SlackBench, channel: Channel, invitations: readonly Invitation[]): Promise<void> {
  for (const invitation of invitations) {
    for (;;) {
      const delivered = await channel.deliver(invitation, { signal })
      if (delivered.outcome === 'delivered') break
      if (delivered.outcome !== 'postponed') throw new Error(delivered.outcome)
      const { afterMs } = delivered
      await new Promise<void>((resolve) => s.platform.clock.startTimer(afterMs, resolve))
    }
  }
}

const gaps = (s: SlackBench, method: SlackMethod): readonly number[] => {
  const at = s.server.calls.filter((call) => call.method === method).map((call) => call.at)
  return at.slice(1).map((each, index) => each - (at[index] ?? 0))
}

const invitations = (count: number) => Array.from({ length: count }, () => invitationOf())

describe('the rate of a method in a workspace', () => {
  it('holds over all workers together (OV-4)', async () => {
    await using s = await slackBench()
    const workers = Array.from({ length: WORKERS }, () => s.worker())
    const ends = await s.drive(...workers.map((channel) => deliverAll(s, channel, invitations(INVITATIONS))))
    expect(ends.every(({ status }) => status === 'fulfilled')).toBe(true)
    expect(s.server.countOf('chat.postMessage')).toBe(WORKERS * INVITATIONS)
    expect(Math.min(...gaps(s, 'chat.postMessage'))).toBeGreaterThanOrEqual(1_000)
  })

  it('is another one in another workspace, and for another method', async () => {
    await using s = await slackBench()
    const other = s.worker({ limits: s.limits({ workspace: 'T2' }) })
    await s.worker().deliver(invitationOf(), { signal })
    await other.deliver(invitationOf(), { signal })
    const verdict = { outcome: 'timed-out', requestId: 'r', decidedAt: 1 } as const
    await s.worker().update?.(noticeOf(invitationOf(), 'DANA:1.000001', verdict), { signal })
    expect(new Set(s.server.calls.map(({ at }) => at)).size).toBe(1)
  })

  it('is that which Slack documents, unless another is given', async () => {
    await using s = await slackBench()
    const limits = s.limits({ rates: { 'chat.postMessage': { perSecond: 5, burst: 3 } } })
    const take = async (method: SlackMethod) => (await limits[method].take()).outcome
    const taken = []
    for (let time = 0; time < 4; time++) taken.push(await take('chat.postMessage'))
    expect(taken).toEqual(['taken', 'taken', 'taken', 'throttled'])
    let forms = 0
    while ((await take('views.open')) === 'taken') forms += 1
    expect(forms).toBe(10)
  })
})

describe('a Retry-After', () => {
  it('stops all workers of the workspace for that method, and no other method (OV-4)', async () => {
    await using s = await slackBench()
    const workers = Array.from({ length: WORKERS }, () => s.worker())
    s.server.next('chat.postMessage', { limited: '30' })
    const verdict = { outcome: 'timed-out', requestId: 'r', decidedAt: 1 } as const
    await s.drive(
      ...workers.map((channel) => deliverAll(s, channel, invitations(2))),
      ...workers.map(async (channel) =>
        channel.update?.(noticeOf(invitationOf(), 'DANA:1.000001', verdict), { signal })
      )
    )
    expect(s.server.duringBlock).toEqual([])
    expect(s.server.countOf('chat.postMessage')).toBe(2 * WORKERS + 1)
    const [first, ...others] = gaps(s, 'chat.postMessage')
    expect(first).toBeGreaterThanOrEqual(30_000)
    // Afterwards the rate goes on: nobody who waited has a burst.
    expect(Math.min(...others)).toBeGreaterThanOrEqual(1_000)
    const updates = s.server.calls.filter(({ method }) => method === 'chat.update')
    const [blocked] = s.server.calls.filter(({ method }) => method === 'chat.postMessage')
    expect(updates.every(({ at }) => at < (blocked?.at ?? 0) + 5_000)).toBe(true)
  })

  it.each([
    { mishap: { limited: '7' }, waitMs: 7_000 },
    { mishap: { limited: undefined }, waitMs: 30_000 },
    { mishap: { limited: 'soon' }, waitMs: 30_000 },
    { mishap: { limited: '0' }, waitMs: 1_000 },
    { mishap: { limited: '9999999999' }, waitMs: 86_400_000 },
    { mishap: { limited: 'Tue, 24 Nov 2026 09:00:40 GMT' }, waitMs: 40_000 },
    { mishap: { limitedWord: 'ratelimited', retryAfter: '5' }, waitMs: 5_000 },
    { mishap: { limitedWord: 'rate_limited', retryAfter: '5' }, waitMs: 5_000 }
  ] as const)('of $mishap is waited for $waitMs ms', async ({ mishap, waitMs }) => {
    await using s = await slackBench()
    s.server.next('chat.postMessage', mishap)
    const postponed = await s.worker({ waitMaxMs: 0 }).deliver(invitationOf(), { signal })
    expect(postponed).toMatchObject({ outcome: 'postponed', afterMs: waitMs })
    expect(await s.worker({ waitMaxMs: 0 }).deliver(invitationOf(), { signal })).toMatchObject({ outcome: 'postponed' })
    expect(s.server.countOf('chat.postMessage')).toBe(1)
    expect(s.events).toContainEqual({
      type: 'slack.limited',
      method: 'chat.postMessage',
      by: 'slack',
      retryAfterMs: waitMs
    })
  })

  it('that fits into the wait of a delivery is waited out there', async () => {
    await using s = await slackBench()
    s.server.next('chat.postMessage', { limited: '2' })
    const [end] = await s.drive(s.worker({ waitMaxMs: 2_000 }).deliver(invitationOf(), { signal }))
    expect(end).toMatchObject({ value: { outcome: 'delivered' } })
    expect(gaps(s, 'chat.postMessage')[0]).toBeGreaterThanOrEqual(2_000)
  })
})

describe('an invitation over the limit', () => {
  const two = async (s: SlackBench, overLimit: 'postpone' | 'fall-back', waitMaxMs: number) => {
    const channel = s.worker({ overLimit, waitMaxMs })
    await channel.deliver(invitationOf(), { signal })
    const from = s.platform.clock.monotonic()
    const ends = await s.drive(...[1, 2, 3, 4].map(() => channel.deliver(invitationOf(), { signal })))
    const outcomes = ends.map((end) => (end.status === 'fulfilled' ? end.value : undefined) as DeliveryOutcome)
    return { outcomes, waitedMs: s.platform.clock.monotonic() - from }
  }

  it('is postponed, and comes again with others in one message', async () => {
    await using s = await slackBench()
    const { outcomes } = await two(s, 'postpone', 0)
    for (const outcome of outcomes) {
      expect(outcome).toEqual({
        outcome: 'postponed',
        reason: "Slack's limit of chat.postMessage is used up",
        afterMs: 1_000
      })
    }
    await s.platform.clock.advance(1_000)
    const channel = s.worker({ inspect: async () => Promise.reject(new Error('not asked')) })
    expect(await channel.digest?.(digestOf(invitations(5)), { signal })).toMatchObject({ outcome: 'delivered' })
    expect(s.server.countOf('chat.postMessage')).toBe(2)
  })

  it('is unreachable here after a bounded wait, so that the next channel is used', async () => {
    await using s = await slackBench()
    const { outcomes, waitedMs } = await two(s, 'fall-back', 2_000)
    expect(outcomes.map(({ outcome }) => outcome).sort()).toEqual([
      'delivered',
      'delivered',
      'unreachable',
      'unreachable'
    ])
    expect(waitedMs).toBeLessThanOrEqual(2_100)
  })

  it('leaves neither timer nor listener when it gives up', async () => {
    await using s = await slackBench()
    await two(s, 'fall-back', 2_000)
    expect(s.platform.clock.pendingTimers).toBe(0)
  })
})

describe('a store of limits that does not answer', () => {
  it.each([
    { onStoreFailure: 'throw', end: { status: 'rejected', reason: { code: 'STORE_UNAVAILABLE' } } },
    { onStoreFailure: 'alone', end: { status: 'fulfilled', value: { outcome: 'delivered' } } }
  ] as const)('ends a delivery as $onStoreFailure says', async ({ onStoreFailure, end }) => {
    await using s = await slackBench()
    const away = () => Promise.reject(Object.assign(new Error('away'), { code: 'STORE_UNAVAILABLE' }))
    const store = { ...memoryTokenBucketStore({ platform: s.platform }), reserve: away, pause: away }
    const limits = s.limits({ onStoreFailure }, store)
    const [delivery] = await s.drive(s.worker({ limits }).deliver(invitationOf(), { signal }))
    expect(delivery).toMatchObject(end)
  })
})

describe('the options of Slack limits', () => {
  it.each([
    { options: { workspace: '' }, path: 'workspace' },
    { options: { onStoreFailure: undefined }, path: 'onStoreFailure' },
    { options: { store: {} }, path: 'store' },
    { options: { rates: { 'chat.postMessage': { perSecond: 0, burst: 1 } } }, path: 'perSecond' },
    { options: { rates: { 'chat.delete': { perSecond: 1, burst: 1 } } }, path: 'rates.chat.delete' }
  ])('are refused at $path', ({ options, path }) => {
    const store = memoryTokenBucketStore()
    expect(() => slackLimits({ workspace: 'T1', store, onStoreFailure: 'throw', ...options } as never)).toThrow(
      expect.objectContaining({ detail: expect.objectContaining({ issues: [expect.objectContaining({ path })] }) })
    )
  })
})
