import type { ApproverDirectory } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { ask, channel, stage } from '../stage.ts'

const approve = (approver: string) => ({ approver, decision: 'approve' }) as const

/** Ana’s vote settles at 1,000 if nobody of more weight has voted by then; at 2,000 it is too late for anything. */
const policy = {
  tiers: [{ approvers: ['ana', 'bo', 'cy'], channels: ['pager'], waitMs: 60_000 }],
  strategy: { kind: 'quorum', anyOf: [[{ approve: 1, deny: 2 }]], objectionMs: 1_000 },
  onExhausted: 'deny',
  deadlineMs: 2_000
} as const

describe('votes that were to settle before the deadline', () => {
  it('decide when the duty comes after the deadline', async () => {
    await using s = await stage(policy)
    const { id } = await s.open()
    await s.oversight.decide(id, approve('ana'))
    await s.platform.clock.advance(2_000)
    await s.pass(0)
    expect((await s.oversight.inspect(id)).status).toBe('approved')
  })

  it('decide when a late vote comes before the duty', async () => {
    await using s = await stage(policy)
    const { id } = await s.open()
    await s.oversight.decide(id, approve('ana'))
    await s.platform.clock.advance(2_000)
    expect(await s.oversight.decide(id, { approver: 'bo', decision: 'deny', reason: 'late' })).toMatchObject({
      outcome: 'too-late',
      verdict: { outcome: 'approved', by: 'ana' }
    })
  })

  it('decide when a withdrawal comes before the duty', async () => {
    await using s = await stage(policy)
    const request = await s.open()
    await s.oversight.decide(request.id, approve('ana'))
    for (const durationMs of [1_000, 1_000]) {
      await s.platform.clock.advance(durationMs)
      expect(await request.cancel({ by: 'uma', reason: 'no longer' })).toMatchObject({
        outcome: 'already-settled',
        verdict: { outcome: 'approved', by: 'ana' }
      })
    }
  })

  it('are not voided by an edit that comes after the window and before the duty', async () => {
    await using s = await stage(policy)
    const { id } = await s.open()
    const { argumentHash } = await s.oversight.inspect(id)
    await s.oversight.decide(id, approve('ana'))
    await s.platform.clock.advance(1_000)
    const edited = await s.oversight.edit(id, {
      by: 'bo',
      detail: { limitMebibytes: 64 },
      reason: 'less',
      argumentHash
    })
    expect(edited).toMatchObject({ outcome: 'already-settled', verdict: { outcome: 'approved' } })
  })
})

describe('a tier that the directory has yet to seat', () => {
  /** Knows people, and groups only while it is not down. */
  function halfDown(): ApproverDirectory & { down: boolean } {
    return {
      down: true,
      find: async (id) => ({ id, name: id, addresses: { pager: id } }),
      async members() {
        if (this.down) throw new Error('down')
        return ['cy']
      }
    }
  }
  const tiers = [
    { approvers: ['ana'], channels: ['pager'], waitMs: 1_000 },
    { approvers: [{ group: 'leads' }], channels: ['pager'], waitMs: 60_000 }
  ]

  it('is not taken for one where nobody is left to ask', async () => {
    await using s = await stage(
      { tiers, strategy: 'any-approve', onExhausted: 'deny' },
      { directory: halfDown(), channels: { pager: channel() } }
    )
    const { id } = await s.open()
    await s.pass(0)
    await s.pass(1_000)
    expect(await s.oversight.inspect(id)).toMatchObject({ tier: 1 })
    const decided = await s.oversight.decide(id, { approver: 'ana', decision: 'deny', reason: 'no' })
    expect(decided).toMatchObject({ outcome: 'recorded', verdict: undefined })
    await s.pass(0)
    expect((await s.oversight.inspect(id)).status).toBe('pending')
  })

  it('is not passed because those of the tier before have all spoken', async () => {
    const changing = halfDown()
    const third = { approvers: ['dot'], channels: ['pager'], waitMs: 60_000 }
    await using s = await stage(
      { tiers: [...tiers, third], strategy: 'any-approve', onExhausted: 'deny' },
      { directory: changing, channels: { pager: channel() } }
    )
    const { id } = await s.open()
    await s.pass(0)
    await s.pass(1_000)
    await s.oversight.decide(id, { approver: 'ana', decision: 'deny', reason: 'no' })
    await s.pass(0)
    changing.down = false
    await s.pass(5_000)
    expect((await s.oversight.inspect(id)).seats.map(({ approver }) => approver)).toContain('cy')
  })

  it('does not let the chain say that nobody could be asked, when it was the directory that was away', async () => {
    await using s = await stage(
      { tiers: [tiers[1]].map((tier) => ({ ...tier, waitMs: 1_000 }) as never), onExhausted: 'deny' },
      { directory: halfDown(), channels: { pager: channel() } }
    )
    const request = await s.oversight.open(s.raise, { ...ask, idempotencyKey: 'out' })
    await s.pass(1_000)
    await s.pass(5_000)
    const verdict = await request.settled()
    expect(verdict).toMatchObject({ outcome: 'denied', reason: expect.stringContaining('directory') as string })
  })
})
