import type { Channel, DeliveryOutcome, Digest } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { channel, type ScriptedChannel, stage } from '../stage.ts'

const tiers = [{ approvers: ['ana'], channels: ['pager'], waitMs: 600_000 }]

/** A channel that takes digests, as told. */
function digesting(answer: (digest: Digest) => DeliveryOutcome = () => ({ outcome: 'delivered', receipt: 'digest' })) {
  const digests: Digest[] = []
  const single: ScriptedChannel = channel()
  const pager: Channel & { readonly digests: readonly Digest[]; readonly single: ScriptedChannel } = {
    ...single,
    deliver: single.deliver,
    async digest(digest) {
      const outcome = answer(digest)
      if (outcome.outcome === 'delivered') digests.push(digest)
      return outcome
    },
    digests,
    single
  }
  return pager
}

describe('a storm of requests', () => {
  it('reaches each person as a few messages, and every invitation has its receipt', async () => {
    const pager = digesting()
    await using s = await stage({ tiers, onExhausted: 'deny' }, { channels: { pager, desk: channel() } })
    const requests = await Promise.all(Array.from({ length: 50 }, (_, n) => s.open(`call-${n}`)))
    await s.pass(0)
    expect(pager.digests.map(({ invitations }) => invitations.length)).toEqual([20, 20, 10])
    expect(pager.digests.map(({ more }) => more)).toEqual([30, 10, 0])
    expect(pager.single.delivered).toEqual([])
    const shown = pager.digests.flatMap(({ invitations }) => invitations.map(({ requestId }) => requestId))
    expect(new Set(shown)).toEqual(new Set(requests.map(({ id }) => id)))
    expect((await s.story()).filter((line) => line.startsWith('invitation.delivered'))).toHaveLength(50)
    await s.oversight.decide(requests[3]?.id ?? '', { approver: 'ana', decision: 'approve' })
    await s.pass(0)
    expect(pager.single.updated).toMatchObject([{ receipt: 'digest', verdict: { outcome: 'approved' } }])
  })

  it('is none with four: each goes out by itself', async () => {
    const pager = digesting()
    await using s = await stage({ tiers, onExhausted: 'deny' }, { channels: { pager, desk: channel() } })
    await Promise.all(Array.from({ length: 4 }, (_, n) => s.open(`call-${n}`)))
    await s.pass(0)
    expect(pager.digests).toEqual([])
    expect(pager.single.delivered).toHaveLength(4)
  })

  it('waits as one while the channel’s limit is used up', async () => {
    let limited = true
    const pager = digesting(() =>
      limited ? { outcome: 'postponed', reason: 'RATE', afterMs: 5_000 } : { outcome: 'delivered' }
    )
    await using s = await stage({ tiers, onExhausted: 'deny' }, { channels: { pager, desk: channel() } })
    await Promise.all(Array.from({ length: 6 }, (_, n) => s.open(`call-${n}`)))
    await s.pass(0)
    limited = false
    await s.pass(4_999)
    expect(pager.digests).toEqual([])
    for (let second = 0; second < 10; second++) await s.pass(1_000)
    expect(pager.digests.map(({ invitations }) => invitations.length)).toEqual([6])
  })

  it('brings nothing of requests that have ended', async () => {
    const pager = digesting()
    await using s = await stage({ tiers, onExhausted: 'deny' }, { channels: { pager, desk: channel() } })
    const requests = await Promise.all(Array.from({ length: 8 }, (_, n) => s.open(`call-${n}`)))
    for (const request of requests.slice(0, 4)) await request.cancel({ by: 'agent-7', reason: 'no longer needed' })
    await s.pass(0)
    expect(pager.digests).toEqual([])
    expect(pager.single.delivered).toHaveLength(4)
  })
})
