import { describe, expect, it } from 'vitest'
import { channel, stage, twoTiers } from '../stage.ts'

const edit = { by: 'ana', detail: { limitMebibytes: 96 }, reason: 'half of it will do' } as const

describe('an edit', () => {
  it('asks everyone again about the new version, and executes that', async () => {
    const pager = channel()
    await using s = await stage(twoTiers, { channels: { pager, desk: channel() } })
    const request = await s.open()
    await s.pass(0)
    const { argumentHash } = await s.oversight.inspect(request.id)
    const edited = await s.oversight.edit(request.id, { ...edit, argumentHash })
    expect(edited).toMatchObject({ outcome: 'edited', version: 2 })
    await s.pass(0)
    expect(pager.updated).toMatchObject([
      { receipt: 'receipt of ana', verdict: { outcome: 'superseded', requestId: request.id, version: 1 } }
    ])
    expect(pager.delivered.map(({ version }) => version)).toEqual([1, 2])
    expect(new Set(pager.delivered.map(({ id }) => id)).size).toBe(2)

    const stale = await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve', argumentHash })
    expect(stale).toMatchObject({ outcome: 'superseded', version: 2 })
    const now = (await s.oversight.inspect(request.id)).argumentHash
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve', argumentHash: now })
    expect(await request.execute(async ({ detail }) => detail.limitMebibytes)).toEqual({
      outcome: 'executed',
      result: 96
    })
  })

  it('voids the votes for the version before', async () => {
    const tiers = [{ approvers: ['ana', 'bo'], channels: ['pager'], waitMs: 60_000 }]
    await using s = await stage({ tiers, onExhausted: 'deny', strategy: 'all-approve' })
    const request = await s.open()
    const { argumentHash } = await s.oversight.inspect(request.id)
    await s.oversight.decide(request.id, { approver: 'bo', decision: 'approve' })
    await s.oversight.edit(request.id, { ...edit, argumentHash })
    expect((await s.oversight.inspect(request.id)).votes).toEqual([])
    expect(await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })).toEqual({
      outcome: 'recorded',
      verdict: undefined
    })
    expect(await s.oversight.decide(request.id, { approver: 'bo', decision: 'approve' })).toMatchObject({
      verdict: { outcome: 'approved' }
    })
    const { entries } = await s.oversight.story(request.id)
    expect(entries.map(({ action }) => action).filter((action) => action === 'vote.recorded')).toHaveLength(3)
    expect(entries.find(({ action }) => action === 'request.edited')?.detail).toMatchObject({
      voidedVotes: 1,
      by: 'ana'
    })
  })

  it('is refused for what the schema refuses, by strangers and requesters, of an older version and after the end', async () => {
    await using s = await stage()
    const request = await s.open()
    const { argumentHash } = await s.oversight.inspect(request.id)
    const call = { ...edit, argumentHash }
    await expect(s.oversight.edit(request.id, { ...call, detail: {} })).rejects.toMatchObject({
      code: 'INVALID_DETAIL'
    })
    await expect(s.oversight.edit(request.id, { ...call, reason: ' ' })).rejects.toMatchObject({
      code: 'INVALID_OPTIONS'
    })
    await expect(s.oversight.edit('nothing', call)).rejects.toMatchObject({ code: 'UNKNOWN_REQUEST' })
    const refusals = [
      [{ by: 'eve' }, { outcome: 'not-authorized', because: 'not-asked' }],
      [{ by: 'UMA' }, { outcome: 'not-authorized', because: 'separation-of-duties' }],
      [{ argumentHash: 'f'.repeat(64) }, { outcome: 'superseded', version: 1, argumentHash }],
      [{ detail: { limitMebibytes: 128 } }, { outcome: 'unchanged' }]
    ] as const
    for (const [changed, outcome] of refusals) {
      expect(await s.oversight.edit(request.id, { ...call, ...changed })).toEqual(outcome)
    }
    await s.oversight.decide(request.id, { approver: 'ana', decision: 'approve' })
    expect(await s.oversight.edit(request.id, call)).toMatchObject({
      outcome: 'already-settled',
      verdict: { outcome: 'approved' }
    })
    expect((await s.oversight.inspect(request.id)).version).toBe(1)
  })

  it('may be made 32 times', async () => {
    await using s = await stage()
    const request = await s.open()
    for (let n = 1; n <= 33; n++) {
      const { argumentHash } = await s.oversight.inspect(request.id)
      const { outcome } = await s.oversight.edit(request.id, { ...edit, detail: { limitMebibytes: n }, argumentHash })
      expect(outcome).toBe(n <= 32 ? 'edited' : 'full')
    }
  })

  it('leaves the key that opened the request good for what it asked for', async () => {
    await using s = await stage()
    const request = await s.open()
    const { argumentHash } = await s.oversight.inspect(request.id)
    await s.oversight.edit(request.id, { ...edit, argumentHash })
    expect((await s.open()).id).toBe(request.id)
  })
})

describe('a comment', () => {
  it('is recorded once for its key, at most 100 times, and by anyone', async () => {
    await using s = await stage()
    const { id } = await s.open()
    const call = { by: 'eve', text: 'What for?', idempotencyKey: 'c1' }
    expect(await s.oversight.comment(id, call)).toEqual({ outcome: 'recorded' })
    expect(await s.oversight.comment(id, call)).toEqual({ outcome: 'recorded' })
    expect((await s.oversight.inspect(id)).comments).toMatchObject([{ by: 'eve', text: 'What for?' }])
    for (let n = 1; n < 100; n++) await s.oversight.comment(id, { by: 'bo', text: `${n}` })
    expect(await s.oversight.comment(id, { by: 'bo', text: 'one too many' })).toEqual({ outcome: 'full' })
    await expect(s.oversight.comment(id, { by: 'bo', text: '' })).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
  })
})

describe('a view', () => {
  it('is recorded once for each person and version', async () => {
    await using s = await stage()
    const { id } = await s.open()
    await s.oversight.viewed(id, { by: 'ana' })
    await s.oversight.viewed(id, { by: 'ana' })
    await s.oversight.viewed(id, { by: 'bo' })
    expect((await s.story()).filter((line) => line.startsWith('request.viewed'))).toHaveLength(2)
  })
})
