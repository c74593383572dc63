import type { ApproverDirectory } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { ask, channel, stage } from '../stage.ts'

/** Answers until it is told to hang or to fail. */
function directory(): ApproverDirectory & { does: 'answer' | 'hang' | 'fail' } {
  return {
    does: 'answer',
    async find(id) {
      if (this.does === 'fail') throw new Error('down')
      if (this.does === 'hang') await new Promise(() => {})
      return { id, name: id, addresses: { pager: id, desk: id } }
    }
  }
}

const tiers = [
  { approvers: ['ana'], channels: [['pager', 'desk']], waitMs: 60_000 },
  { approvers: ['bo'], channels: ['desk'], waitMs: 60_000 }
]

describe('a directory that hangs', () => {
  it('does not keep those waiting who need nothing of it', async () => {
    const people = directory()
    await using s = await stage(
      { tiers, onExhausted: 'deny', deadlineMs: 62_000 },
      { directory: people, channels: { pager: channel(), desk: channel() } }
    )
    await Promise.all(Array.from({ length: 65 }, (_, at) => s.open(`call-${at}`)))
    await s.pass(0)
    await s.platform.clock.advance(60_000)
    people.does = 'hang'
    const { signal } = new AbortController()
    let ended = false
    void s.oversight.duties[0]?.run({ signal }).then(() => {
      ended = true
    })
    for (let second = 0; second < 7; second++) await s.platform.clock.advance(1_000)
    expect(ended).toBe(true)
    expect(s.events.filter(({ type }) => type === 'request.timed-out')).toHaveLength(65)
  })
})

describe('a directory that is down while invitations go out', () => {
  it('makes nobody unreachable', async () => {
    const people = directory()
    const pager = channel()
    await using s = await stage(
      { tiers, onExhausted: 'deny' },
      { directory: people, channels: { pager, desk: channel() } }
    )
    const { id } = await s.open()
    people.does = 'fail'
    for (let second = 0; second < 40; second++) await s.pass(1_000)
    people.does = 'answer'
    await s.pass(5_000)
    expect(pager.delivered).toHaveLength(1)
    expect((await s.oversight.inspect(id)).tier).toBe(0)
    expect(s.events.filter(({ type }) => type === 'invitation.unreachable')).toEqual([])
  })

  it('lets no grant be used by whom it may have been issued', async () => {
    const people = directory()
    const accepting = { tiers, onExhausted: 'deny', standingGrants: 'accepted' } as const
    await using s = await stage(accepting, { directory: people, channels: { pager: channel(), desk: channel() } })
    await s.oversight.grants.issue({
      tenant: ask.tenant,
      action: s.raise.name,
      riskMax: 'critical',
      issuedBy: 'boss',
      reason: 'routine',
      ttlMs: 60_000,
      usesMax: 9
    })
    people.does = 'fail'
    const { id } = await s.open()
    expect((await s.oversight.inspect(id)).status).toBe('pending')
  })
})
