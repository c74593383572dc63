import { createCompletenessCheck } from '@enablement/core/audit'
import { oversightAuditSources } from '@enablement/oversight/sql'
import { describe, expect, it } from 'vitest'
import { channel, type Stage, stage, twoTiers } from '../stage.ts'

const SOURCE = 'oversight.requests'

/** Requests in all the states that there are. */
async function busyDay(s: Stage): Promise<void> {
  const [approved, denied, doubtful, revoked, edited, cancelled] = await Promise.all(
    ['approved', 'denied', 'doubtful', 'revoked', 'edited', 'cancelled'].map((key) => s.open(key))
  )
  await s.pass(0)
  const decide = (id: string | undefined, decision: 'approve' | 'deny') =>
    s.oversight.decide(id ?? '', { approver: 'ana', decision, reason: 'because' })
  await decide(approved?.id, 'approve')
  await approved?.execute(async () => 1)
  await decide(denied?.id, 'deny')
  await decide(doubtful?.id, 'approve')
  await doubtful?.execute(() => Promise.reject(new Error('the line went dead')))
  await decide(revoked?.id, 'approve')
  await s.oversight.revoke(revoked?.id ?? '', { by: 'bo', reason: 'no longer' })
  const { argumentHash } = await s.oversight.inspect(edited?.id ?? '')
  await s.oversight.edit(edited?.id ?? '', { by: 'ana', detail: { limitMebibytes: 1 }, reason: 'less', argumentHash })
  await s.oversight.comment(edited?.id ?? '', { by: 'ana', text: 'see the ticket' })
  await decide(edited?.id, 'approve')
  await cancelled?.cancel({ by: 'agent-7', reason: 'no longer needed' })
  const late = await s.open('late')
  await s.pass(0)
  await s.pass(2_000)
  await s.pass(3_000)
  expect(await late.settled()).toMatchObject({ outcome: 'denied', by: 'system:escalation' })
}

const checkOf = (s: Stage) =>
  createCompletenessCheck({ db: s.db, sources: oversightAuditSources(s.db.dialect), pageRows: 3 })

async function tamper(s: Stage, text: string, ...values: readonly string[]): Promise<void> {
  await s.db.run(function* () {
    const { changes } = yield { text, values }
    expect(changes).toBeGreaterThan(0)
  })
}

describe('the completeness check', () => {
  it('finds nothing where everything went its way', async () => {
    await using s = await stage({ ...twoTiers, deadlineMs: 90_000 })
    await busyDay(s)
    const report = await checkOf(s).check(SOURCE)
    expect(report).toMatchObject({ outcome: 'complete', gaps: [] })
    expect(report.checked).toBeGreaterThan(25)
  })

  const approvedId = async (s: Stage): Promise<string> =>
    (await s.oversight.list({ tenant: 'acme', limit: 200 })).requests.find(
      ({ status, execution }) => status === 'approved' && execution.state === 'executed'
    )?.id ?? ''

  const gaps: readonly [string, (s: Stage, id: string) => Promise<void>, readonly string[]][] = [
    [
      'a verdict without its entry',
      (s, id) =>
        tamper(s, "delete from audit_entries where action = 'request.approved' and subject = ?", `request:${id}`),
      ['request.approved']
    ],
    [
      'a vote without its entry',
      (s, id) =>
        tamper(s, "delete from audit_entries where action = 'vote.recorded' and subject like ?", `request:${id}/%`),
      ['vote.recorded']
    ],
    [
      'an execution without its entry',
      (s, id) =>
        tamper(s, "delete from audit_entries where action = 'execution.started' and subject = ?", `request:${id}`),
      ['execution.started']
    ],
    [
      'a verdict without a decision',
      (s, id) =>
        tamper(s, "update oversight_requests set course = json_set(course, '$.votes', json('[]')) where id = ?", id),
      ['contradiction.verdict-without-decision']
    ],
    [
      'an execution without an approval, whose verdict the log has',
      (s, id) =>
        tamper(
          s,
          "update oversight_requests set status = 'pending', course = json_remove(course, '$.settlement') where id = ?",
          id
        ),
      ['contradiction.execution-without-approval', 'contradiction.verdict-lost']
    ],
    [
      'arguments that are not those of the hash',
      (s, id) =>
        tamper(
          s,
          "update oversight_requests set matter = json_set(matter, '$.detail.limitMebibytes', 4096) where id = ?",
          id
        ),
      ['contradiction.arguments-altered']
    ],
    [
      'a request that cannot be read',
      (s, id) => tamper(s, "update oversight_requests set matter = 'gone' where id = ?", id),
      ['contradiction.unreadable']
    ]
  ]
  it.each(gaps)('finds %s, and nothing else', async (_, damage, expected) => {
    await using s = await stage()
    await busyDay(s)
    const id = await approvedId(s)
    await damage(s, id)
    const report = await checkOf(s).check(SOURCE)
    expect(report.gaps.map(({ action }) => action).toSorted()).toEqual(expected)
    expect(report.gaps.every(({ subject }) => subject.startsWith(`request:${id}`))).toBe(true)
  })

  it('finds a later tier without its entry, although the opening has that of the first', async () => {
    await using s = await stage()
    await busyDay(s)
    await tamper(s, "delete from audit_entries where action = 'tier.asked'")
    expect((await checkOf(s).check(SOURCE)).gaps).toMatchObject([{ action: 'tier.asked' }])
  })

  it('finds an invitation that no message waits to bring, once it has waited for an hour', async () => {
    const tiers = [{ approvers: ['ana'], channels: ['pager'], waitMs: 86_400_000 }]
    await using s = await stage({ tiers, onExhausted: 'deny' }, { channels: { pager: channel(), desk: channel() } })
    const lost = await s.open('lost')
    const waiting = await s.open('waiting')
    await tamper(s, 'delete from outbox_messages where payload_text like ?', `%${lost.id}%`)
    await s.platform.clock.advance(3_599_999)
    expect((await checkOf(s).check(SOURCE)).gaps).toEqual([])
    await s.platform.clock.advance(1)
    expect((await checkOf(s).check(SOURCE)).gaps).toMatchObject([
      { subject: `request:${lost.id}`, action: 'contradiction.invitation-without-message' }
    ])
    expect(waiting.id).not.toBe(lost.id)
  })

  it('does not find again what somebody has looked at and explained', async () => {
    await using s = await stage()
    await busyDay(s)
    const id = await approvedId(s)
    await tamper(
      s,
      "update oversight_requests set matter = json_set(matter, '$.detail.limitMebibytes', 4096) where id = ?",
      id
    )
    const [gap] = (await checkOf(s).check(SOURCE)).gaps
    const { subject = '', action = '' } = gap ?? {}
    await s.audit.record({
      tenant: 'acme',
      actor: 'operator:carol',
      action,
      subject,
      detail: { because: 'restored by hand' }
    })
    expect((await checkOf(s).check(SOURCE)).gaps).toEqual([])
  })

  it('is made every hour by a duty, which tells of each gap', async () => {
    await using s = await stage()
    await busyDay(s)
    const found: string[] = []
    const check = createCompletenessCheck({
      db: s.db,
      sources: oversightAuditSources(s.db.dialect),
      observe: (event) => found.push(event.type === 'audit.gap-found' ? event.action : event.type)
    })
    const { signal } = new AbortController()
    const run = async (): Promise<void> => {
      while ((await check.duty.run({ signal })).handled > 0);
    }
    await run()
    expect(found).toEqual(['audit.completeness-swept'])
    await tamper(s, "delete from audit_entries where action = 'request.revoked'")
    await s.platform.clock.advance(3_600_000)
    await run()
    expect(found).toEqual(['audit.completeness-swept', 'request.revoked', 'audit.completeness-swept'])
  })
})

describe('the story of a request', () => {
  it('is all that the log says about it, in order, votes for earlier versions too', async () => {
    await using s = await stage({ ...twoTiers, strategy: 'any-approve' })
    const request = await s.open()
    await s.open('other')
    await s.pass(0)
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'deny', reason: 'too much' })
    const { argumentHash } = await s.oversight.inspect(request.id)
    await s.oversight.edit(request.id, { by: 'ana', detail: { limitMebibytes: 1 }, reason: 'less', argumentHash })
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    const { request: view, entries } = await s.oversight.story(request.id)
    expect(view.status).toBe('approved')
    expect(entries.map(({ action }) => action)).toEqual([
      'request.opened',
      'invitation.delivered',
      'vote.recorded',
      'request.edited',
      'vote.recorded',
      'request.approved'
    ])
    const exported: string[] = []
    const range = { tenant: 'acme', from: view.openedAt, until: view.openedAt + 1 }
    for await (const story of s.oversight.export(range)) exported.push(story.request.id)
    expect(exported).toHaveLength(2)
    for await (const _ of s.oversight.export({ ...range, until: view.openedAt }))
      throw new Error('nothing was opened then')
  })
})

describe('the statistics', () => {
  it('say how soon requests were decided, and by whom', async () => {
    await using s = await stage()
    await busyDay(s)
    const report = await s.oversight.statistics({
      tenant: 'acme',
      from: 0,
      until: s.platform.clock.now() + 1,
      targetMs: { medium: 1_000 }
    })
    expect(report).toMatchObject({ automatic: { byGrant: 0, bySystem: 1 } })
    expect(report.approvers.map(({ approver }) => approver)).toEqual(['ana', 'bo'])
  })
})
