import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { testPlatform } from '@enablement/core/testing'
import type { ApprovalPolicy, Channel, OversightEvent, TierPassed } from '@enablement/oversight'
import { describe, expect, it } from 'vitest'
import { ask, askedIn, channel, runDuties, type Stage, stage, twoTiers } from '../stage.ts'

const threeTiers: ApprovalPolicy = {
  tiers: [
    { approvers: ['ana'], channels: ['pager'], waitMs: 2_000 },
    { approvers: ['bo'], channels: ['desk'], waitMs: 3_000 },
    { approvers: ['cy'], channels: ['phone'], waitMs: 5_000 }
  ],
  onExhausted: 'deny'
}

/** Tier by tier, at what offset from the opening it was asked. */
async function askedAt(s: Awaited<ReturnType<typeof stage>>): Promise<readonly (readonly [number, number])[]> {
  const entries = await s.entries()
  const openedAt = entries[0]?.at ?? 0
  return entries.flatMap((entry) => {
    const asked = askedIn(entry)
    return asked === undefined ? [] : [[asked['tier'] as number, entry.at - openedAt] as const]
  })
}

/** The tiers that passed without a decision, as the log has them. */
async function passedTiers(s: Stage): Promise<readonly TierPassed[]> {
  return (await s.entries()).flatMap(({ action, detail }) => {
    if (action === 'tier.passed') return [detail as unknown as TierPassed]
    const after = detail?.['after']
    return action === 'tier.asked' && after !== undefined ? [after as unknown as TierPassed] : []
  })
}

/** What observers were told of tiers that were asked after another one. */
const escalated = (s: Stage): readonly OversightEvent[] =>
  s.events.filter((event) => event.type === 'tier.asked' && event.after !== undefined)

describe('a chain of tiers', () => {
  const waits = [1, 2, 999, 1_000, 60_000, 86_400_000, 2 ** 31, 366 * 86_400_000]
  it.each(waits)(
    'asks the next tier %d ms after the first was reached and stayed silent, not a millisecond before',
    async (waitMs) => {
      const tiers = [{ approvers: ['ana'], channels: ['pager'], waitMs }, ...threeTiers.tiers.slice(1)]
      await using s = await stage({ tiers, onExhausted: 'deny' })
      await s.open()
      await s.pass(0)
      await s.pass(waitMs - 1)
      expect(await askedAt(s)).toEqual([[0, 0]])
      await s.pass(1)
      expect(await askedAt(s)).toEqual([
        [0, 0],
        [1, waitMs]
      ])
    }
  )

  it.each([
    { reached: 'is unreachable', pager: channel(['ana']), skip: undefined, nextAt: 2_000, because: 'unreachable' },
    { reached: 'is silent', pager: channel(), skip: undefined, nextAt: 2_000, because: 'silent' },
    { reached: 'is silent and skippable', pager: channel(), skip: true, nextAt: 2_000, because: 'silent' },
    { reached: 'is unreachable and skippable', pager: channel(['ana']), skip: true, nextAt: 0, because: 'unreachable' }
  ])('asks the second tier after $nextAt ms when the first $reached', async ({ pager, skip, nextAt, because }) => {
    const [first, ...rest] = threeTiers.tiers
    if (first === undefined) throw new Error('there is a first tier')
    const tiers = [skip === undefined ? first : { ...first, skipIfUnreachable: skip }, ...rest]
    await using s = await stage(
      { tiers, onExhausted: 'deny' },
      { channels: { pager, desk: channel(), phone: channel() } }
    )
    await s.open()
    await s.pass(0)
    if (nextAt > 0) {
      await s.pass(nextAt - 1)
      expect(await askedAt(s)).toHaveLength(1)
      await s.pass(1)
    }
    expect(await askedAt(s)).toEqual([
      [0, 0],
      [1, nextAt]
    ])
    expect((await passedTiers(s))[0]).toEqual({ tier: 0, because, lateByMs: 0 })
  })

  it('skips a tier only when the last of its invitations has failed', async () => {
    const tiers = [
      { approvers: ['ana', 'al'], channels: ['pager', 'desk'], waitMs: 2_000, skipIfUnreachable: true },
      { approvers: ['bo'], channels: ['phone'], waitMs: 1_000 }
    ]
    const some = { pager: channel(['ana', 'al']), desk: channel(['ana']), phone: channel() }
    await using reached = await stage({ tiers, onExhausted: 'deny' }, { channels: some })
    await reached.open()
    await reached.pass(0)
    expect(await askedAt(reached)).toHaveLength(1)

    const none = { pager: channel(['ana', 'al']), desk: channel(['ana', 'al']), phone: channel() }
    await using unreached = await stage({ tiers, onExhausted: 'deny' }, { channels: none })
    await unreached.open()
    await unreached.pass(0)
    expect(await askedAt(unreached)).toEqual([
      [0, 0],
      [1, 0]
    ])
  })

  it('skips an empty tier at once, and one that holds only those who ask', async () => {
    const tiers = [
      { approvers: [], channels: [], waitMs: 9_000 },
      { approvers: ['Uma', 'agent-7'], channels: ['pager'], waitMs: 9_000 },
      { approvers: ['bo'], channels: ['desk'], waitMs: 1_000 }
    ]
    await using s = await stage({ tiers, onExhausted: 'deny' })
    await s.open()
    expect(await askedAt(s)).toEqual([[2, 0]])
    expect((await s.story()).filter((line) => line.startsWith('tier.skipped'))).toHaveLength(2)
  })

  it('denies by the system, with an explanation, when every tier is exhausted; once', async () => {
    await using s = await stage(threeTiers, {
      channels: { pager: channel(['ana']), desk: channel(['bo']), phone: channel() }
    })
    const request = await s.open()
    for (const waitMs of [0, 2_000, 3_000, 5_000]) await s.pass(waitMs)
    const verdict = await request.settled()
    expect(verdict).toMatchObject({
      outcome: 'denied',
      by: 'system:escalation',
      reason: 'nobody decided within 10000 ms: 1 of 3 approvers were reached'
    })
    for (let again = 0; again < 3; again++) await s.pass(60_000)
    expect((await s.story()).filter((line) => line.startsWith('request.denied'))).toEqual([
      'request.denied by system:escalation'
    ])
    const late = await s.oversight.decide(request.id, { approver: 'cy', decision: 'approve' })
    expect(late).toEqual({ outcome: 'too-late', verdict })
  })

  it('holds an exhausted request for a decision when told to queue it, past its deadline too', async () => {
    await using s = await stage({ ...twoTiers, onExhausted: 'queue', deadlineMs: 6_000 })
    const request = await s.open()
    for (const waitMs of [0, 2_000, 3_000, 60_000]) await s.pass(waitMs)
    expect((await s.story()).filter((line) => line.startsWith('request.'))).toEqual([
      'request.opened by agent:agent-7',
      'request.queued by system:escalation'
    ])
    expect(await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })).toMatchObject({
      outcome: 'recorded',
      verdict: { outcome: 'approved', by: 'ana' }
    })
  })

  it('settles at once when there is nobody to ask but those who ask', async () => {
    const tiers = [{ approvers: ['uma'], channels: ['pager'], waitMs: 9_000 }]
    await using s = await stage({ tiers, onExhausted: 'deny' })
    expect(await (await s.open()).settled()).toMatchObject({
      outcome: 'denied',
      by: 'system:escalation',
      reason: 'nobody may decide: everyone whom the policy names asks for it, is away or is not known'
    })
  })

  it.each([-1, 0, 1])('is timed out, and not denied, by a deadline; a vote %d ms from it', async (offsetMs) => {
    await using s = await stage({ ...twoTiers, deadlineMs: 1_500 })
    const request = await s.open()
    await s.pass(0)
    await s.platform.clock.advance(1_500 + offsetMs)
    const decided = await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    if (offsetMs < 0) {
      expect(decided).toMatchObject({ outcome: 'recorded', verdict: { outcome: 'approved' } })
      return
    }
    expect(decided).toMatchObject({ outcome: 'too-late', verdict: { outcome: 'timed-out' } })
    await s.pass(0)
    expect((await s.story()).filter((line) => !line.startsWith('invitation.'))).toEqual([
      'request.opened by agent:agent-7',
      'request.timed-out by system:deadline',
      'vote.too-late by approver:ana'
    ])
    expect(await request.settled()).toMatchObject({ outcome: 'timed-out' })
  })

  it('times out by itself at the millisecond of the deadline', async () => {
    await using s = await stage({ ...twoTiers, deadlineMs: 2_500 })
    const request = await s.open()
    for (const waitMs of [0, 2_000, 499]) await s.pass(waitMs)
    expect(await askedAt(s)).toHaveLength(2)
    await s.pass(1)
    expect(await request.settled()).toEqual({
      outcome: 'timed-out',
      requestId: request.id,
      decidedAt: ((await s.entries())[0]?.at ?? 0) + 2_500
    })
  })

  it('is carried on from the file by the next process when one is lost in every wait', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'oversight-'))
    const platform = testPlatform()
    const phone = channel()
    const channels = { pager: channel(['ana']), desk: channel(['bo']), phone }
    const start = (): ReturnType<typeof stage> =>
      stage(threeTiers, { disk: sqliteDatabase({ path: path.join(folder, 'oversight.db') }), platform, channels })
    try {
      const first = await start()
      const { id } = await first.open()
      await first.db.close()
      // Each stretch is driven by a process of its own, which is gone before the wait is over.
      for (const stretchMs of [0, 700, 1_300, 1, 2_998, 1, 2_500, 2_499]) {
        await using driver = await start()
        await driver.pass(stretchMs)
      }
      await using last = await start()
      expect(await askedAt(last)).toEqual([
        [0, 0],
        [1, 2_000],
        [2, 5_000]
      ])
      expect(phone.delivered).toHaveLength(1)
      const { oversight } = last
      expect(await oversight.decide(id, { approver: 'cy', decision: 'approve' })).toMatchObject({ outcome: 'recorded' })
      expect(await oversight.request(last.raise, id).settled()).toMatchObject({ outcome: 'approved', by: 'cy' })
      expect(await last.story()).toContain('request.approved by approver:cy')
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('goes on one tier at a time after a night without workers', async () => {
    await using s = await stage(threeTiers)
    await s.open()
    await s.pass(0)
    await s.pass(3_600_000)
    expect(await askedAt(s)).toEqual([
      [0, 0],
      [1, 3_600_000]
    ])
    await s.pass(2_999)
    expect(await askedAt(s)).toHaveLength(2)
    await s.pass(1)
    expect(await askedAt(s)).toHaveLength(3)
  })

  it('begins the wait of a tier anew, once, when nobody was alive to invite it', async () => {
    const pager = channel()
    await using s = await stage(threeTiers, { channels: { pager, desk: channel(), phone: channel() } })
    await s.open()
    await s.platform.clock.advance(10_000)
    await runDuties(s.oversight)
    expect(pager.delivered).toHaveLength(1)
    expect(await askedAt(s)).toEqual([[0, 0]])
    await s.pass(2_000)
    expect(await askedAt(s)).toEqual([
      [0, 0],
      [1, 12_000]
    ])
    expect((await s.entries()).find(({ action }) => action === 'tier.started-late')?.detail).toMatchObject({
      tier: 0,
      lateByMs: 8_000
    })
  })

  it('does not hold up the chain for an outbox that stands still', async () => {
    await using s = await stage(threeTiers)
    await s.open()
    const [escalation] = s.oversight.duties
    for (let second = 0; second < 5; second++) {
      await s.platform.clock.advance(1_000)
      await escalation?.run({ signal: new AbortController().signal })
    }
    expect(await askedAt(s)).toEqual([
      [0, 0],
      [1, 4_000]
    ])
  })

  it('follows the clock of the store, wherever the clock of the process stands', async () => {
    await using s = await stage(threeTiers)
    await s.open()
    await s.pass(0)
    const aheadByADay = s.another({ platform: testPlatform({ now: s.platform.clock.now() + 86_400_000 }) })
    await s.platform.clock.advance(1_999)
    await runDuties(aheadByADay)
    expect(await askedAt(s)).toHaveLength(1)
    await s.platform.clock.advance(1)
    await runDuties(aheadByADay)
    expect(await askedAt(s)).toHaveLength(2)
  })

  it('keeps asking the others when one request cannot be read', async () => {
    await using s = await stage(threeTiers)
    const broken = await s.open('broken')
    const whole = await s.open('whole')
    await s.pass(0)
    await s.db.run(function* () {
      yield { text: "update oversight_requests set matter = 'gone' where id = ?", values: [broken.id] }
    })
    await s.platform.clock.advance(2_000)
    const signal = new AbortController().signal
    const [escalation] = s.oversight.duties
    expect(await escalation?.run({ signal })).toMatchObject({ handled: 1 })
    expect(escalated(s)).toMatchObject([{ requestId: whole.id }])
    // Left for the next poll: a worker that backed off for its sake would make the others late.
    expect(await escalation?.run({ signal })).toEqual({ handled: 0, nextDueInMs: undefined })
    expect(s.events.filter(({ type }) => type === 'duty.failed')).toMatchObject([
      { requestId: broken.id },
      { requestId: broken.id }
    ])
  })

  it('reaches the one that can be read behind a whole batch that cannot', async () => {
    await using s = await stage(threeTiers)
    await Promise.all(Array.from({ length: 256 }, (_, index) => s.open(`broken-${index}`)))
    await s.db.run(function* () {
      yield { text: "update oversight_requests set matter = 'gone', next_due_at = 1", values: [] }
      yield { text: 'delete from outbox_messages', values: [] }
    })
    const whole = await s.open('whole')
    const [, delivery] = s.oversight.duties
    await delivery?.run({ signal: new AbortController().signal })
    await s.platform.clock.advance(2_000)
    expect(await s.oversight.duties[0]?.run({ signal: new AbortController().signal })).toMatchObject({ handled: 1 })
    expect(escalated(s)).toMatchObject([{ requestId: whole.id }])
  })

  it('invites for the requests that can be read when others cannot', async () => {
    const pager = channel()
    await using s = await stage(threeTiers, { channels: { pager, desk: channel(), phone: channel() } })
    const broken = await s.open('broken')
    await s.open('whole')
    await s.db.run(function* () {
      yield { text: "update oversight_requests set matter = 'gone' where id = ?", values: [broken.id] }
    })
    await s.pass(0)
    expect(pager.delivered).toHaveLength(1)
    expect(s.events.filter(({ type }) => type === 'delivery.failed')).toMatchObject([
      { kind: 'invitation', requestId: broken.id, error: { code: 'STORE_DAMAGED' } }
    ])
  })

  it('judges each tier by its own invitations', async () => {
    await using s = await stage(threeTiers, {
      channels: { pager: channel(), desk: channel(['bo']), phone: channel() }
    })
    await s.open()
    for (const waitMs of [0, 2_000, 3_000]) await s.pass(waitMs)
    expect((await passedTiers(s)).map(({ because }) => because)).toEqual(['silent', 'unreachable'])
    await s.pass(60_000)
    expect((await s.story()).at(-1)).toBe('request.denied by system:escalation')
  })

  it('asks each tier once however many workers run at the same time', async () => {
    await using s = await stage(threeTiers)
    for (let index = 0; index < 50; index++) await s.open(`call-${index}`)
    const workers = Array.from({ length: 8 }, () => s.another())
    for (const waitMs of [0, 2_000, 3_000, 5_000]) {
      await s.platform.clock.advance(waitMs)
      await Promise.all(workers.map(runDuties))
    }
    const asked = s.events.filter(({ type }) => type === 'tier.asked')
    expect(new Set(asked.map((event) => JSON.stringify(event))).size).toBe(100)
    expect(asked).toHaveLength(100)
    expect(s.events.filter(({ type }) => type === 'request.denied')).toHaveLength(50)
  })

  it('ends a run between items when its worker closes', async () => {
    await using s = await stage(threeTiers)
    await s.open()
    const closing = new AbortController()
    closing.abort(new Error('closing'))
    const [escalation, , execution] = s.oversight.duties
    for (const duty of [escalation, execution])
      await expect(duty?.run({ signal: closing.signal })).rejects.toThrow('closing')
  })

  it('knows the people it names through the directory, at the time of delivery', async () => {
    const desk = channel()
    const unasked: Channel = { deliver: () => Promise.reject(new Error('nobody should be asked here')) }
    const directory = {
      find: async (approver: string, { tenant }: { readonly tenant: string }) =>
        tenant !== ask.tenant || (approver !== 'bo' && approver !== 'ana')
          ? undefined
          : { id: approver, name: `${approver} Li`, addresses: { desk: 'room 4' } }
    }
    await using s = await stage(twoTiers, { channels: { pager: unasked, desk }, directory })
    await s.open()
    await s.pass(0)
    await s.pass(2_000)
    expect(desk.delivered).toMatchObject([
      { approver: { id: 'bo', name: 'bo Li', address: 'room 4', alternatives: [] } }
    ])
    expect(await s.story()).toContain('invitation.unreachable by system:delivery')
  })
})
