import { type ApprovalPolicy, type ApproverDirectory, type Channel, createDirectory } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { channel, stage } from '../stage.ts'

const addresses = { pager: 'p', desk: 'd' }
const HOUR = 3_600_000

/** Ana leads with Bo; Cy is on call; Uma asks for things through a service account that is Uma. */
const contents = (now: number) => ({
  approvers: [
    { id: 'ana', name: 'Ana', addresses, roles: ['lead'] },
    { id: 'bo', name: 'Bo', addresses, roles: ['lead', 'finance'] },
    { id: 'cy', name: 'Cy', addresses, away: [{ from: now, until: now + HOUR, delegate: 'di' }] },
    { id: 'di', name: 'Di', addresses },
    { id: 'uma', name: 'Uma', addresses },
    { id: 'svc-uma', name: 'Service of Uma', addresses, principal: 'uma' }
  ],
  groups: { leads: ['ana', 'bo'] },
  schedules: {}
})

const onTier = (...approvers: ApprovalPolicy['tiers'][number]['approvers']): ApprovalPolicy => ({
  tiers: [
    { approvers, channels: ['pager'], waitMs: 2_000 },
    { approvers: ['bo'], channels: ['desk'], waitMs: 3_000 }
  ],
  onExhausted: 'deny'
})

async function withDirectory(
  policy: ApprovalPolicy,
  wrap: (directory: ApproverDirectory) => ApproverDirectory = (d) => d
) {
  const seen = await stage({ ...policy, tiers: [{ approvers: ['x'], channels: ['pager'], waitMs: 1 }] })
  const { platform } = seen
  const directory = wrap(createDirectory(contents(platform.clock.now())))
  return stage(policy, { directory, platform })
}

describe('the seats of a tier', () => {
  it('are found in the directory when it is asked: groups, delegates, and nobody who asks', async () => {
    await using s = await withDirectory(onTier({ group: 'leads' }, 'cy', 'svc-uma'))
    const { id } = await s.open()
    const { seats } = await s.oversight.inspect(id)
    expect(seats.map(({ approver, via }) => [approver, via])).toEqual([
      ['di', { kind: 'delegate-of', of: 'cy' }],
      ['ana', { kind: 'group', of: 'leads' }],
      ['bo', { kind: 'group', of: 'leads' }]
    ])
    const [opened] = await s.entries()
    expect(opened?.detail?.['asked']).toMatchObject({
      absent: [
        { approver: 'cy', because: 'away' },
        { approver: 'svc-uma', because: 'requester' }
      ]
    })
    expect(await s.oversight.decide(id, { approver: 'cy', decision: 'approve' })).toMatchObject({
      outcome: 'not-authorized',
      because: 'not-asked'
    })
    expect(await s.oversight.decide(id, { approver: 'svc-uma', decision: 'approve' })).toMatchObject({
      outcome: 'not-authorized',
      because: 'separation-of-duties'
    })
    expect(await s.oversight.decide(id, { approver: 'di', decision: 'approve' })).toMatchObject({ outcome: 'recorded' })
  })

  it('weigh as the directory says when they vote, and those who are gone do not', async () => {
    let gone: string | undefined
    const policy: ApprovalPolicy = {
      ...onTier({ group: 'leads' }),
      strategy: { kind: 'quorum', anyOf: [[{ role: 'finance', approve: 1 }]] }
    }
    await using s = await withDirectory(policy, (directory) => ({
      ...directory,
      find: async (id, options) => (id === gone ? undefined : directory.find(id, options))
    }))
    const { id } = await s.open()
    expect(await s.oversight.decide(id, { approver: 'ana', decision: 'approve' })).toEqual({
      outcome: 'recorded',
      verdict: undefined
    })
    gone = 'bo'
    expect(await s.oversight.decide(id, { approver: 'bo', decision: 'approve' })).toEqual({
      outcome: 'not-authorized',
      because: 'not-known'
    })
    gone = undefined
    expect(await s.oversight.decide(id, { approver: 'bo', decision: 'approve' })).toMatchObject({
      outcome: 'recorded',
      verdict: { outcome: 'approved' }
    })
  })

  it('are asked for again every 5 s while the directory is away, which nobody takes for nobody', async () => {
    let away = true
    const slow: ApprovalPolicy = {
      tiers: [{ approvers: [{ group: 'leads' }], channels: ['pager'], waitMs: 60_000 }],
      onExhausted: 'deny'
    }
    await using s = await withDirectory(slow, (directory) => ({
      ...directory,
      async members(group, options) {
        if (away) throw new Error('no route to the directory')
        return directory.members?.(group, options)
      }
    }))
    const { id } = await s.open()
    expect((await s.oversight.inspect(id)).seats).toEqual([])
    expect(s.events.filter(({ type }) => type === 'directory.failed')).toHaveLength(1)
    await s.pass(4_999)
    expect(s.events.filter(({ type }) => type === 'directory.failed')).toHaveLength(1)
    await s.pass(1)
    expect(s.events.filter(({ type }) => type === 'directory.failed')).toHaveLength(2)
    away = false
    await s.pass(5_000)
    const view = await s.oversight.inspect(id)
    expect(view.seats.map(({ approver }) => approver)).toEqual(['ana', 'bo'])
    // It has its full time from there on.
    expect(view.escalatesAt).toBe(s.platform.clock.now() + 60_000)
    expect((await s.story()).map((line) => line.split(' ')[0])).toEqual([
      'request.opened',
      'tier.unseated',
      'tier.asked',
      'invitation.delivered',
      'invitation.delivered'
    ])
  })

  it('are given up for the next tier when the directory stays away for the whole wait', async () => {
    let away = true
    await using s = await withDirectory(onTier({ group: 'leads' }), (directory) => ({
      ...directory,
      async members() {
        throw new Error('no route to the directory')
      },
      async find(id, options) {
        if (away) throw new Error('no route to the directory')
        return directory.find(id, options)
      }
    }))
    const { id } = await s.open()
    away = false
    await s.pass(5_000)
    const view = await s.oversight.inspect(id)
    expect(view.seats.map(({ approver }) => approver)).toEqual(['bo'])
    const asked = (await s.entries()).find(({ action }) => action === 'tier.asked')
    expect(asked?.detail).toMatchObject({ tier: 1, after: { tier: 0, because: 'unreachable' } })
  })

  it('do not count votes whose weight the directory cannot say', async () => {
    let away = false
    await using s = await withDirectory(onTier('ana'), (directory) => ({
      ...directory,
      async find(id, options) {
        if (away) throw new Error('no route to the directory')
        return directory.find(id, options)
      }
    }))
    const { id } = await s.open()
    away = true
    await expect(s.oversight.decide(id, { approver: 'ana', decision: 'approve' })).rejects.toMatchObject({
      code: 'DIRECTORY_UNAVAILABLE'
    })
    expect((await s.oversight.inspect(id)).votes).toEqual([])
  })

  it('need a directory where policies name groups', async () => {
    await expect(stage(onTier({ group: 'leads' }))).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      detail: { issues: [{ path: 'actions.0.policy.tiers.0.approvers.0' }] }
    })
  })
})

describe('an entry of several channels', () => {
  it('is tried in order for each person, and the tier is unreachable when all have failed', async () => {
    const tiers = [
      { approvers: ['ana', 'al'], channels: [['pager', 'desk'], 'phone'], waitMs: 2_000, skipIfUnreachable: true },
      { approvers: ['bo'], channels: ['desk'], waitMs: 3_000 }
    ]
    const [pager, desk, phone] = [channel(['ana', 'al']), channel(['al']), channel(['ana', 'al'])]
    await using s = await stage({ tiers, onExhausted: 'deny' }, { channels: { pager, desk, phone } })
    const { id } = await s.open()
    await s.pass(0)
    await s.pass(0)
    expect(desk.delivered.map(({ approver }) => approver.id)).toEqual(['ana'])
    expect((await s.oversight.inspect(id)).tier).toBe(0)
    const unreachable = (await s.entries()).filter(({ action }) => action === 'invitation.unreachable')
    expect(unreachable.filter(({ detail }) => detail?.['otherwise'] === 'desk')).toHaveLength(2)
    expect(unreachable.filter(({ detail }) => detail?.['otherwise'] === undefined)).toHaveLength(3)
  })

  it('goes on when a mail that was delivered comes back', async () => {
    const tiers = [{ approvers: ['ana'], channels: [['pager', 'desk']], waitMs: 60_000 }]
    const pager = channel()
    const desk = channel()
    let bounced = false
    const mail: Channel = {
      ...pager,
      deliver: async (invitation, options) =>
        bounced ? { outcome: 'unreachable', reason: 'no such mailbox' } : pager.deliver(invitation, options)
    }
    await using s = await stage({ tiers, onExhausted: 'deny' }, { channels: { pager: mail, desk } })
    const { id } = await s.open()
    await s.pass(0)
    bounced = true
    const invitationId = pager.delivered[0]?.id ?? ''
    await s.oversight.bounced(id, { invitationId, reason: '5.1.1 no such mailbox' })
    await s.oversight.bounced(id, { invitationId, reason: '5.1.1 no such mailbox' })
    await s.oversight.bounced(id, { invitationId: 'unknown', reason: 'x' })
    await s.pass(0)
    await s.pass(0)
    expect(desk.delivered).toHaveLength(1)
    expect(await s.story()).toContain('invitation.bounced by system:delivery')
  })
})
