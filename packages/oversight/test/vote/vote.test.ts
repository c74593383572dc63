import { describe, expect, it } from 'vitest'
import { ask, channel, stage, twoTiers } from '../stage.ts'

describe('a vote', () => {
  it('denies with the reason that the approver gave', async () => {
    await using s = await stage()
    const request = await s.open()
    const ballot = { approver: 'ana', decision: 'deny', reason: 'the job leaks' } as const
    const decided = await s.oversight.decide(request.id, ballot)
    expect(decided).toMatchObject({
      outcome: 'recorded',
      verdict: { outcome: 'denied', by: 'ana', reason: 'the job leaks', requestId: request.id }
    })
    expect((await s.entries()).at(-1)).toMatchObject({
      actor: 'approver:ana',
      action: 'request.denied',
      subject: `request:${request.id}`,
      detail: { by: 'ana', reason: 'the job leaks' }
    })
  })

  it.each([
    ['a denial without a reason', { approver: 'ana', decision: 'deny' }, 'reason'],
    ['a blank reason', { approver: 'ana', decision: 'deny', reason: '  ' }, 'reason'],
    ['a reason with a lone surrogate', { approver: 'ana', decision: 'approve', reason: '\ud800' }, 'reason'],
    ['a reason with a NUL', { approver: 'ana', decision: 'approve', reason: 'a\0b' }, 'reason'],
    ['a reason beyond its bound', { approver: 'ana', decision: 'deny', reason: 'x'.repeat(2_001) }, 'reason'],
    ['a decision that is none', { approver: 'ana', decision: 'maybe' }, 'decision'],
    ['an approver with a zero-width space', { approver: 'an\u200ba', decision: 'approve' }, 'approver'],
    ['an approver with space around', { approver: 'ana ', decision: 'approve' }, 'approver'],
    ['an approver that is the system', { approver: 'System:escalation', decision: 'approve' }, 'approver'],
    ['an approver without a name', { approver: '', decision: 'approve' }, 'approver'],
    ['an unknown option', { approver: 'ana', decision: 'approve', sudo: true }, 'sudo']
  ])('is refused for %s, and changes nothing', async (_, ballot, path) => {
    await using s = await stage()
    const request = await s.open()
    const before = await s.story()
    await expect(s.oversight.decide(request.id, ballot as never)).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      detail: { subject: 'decide', issues: expect.arrayContaining([expect.objectContaining({ path })]) }
    })
    expect(await s.story()).toEqual(before)
  })

  it('is refused, on record, from those who were not asked, not asked yet, or ask themselves', async () => {
    await using s = await stage({
      ...twoTiers,
      tiers: [{ approvers: ['ana', 'UMA'], channels: ['pager'], waitMs: 2_000 }, ...twoTiers.tiers.slice(1)]
    })
    const request = await s.open()
    const by = (approver: string) => s.oversight.decide(request.id, { approver, decision: 'approve' })
    expect(await by('mallory')).toEqual({ outcome: 'not-authorized', because: 'not-asked' })
    expect(await by('bo')).toEqual({ outcome: 'not-authorized', because: 'not-asked' })
    expect(await by('agent-7')).toEqual({ outcome: 'not-authorized', because: 'separation-of-duties' })
    expect(await by('uma')).toEqual({ outcome: 'not-authorized', because: 'separation-of-duties' })
    expect(await by('UMA')).toEqual({ outcome: 'not-authorized', because: 'separation-of-duties' })
    expect((await s.story()).filter((line) => line.startsWith('vote.refused'))).toHaveLength(5)
    await s.pass(0)
    await s.pass(2_000)
    expect(await by('bo')).toMatchObject({ outcome: 'recorded', verdict: { outcome: 'approved', by: 'bo' } })
  })

  it('still counts from a tier that has been passed', async () => {
    await using s = await stage()
    const request = await s.open()
    await s.pass(0)
    await s.pass(2_000)
    expect(await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })).toMatchObject({
      outcome: 'recorded'
    })
  })

  it('comes too late after the verdict, and is on record', async () => {
    const [first, second] = twoTiers.tiers
    if (first === undefined || second === undefined) throw new Error('there are two tiers')
    await using s = await stage({ tiers: [{ ...first, approvers: ['ana', 'bo'] }, second], onExhausted: 'deny' })
    const request = await s.open()
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    const late = await s.oversight.decide(request.id, { approver: 'bo', decision: 'deny', reason: 'no' })
    expect(late).toMatchObject({ outcome: 'too-late', verdict: { outcome: 'approved', by: 'ana' } })
    expect((await s.entries()).at(-1)).toMatchObject({ action: 'vote.too-late', actor: 'approver:bo' })
    expect(await request.settled()).toMatchObject({ outcome: 'approved', by: 'ana' })
  })

  it('is one per approver: a repetition under its key gets the same answer, a change of mind is on record', async () => {
    await using s = await stage()
    const request = await s.open()
    const ballot = { approver: 'ana', decision: 'approve', idempotencyKey: 'click-1' } as const
    const first = await s.oversight.decide(request.id, ballot)
    const before = await s.story()
    expect(await s.oversight.decide(request.id, ballot)).toEqual(first)
    expect(await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })).toMatchObject({
      outcome: 'already-decided',
      decision: 'approve',
      verdict: { outcome: 'approved' }
    })
    expect(await s.story()).toEqual(before)
    const changed = { approver: 'ana', decision: 'deny', reason: 'no', idempotencyKey: 'click-1' } as const
    expect(await s.oversight.decide(request.id, changed)).toMatchObject({
      outcome: 'already-decided',
      decision: 'approve'
    })
    expect((await s.story()).slice(before.length)).toEqual(['vote.refused by approver:ana'])
  })

  it('puts a bounded number of refusals on record, and says when it stops', async () => {
    await using s = await stage()
    const request = await s.open()
    for (let attempt = 0; attempt < 260; attempt++) {
      await s.oversight.decide(request.id, { approver: `stranger-${attempt}`, decision: 'approve' })
    }
    const refused = (await s.entries()).filter(({ action }) => action === 'vote.refused')
    expect(refused).toHaveLength(256)
    expect(refused.map(({ detail }) => detail?.['last'])).toEqual([...Array(255).fill(undefined), true])
  })

  it('fails for a request that does not exist', async () => {
    await using s = await stage()
    await expect(s.oversight.decide('nothing', { approver: 'ana', decision: 'approve' })).rejects.toMatchObject({
      code: 'UNKNOWN_REQUEST',
      detail: { requestId: 'nothing' }
    })
  })

  it('tells everyone who was invited how it ended, and calls off what had not gone out', async () => {
    const pager = channel()
    const desk = channel()
    await using s = await stage(twoTiers, { channels: { pager, desk } })
    const request = await s.open()
    await s.pass(0)
    const [escalation] = s.oversight.duties
    await s.platform.clock.advance(2_000)
    await escalation?.run({ signal: new AbortController().signal })
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    await s.pass(0)
    expect(desk.delivered).toEqual([])
    expect(desk.updated).toEqual([])
    expect(pager.updated).toMatchObject([
      {
        requestId: request.id,
        summary: ask.summary,
        receipt: 'receipt of ana',
        approver: { id: 'ana' },
        verdict: { outcome: 'approved', by: 'ana' }
      }
    ])
    await s.pass(3_600_000)
    expect(pager.updated).toHaveLength(1)
  })
})
