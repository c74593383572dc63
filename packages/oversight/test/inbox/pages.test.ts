import { CoreError } from '@enablement/core'
import { describe, expect, it } from 'vitest'
import { runDuties } from '../stage.ts'
import { type Stage, stage } from './stage.ts'

const textOf = async (answer: Response): Promise<string> =>
  (await answer.text()).replaceAll(/<[^>]*>/g, ' ').replaceAll(/\s+/g, ' ')

/** The summaries on a list, in its order. */
const summaries = async (answer: Response): Promise<readonly string[]> =>
  [...(await answer.text()).matchAll(/<h2><a[^>]*>([^<]*)<\/a>/g)].map(([, summary]) => summary as string)

describe('a list', () => {
  const fill = async (desk: Stage, count: number): Promise<string[]> => {
    const ids: string[] = []
    for (let at = 1; at <= count; at++) {
      ids.push((await desk.open({ summary: `Refund ${at}`, risk: at % 10 === 0 ? 'high' : 'low' })).id)
    }
    return ids
  }

  it('has what awaits this person, the newest first, page by page', async () => {
    await using desk = await stage()
    await fill(desk, 60)
    await desk.open({ summary: 'For bo alone', action: 'ledger.adjust' })
    const seen: string[] = []
    let path: string | undefined = '/'
    let pages = 0
    while (path !== undefined) {
      const page = await (await desk.get(path)).text()
      seen.push(...(await summaries(new Response(page))))
      path = /rel="next" href="\/inbox([^"]*)"/.exec(page)?.[1]?.replaceAll('&amp;', '&')
      pages += 1
    }
    expect(seen).toEqual(Array.from({ length: 60 }, (_, at) => `Refund ${60 - at}`))
    expect(pages).toBe(3)
  })

  it('is filtered by text and by risk, looking through whole pages of the store', async () => {
    await using desk = await stage()
    await fill(desk, 60)
    const tens = ['Refund 60', 'Refund 50', 'Refund 40', 'Refund 30', 'Refund 20', 'Refund 10']
    expect(await summaries(await desk.get('/?risk=high'))).toEqual(tens)
    expect(await summaries(await desk.get('/?risk=medium'))).toEqual(tens)
    expect(await summaries(await desk.get('/?risk=critical'))).toEqual([])
    expect(await summaries(await desk.get('/?q=FUND%205&risk=high'))).toEqual(['Refund 50'])
    expect(await summaries(await desk.get('/?q=agent-7&risk=high'))).toEqual(tens)
    expect(await textOf(await desk.get('/?q=nothing'))).toContain('No request matches.')
  })

  it('stops looking after 500 requests and says so', async () => {
    await using desk = await stage()
    await fill(desk, 510)
    const page = await (await desk.get('/?q=refund%201&risk=high')).text()
    expect(page).toContain('Looked through 500 requests; there are older ones.')
    const older = /rel="next" href="\/inbox([^"]*)"/.exec(page)?.[1] as string
    expect(await summaries(await desk.get(older.replaceAll('&amp;', '&')))).toEqual(['Refund 10'])
  })

  it('of settled ones has those that concern this person', async () => {
    await using desk = await stage()
    const [first] = await fill(desk, 2)
    const { id } = await desk.open({ summary: 'For bo alone', action: 'ledger.adjust' })
    for (const one of [first as string, id]) await desk.oversight.decide(one, { approver: 'bo', decision: 'approve' })
    expect(await summaries(await desk.get('/?list=settled'))).toEqual(['Refund 1'])
    expect(await summaries(await desk.get('/?list=settled', { as: 'ops@acme' }))).toEqual(['For bo alone', 'Refund 1'])
    expect(await summaries(await desk.get('/?list=open'))).toEqual(['Refund 2'])
  })

  it('with a cursor that nobody was given is a 400, and one that cannot be read a 503', async () => {
    await using desk = await stage()
    expect((await desk.get('/?after=%00')).status).toBe(400)
    expect(desk.events).toEqual([])
    desk.fail('list', new CoreError('STORE_UNAVAILABLE', 'no answer', { store: 'sqlite', operation: 'run' }))
    const answer = await desk.get('/')
    expect([answer.status, await textOf(answer)]).toEqual([503, expect.stringContaining('could not be read')])
    expect(desk.events).toMatchObject([{ type: 'inbox.failed', method: 'GET', path: '/' }])
  })
})

describe('a request', () => {
  it('says what would be done, who asks, how much the agent knew, who is asked and until when', async () => {
    await using desk = await stage()
    const { oversight, platform } = desk
    const detail = {
      to: { name: 'Nordwind', iban: 'DE02' },
      cents: 4_800,
      lines: ['a', { b: null }],
      id: '42',
      none: {},
      ok: true
    }
    const { id, path } = await desk.open({
      summary: 'Wire',
      action: 'payments.wire',
      risk: 'critical',
      detail,
      context: { outcome: 'unavailable', reason: 'memory store down' }
    })
    await runDuties(oversight)
    await oversight.comment(id, { by: 'bo', text: 'Careful' })
    await oversight.decide(id, { approver: 'bo', decision: 'approve', reason: 'Expected' })
    await platform.clock.advance(61_000)
    const text = await textOf(await desk.get(path))
    expect(text).toMatch(/Open Critical risk payments.wire version 1/)
    expect(text).toContain('The agent asked without its context: memory store down')
    expect(text).toMatch(/cents 4800 id “42” lines a b null none {} ok true to iban DE02 name Nordwind/)
    expect(text).toContain('{&quot;cents&quot;:4800,&quot;id&quot;:&quot;42&quot;,&quot;lines&quot;')
    expect(text).toMatch(/Asked by agent-7 on behalf of uma , 1 min ago 2026-01-01 00:00:00 UTC/)
    expect(text).toMatch(/Next tier is asked in 8 min 2026-01-01 00:10:00 UTC/)
    expect(text).toMatch(/Deadline in 1 h 28 min 2026-01-01 01:30:00 UTC/)
    expect(text).toMatch(/Tier 1 asked last ana \(you\) bo approved 1 min ago .*: Expected/)
    expect(text).toMatch(/bo 1 min ago .* Careful/)

    await platform.clock.advance(539_000)
    await runDuties(oversight)
    expect(await textOf(await desk.get(path))).toMatch(/Tier 2 asked last cy \(in place of dee \)/)
  })

  it('says what each edit changed, to everyone who is asked', async () => {
    await using desk = await stage()
    const { id, path, argumentHash } = await desk.open({ summary: 'Refund', detail: { cents: 1_200, note: 'all' } })
    const edit = { by: 'bo', detail: { cents: 600, note: 'all' }, reason: 'Half was late', argumentHash }
    const second = await desk.oversight.edit(id, edit)
    if (second.outcome !== 'edited') throw new Error(second.outcome)
    const more = { ...edit, by: 'ana', detail: { cents: 600 }, reason: 'No note', argumentHash: second.argumentHash }
    expect(await desk.oversight.edit(id, more)).toMatchObject({ outcome: 'edited' })
    for (const as of ['ana@acme', 'bo@acme']) {
      const text = await textOf(await desk.get(path, { as }))
      expect(text).toMatch(
        /Version 3 by ana .* No note .*What version 3 changed What Before After note &quot;all&quot; nothing .*Version 2 by bo/
      )
      expect(text).toMatch(
        /Version 2 by bo .* Half was late .*What version 2 changed What Before After cents 1200 600 Your decision/
      )
    }
  })

  it.each([
    [undefined, /The agent did not say how much it knew/],
    [{ outcome: 'complete' }, /Complete: the agent had what it should know/],
    [{ outcome: 'stale', ageMs: 7_260_000 }, /old context: what it knew was 2 h 1 min old/]
  ] as const)('says how much the agent knew: %o', async (context, message) => {
    await using desk = await stage()
    const { path } = await desk.open({ summary: 'Refund', ...(context === undefined ? {} : { context }) })
    expect(await textOf(await desk.get(path))).toMatch(message)
  })

  it('says what became of it after the approval', async () => {
    await using desk = await stage()
    const { id, path } = await desk.open({ summary: 'Refund' })
    const text = async (): Promise<string> => textOf(await desk.get(path))
    expect(await text()).not.toContain('Effect')
    await desk.oversight.decide(id, { approver: 'bo', decision: 'approve' })
    expect(await text()).toContain('Effect not carried out yet')
    const request = desk.oversight.request(desk.actionOf('payments.refund'), id)
    await request.execute(async () => {
      expect(await text()).toMatch(/Effect being carried out, now/)
      return null
    })
    expect(await text()).toMatch(/Effect carried out, now/)
    const lost = await desk.open({ summary: 'Refund' })
    await desk.oversight.decide(lost.id, { approver: 'bo', decision: 'approve' })
    await desk.oversight.request(desk.actionOf('payments.refund'), lost.id).execute(() => Promise.reject(new Error()))
    expect(await textOf(await desk.get(lost.path))).toMatch(/Effect in doubt/)
  })

  it('that was approved and then taken back says so', async () => {
    await using desk = await stage()
    const { id, path } = await desk.open({ summary: 'Refund' })
    await desk.oversight.decide(id, { approver: 'bo', decision: 'approve' })
    await desk.oversight.revoke(id, { by: 'ops', reason: 'Wrong customer' })
    expect(await textOf(await desk.get(path))).toMatch(
      /Revoked .*Approved, and taken back by ops , now .*: Wrong customer/
    )
  })
})

describe('a path', () => {
  it.each([
    '/nothing',
    '/requests',
    '/requests/',
    '/requests/:id/nothing',
    '/requests/:id/edit/x',
    '/requests/%E0%A4%A',
    `/requests/${'x'.repeat(129)}`,
    '/assets/x'
  ])('that is none is a 404: %s', async (path) => {
    await using desk = await stage()
    const { id } = await desk.open({ summary: 'Refund' })
    expect((await desk.get(path.replace(':id', id))).status).toBe(404)
    expect(desk.events).toEqual([])
  })

  it('outside of the inbox is a 404, and the root may be the inbox', async () => {
    await using desk = await stage({ basePath: '' })
    const { path: request } = await desk.open({ summary: 'Refund' })
    const at = (path: string, on = desk): Promise<Response> =>
      on.inbox.handle(new Request(`http://inbox.test${path}`, { headers: { 'x-user': 'ana@acme' } }))
    expect(await (await at('/')).text()).toContain(`href="${request}"`)
    expect((await at(request)).status).toBe(200)
    await using mounted = await stage()
    for (const path of ['/', '/inboxes', '/inbox.html']) expect((await at(path, mounted)).status).toBe(404)
  })
})

describe('a closed inbox', () => {
  it('answers with a 503', async () => {
    await using desk = await stage()
    await desk.inbox.close()
    expect((await desk.get('/')).status).toBe(503)
  })
})
