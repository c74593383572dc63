import { CoreError, type Verdict } from '@enablement/core'
import { describe, expect, it } from 'vitest'
import type { Opened } from './kernel.ts'
import { type Stage, stage } from './stage.ts'

const unavailable = (): CoreError =>
  new CoreError('STORE_UNAVAILABLE', 'no answer', { store: 'sqlite', operation: 'run' })

const textOf = async (answer: Response): Promise<string> => (await answer.text()).replaceAll(/<[^>]*>/g, '')

describe('a vote', () => {
  const vote = async (
    desk: Stage,
    { path }: Opened,
    fields: Record<string, string>,
    as = 'ana@acme'
  ): Promise<Response> => desk.post(`${path}/decide`, { ...(await desk.ticket(path, { as })), ...fields }, { as })

  it('is cast for what the form showed, which goes on record first', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Refund' })
    const answer = await vote(desk, request, { decision: 'approve', reason: '  looks\r\ngood ' })
    expect([answer.status, answer.headers.get('location')]).toEqual([303, `/inbox${request.path}#outcome`])
    const { votes } = await desk.oversight.inspect(request.id)
    expect(votes).toEqual([
      { approver: 'ana', decision: 'approve', reason: 'looks\ngood', votedAt: expect.any(Number) }
    ])
    const { entries } = await desk.oversight.story(request.id)
    const told = entries.map(({ action }) => action)
    expect(told.indexOf('request.viewed')).toBeGreaterThan(0)
    expect(told.indexOf('request.viewed')).toBeLessThan(told.indexOf('request.approved'))
    expect(await desk.views(request.id)).toEqual(['v1 by ana'])
  })

  it('counts once when the same form is sent again, and says that the first stands when another decision is', async () => {
    await using desk = await stage()
    const { id, path } = await desk.open({ summary: 'Wire', action: 'payments.wire' })
    const fields = { ...(await desk.ticket(path)), decision: 'approve' }
    for (let times = 0; times < 3; times++) {
      expect((await desk.post(`${path}/decide`, fields)).status).toBe(303)
    }
    const other = await desk.post(`${path}/decide`, { ...fields, decision: 'deny', reason: 'After all not' })
    expect(other.status).toBe(409)
    expect(await textOf(other)).toMatch(
      /You have decided before.*You approved it, and that stands. Others are still asked/s
    )
    expect((await desk.oversight.inspect(id)).votes).toHaveLength(1)
  })

  it('that denies needs a reason, and none may be too long or reorder text', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Refund' })
    const refused: readonly (readonly [Record<string, string>, RegExp])[] = [
      [{ decision: 'deny' }, /Say why you deny it/],
      [{ decision: 'deny', reason: ' \r\n ' }, /Say why you deny it/],
      [{ decision: 'deny', reason: 'x'.repeat(2_001) }, /At most 2000 characters; these are 2001/],
      [{ decision: 'approve', reason: 'fine \u202e enif' }, /invisible characters/]
    ]
    for (const [fields, message] of refused) {
      const answer = await vote(desk, request, fields)
      expect(answer.status).toBe(422)
      expect(await textOf(answer)).toMatch(message)
    }
    for (const decision of ['', 'maybe']) expect((await vote(desk, request, { decision })).status).toBe(400)
    for (const hash of ['', 'f'.repeat(63)]) {
      expect((await vote(desk, request, { decision: 'approve', hash })).status).toBe(400)
    }
    expect((await desk.oversight.inspect(request.id)).votes).toEqual([])
    expect((await vote(desk, request, { decision: 'deny', reason: 'x'.repeat(2_000) })).status).toBe(303)
  })

  it('gives back what was typed', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Refund' })
    const answer = await vote(desk, request, { decision: 'approve', reason: '</textarea><b>&amp;\u202e' })
    expect(await answer.text()).toContain('>\n&lt;/textarea&gt;&lt;b&gt;&amp;amp;\u202e</textarea>')
  })

  const byBo = { approver: 'bo' } as const
  it.each<readonly [Verdict['outcome'], (desk: Stage, id: string) => Promise<unknown>, RegExp]>([
    [
      'approved',
      ({ oversight }, id) => oversight.decide(id, { ...byBo, decision: 'approve' }),
      /Too late.*Approved by bo/s
    ],
    [
      'denied',
      ({ oversight }, id) => oversight.decide(id, { ...byBo, decision: 'deny', reason: 'No money' }),
      /Too late.*Denied by bo.*No money/s
    ],
    [
      'cancelled',
      ({ oversight, actionOf }, id) =>
        oversight.request(actionOf('payments.refund'), id).cancel({ by: 'uma', reason: 'Done by hand' }),
      /Too late.*Withdrawn/s
    ],
    [
      'revoked',
      async ({ oversight }, id) => {
        await oversight.decide(id, { ...byBo, decision: 'approve' })
        await oversight.revoke(id, { by: 'ops', reason: 'Wrong customer' })
      },
      /Too late.*Approved, and taken back by ops.*Wrong customer/s
    ]
  ])('that comes after the verdict is told which: %s', async (outcome, settle, message) => {
    await using desk = await stage()
    const { id, path } = await desk.open({ summary: 'Refund' })
    const fields = { ...(await desk.ticket(path)), decision: 'approve' }
    await settle(desk, id)
    const answer = await desk.post(`${path}/decide`, fields)
    expect(answer.status).toBe(409)
    expect(await textOf(answer)).toMatch(message)
    expect((await desk.oversight.inspect(id)).status).toBe(outcome)
  })

  it('that comes at the deadline is told that nobody decided in time', async () => {
    await using desk = await stage()
    const { path } = await desk.open({ summary: 'Wire', action: 'payments.wire' })
    const fields = { ...(await desk.ticket(path)), decision: 'approve' }
    await desk.platform.clock.advance(5_400_000)
    const answer = await desk.post(`${path}/decide`, fields)
    expect([answer.status, await textOf(answer)]).toEqual([409, expect.stringContaining('Nobody decided in time')])
  })

  it('for a version that is no longer asked is shown the new one with what was typed, and nobody is said to have seen it', async () => {
    await using desk = await stage()
    const { id, path, argumentHash } = await desk.open({ summary: 'Refund' })
    const fields = { ...(await desk.ticket(path)), decision: 'approve', reason: 'As agreed' }
    const edited = { by: 'bo', detail: { cents: 5 }, reason: 'less', argumentHash }
    expect(await desk.oversight.edit(id, edited)).toMatchObject({ outcome: 'edited' })
    const answer = await desk.post(`${path}/decide`, fields)
    expect(answer.status).toBe(409)
    const page = await answer.text()
    expect(page).toMatch(/What is asked now is version 2/)
    expect(page).toContain((await desk.oversight.inspect(id)).argumentHash)
    expect(page).toContain('>\nAs agreed</textarea>')
    expect(await desk.views(id)).toEqual([])
  })

  it('of who asked for it, of who was not asked, and of nobody known is refused, in words', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Refund', onBehalfOf: 'ops' })
    const answer = await vote(desk, request, { decision: 'approve' }, 'ops@acme')
    expect(answer.status).toBe(403)
    expect(await textOf(answer)).toContain('somebody else must decide')
    const other = await desk.open({ summary: 'Refund' })
    expect(await textOf(await vote(desk, other, { decision: 'approve' }, 'ops@acme'))).toContain(
      'You have not been asked about this request.'
    )
    desk.dismiss('ana')
    expect(await textOf(await vote(desk, other, { decision: 'approve' }))).toContain(
      'The directory of approvers does not know you.'
    )
    expect((await desk.oversight.inspect(other.id)).votes).toEqual([])
  })

  it('is reported as not known when the store does not answer, and may be sent again', async () => {
    await using desk = await stage()
    const { path } = await desk.open({ summary: 'Refund' })
    const fields = { ...(await desk.ticket(path)), decision: 'approve' }
    desk.fail('decide', unavailable())
    const answer = await desk.post(`${path}/decide`, fields)
    expect(answer.status).toBe(503)
    expect(await textOf(answer)).toContain('It is not known whether this was done')
    expect(desk.events).toMatchObject([{ type: 'inbox.failed', method: 'POST', path: `${path}/decide` }])
    expect((await desk.post(`${path}/decide`, fields)).status).toBe(303)
  })
})

describe('the word that a request was seen', () => {
  it('counts for the version that was seen', async () => {
    await using desk = await stage()
    const { id, path } = await desk.open({ summary: 'Refund' })
    const fields = await desk.ticket(path)
    for (const [hash, status] of [
      ['f'.repeat(64), 204],
      ['f', 400]
    ] as const) {
      expect((await desk.post(`${path}/viewed`, { ...fields, hash })).status).toBe(status)
    }
    expect(await desk.views(id)).toEqual([])
    for (let times = 0; times < 2; times++) await desk.post(`${path}/viewed`, fields)
    expect(await desk.views(id)).toEqual(['v1 by ana'])
  })
})

describe('a comment', () => {
  it('is kept once for each form and text', async () => {
    await using desk = await stage()
    const { id, path } = await desk.open({ summary: 'Refund' })
    const fields = await desk.ticket(path)
    for (const text of ['One', 'One', 'Two']) await desk.post(`${path}/comment`, { ...fields, text })
    expect((await desk.oversight.inspect(id)).comments.map(({ by, text }) => `${by}: ${text}`)).toEqual([
      'ana: One',
      'ana: Two'
    ])
  })

  it('is refused when it is empty, too long, or one too many', async () => {
    await using desk = await stage()
    const { id, path } = await desk.open({ summary: 'Refund' })
    const fields = await desk.ticket(path)
    const send = (text: string): Promise<Response> => desk.post(`${path}/comment`, { ...fields, text })
    expect(await textOf(await send('  '))).toContain('Write something first.')
    expect(await textOf(await send('x'.repeat(2_001)))).toContain('these are 2001')
    for (let at = 0; at < 100; at++) expect((await send(`comment ${at}`)).status).toBe(303)
    const answer = await send('and another')
    expect([answer.status, await textOf(answer)]).toEqual([422, expect.stringContaining('takes no more comments')])
    expect((await desk.oversight.inspect(id)).comments).toHaveLength(100)
  })
})

describe('an edit', () => {
  const edit = async (desk: Stage, { path }: Opened, fields: Record<string, string>): Promise<Response> =>
    desk.post(`${path}/edit`, {
      ...(await desk.ticket(`${path}/edit`)),
      reason: 'because',
      step: 'save',
      ...fields
    })

  it('is checked before anything is saved', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Refund', detail: { order: '118', cents: 1_200, lines: [1, 2] } })
    const detail = '{"cents":600,"order":"118","lines":[1,3],"note":"half"}'
    const page = await (await edit(desk, request, { detail, step: 'check' })).text()
    const cells = [...page.matchAll(/<bdi>([^<]*)<\/bdi><\/th>(.*?)<\/tr>/g)].map(([, path, sides]) => {
      return `${path as string} ${(sides as string)
        .replaceAll(/<[^>]*>/g, ' ')
        .replaceAll(/\s+/g, ' ')
        .trim()}`
    })
    expect(cells).toEqual(['cents 1200 600', 'lines.1 2 3', 'note nothing &quot;half&quot;'])
    expect((await desk.oversight.inspect(request.id)).version).toBe(1)
    const back = await edit(desk, request, { detail, step: 'back' })
    expect(await back.text()).toContain(detail.replaceAll('"', '&quot;'))
    expect((await edit(desk, request, { detail })).status).toBe(303)
    expect(await desk.oversight.inspect(request.id)).toMatchObject({
      version: 2,
      detail: JSON.parse(detail),
      edits: [{ by: 'ana', reason: 'because' }]
    })
  })

  it.each([
    ['{', /This is not JSON/],
    ['[1]', /must be an object/],
    ['null', /must be an object/],
    ['{"a":"\\ud800"}', /a: a string with a lone surrogate/],
    [`{"a":${'['.repeat(70)}${']'.repeat(70)}}`, /nested deeper than 64/],
    ['{"cents":1200,"order":"118"}', /Nothing has been changed/],
    ['{"cents":-1}', /cents: must be a positive integer/]
  ])('that is no detail is said to be none, at the field: %s', async (detail, message) => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Refund' })
    const answer = await edit(desk, request, { detail })
    expect(answer.status).toBe(422)
    const page = await answer.text()
    expect(page).toContain('aria-describedby="detail-error"')
    expect(page.replaceAll(/<[^>]*>/g, '')).toMatch(message)
    expect((await desk.oversight.inspect(request.id)).version).toBe(1)
  })

  it('needs a reason', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Refund' })
    const answer = await edit(desk, request, { detail: '{"cents":600}', reason: ' ' })
    expect([answer.status, await textOf(answer)]).toEqual([422, expect.stringContaining('Say why')])
  })

  it('to a version that is no longer asked starts again from the new one, beside what was typed', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Refund' })
    const mine = await desk.ticket(`${request.path}/edit`)
    expect((await edit(desk, request, { detail: '{"cents":5}' })).status).toBe(303)
    const answer = await desk.post(`${request.path}/edit`, {
      ...mine,
      detail: '{"cents":777}',
      reason: 'mine',
      step: 'save'
    })
    expect(answer.status).toBe(409)
    const page = await answer.text()
    expect(page).toContain('version 2')
    expect(page).toContain('{&quot;cents&quot;:777}')
    expect(page).toContain((await desk.oversight.inspect(request.id)).argumentHash)
  })

  it('is refused to whoever is not asked, and after the verdict', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Refund', onBehalfOf: 'ops' })
    const { id, path } = request
    const as = 'ops@acme'
    const fields = { ...(await desk.ticket(path, { as })), detail: '{"cents":5}', reason: 'r', step: 'save' }
    expect((await desk.post(`${path}/edit`, fields, { as })).status).toBe(403)
    const late = { ...fields, ...(await desk.ticket(path)) }
    await desk.oversight.decide(id, { approver: 'bo', decision: 'approve' })
    const answer = await desk.post(`${path}/edit`, late)
    expect([answer.status, await textOf(answer)]).toEqual([
      409,
      expect.stringMatching(/nothing was changed.*Approved by/s)
    ])
    expect((await desk.get(`${path}/edit`)).status).toBe(303)
    expect((await desk.oversight.inspect(id)).version).toBe(1)
  })

  it('is refused when there have been as many as there may be', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Refund' })
    for (let cents = 1; cents <= 32; cents++) {
      const { argumentHash } = await desk.oversight.inspect(request.id)
      await desk.oversight.edit(request.id, { by: 'bo', detail: { cents }, reason: 'Less', argumentHash })
    }
    const answer = await edit(desk, request, { detail: '{"cents":777}' })
    expect([answer.status, await textOf(answer)]).toEqual([
      409,
      expect.stringContaining('It has been edited as often as a request may be.')
    ])
    expect((await desk.oversight.inspect(request.id)).version).toBe(33)
  })
})

describe('a selection', () => {
  const open = async (desk: Stage, count: number): Promise<string[]> => {
    const ids: string[] = []
    for (let at = 1; at <= count; at++) ids.push((await desk.open({ summary: `Refund ${at}` })).id)
    return ids
  }
  const pageOf = (desk: Stage, ids: readonly string[], decision = 'approve'): Promise<Response> =>
    desk.get(`/batch?decision=${decision}${ids.map((id) => `&request=${id}`).join('')}`)
  const fieldsOf = (page: string, decision: string): URLSearchParams => {
    const fields = new URLSearchParams({ form: /name="form" value="([^"]*)"/.exec(page)?.[1] ?? '', decision })
    for (const [, item] of page.matchAll(/name="item" value="([^"]*)"/g)) fields.append('item', item as string)
    return fields
  }

  it('is shown in full, each with its hash, and only what awaits this person', async () => {
    await using desk = await stage()
    const ids = await open(desk, 3)
    await desk.oversight.decide(ids[2] as string, { approver: 'ana', decision: 'approve' })
    const page = await (await pageOf(desk, [...ids, 'nothing'])).text()
    expect(page).toContain('Approve 2 requests?')
    expect(page).toContain('2 of those selected are no longer yours to decide')
    const hashes = await Promise.all(
      ids.slice(0, 2).map((id) => desk.oversight.inspect(id).then((view) => `${id} ${view.argumentHash}`))
    )
    expect(fieldsOf(page, 'approve').getAll('item')).toEqual(hashes)
  })

  it('is decided one by one, whatever becomes of the others', async () => {
    await using desk = await stage()
    const ids = await open(desk, 4)
    const fields = fieldsOf(await (await pageOf(desk, ids, 'deny')).text(), 'deny')
    fields.set('reason', 'Not now')
    const [, second, third, fourth] = ids as [string, string, string, string]
    const { argumentHash } = await desk.oversight.inspect(second)
    await desk.oversight.edit(second, { by: 'bo', detail: { cents: 5 }, reason: 'less', argumentHash })
    await desk.oversight.decide(third, { approver: 'bo', decision: 'approve' })
    desk.fail('decide', unavailable())
    const page = await textOf(await desk.post('/batch', fields))
    expect(page).toMatch(/1 of 4 counted/)
    expect(page).toMatch(
      /Refund 1\s*Not known.*Refund 2\s*Not counted: it was changed.*Refund 3\s*Too late.*Refund 4\s*Your vote is on record/s
    )
    expect(desk.events).toMatchObject([{ type: 'inbox.failed', path: '/batch' }])
    // Sent again as it was: what was not known is done now, what was counted counts once.
    expect(await textOf(await desk.post('/batch', fields))).toMatch(/2 of 4 counted/)
    expect((await desk.oversight.inspect(fourth)).votes).toHaveLength(1)
    expect(await desk.views(second)).toEqual([])
  })

  it('is shown again, and nothing decided, when a form comes by the button that Enter presses', async () => {
    await using desk = await stage()
    const ids = await open(desk, 2)
    const page = await (await pageOf(desk, ids)).text()
    expect(/<button[^>]*>/.exec(page.slice(page.indexOf('method="post"')))?.[0]).toContain('name="review"')
    const fields = fieldsOf(page, 'approve')
    fields.delete('decision')
    fields.set('review', 'approve')
    fields.set('reason', 'As agreed')
    const answer = await desk.post('/batch', fields)
    expect(answer.status).toBe(200)
    const again = await answer.text()
    expect(again).toContain('Approve 2 requests?')
    expect(again).toContain('>\nAs agreed</textarea>')
    expect((await desk.oversight.inspect(ids[0] as string)).votes).toEqual([])
  })

  it('that denies needs a reason, and one with nothing checked does nothing', async () => {
    await using desk = await stage()
    const ids = await open(desk, 2)
    const fields = fieldsOf(await (await pageOf(desk, ids, 'deny')).text(), 'deny')
    const answer = await desk.post('/batch', fields)
    expect([answer.status, await textOf(answer)]).toEqual([422, expect.stringContaining('Say why you deny it.')])
    fields.delete('item')
    fields.append('item', `${ids[0]} ${'f'.repeat(63)}`)
    fields.append('item', ids[0] as string)
    fields.set('reason', 'Not now')
    expect(await textOf(await desk.post('/batch', fields))).toContain('Nothing to deny')
    expect((await desk.oversight.inspect(ids[0] as string)).votes).toEqual([])
  })

  it('holds 50 at most', async () => {
    await using desk = await stage()
    const ids = await open(desk, 60)
    const page = await (await pageOf(desk, ids)).text()
    const fields = fieldsOf(page, 'approve')
    expect(fields.getAll('item')).toHaveLength(50)
    for (const id of ids.slice(50)) fields.append('item', `${id} ${(await desk.oversight.inspect(id)).argumentHash}`)
    expect(await textOf(await desk.post('/batch', fields))).toMatch(/50 of 50 counted/)
  })
})
