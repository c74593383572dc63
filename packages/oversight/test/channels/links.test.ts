import { testPlatform } from '@enablement/core/testing'
import type { Oversight } from '@enablement/oversight'
import { createDecisionLinks, type DecisionLinks } from '@enablement/oversight/links'
import { describe, expect, it } from 'vitest'
import { smtpStage, type TakenMail } from '../email/smtp.ts'
import { read } from '../email/stage.ts'
import { BASE, key, pageOf, submit } from '../links/stage.ts'
import { ask } from '../stage.ts'
import { mailOn } from './mail.ts'
import { channelStage, traffic as newTraffic, oneTier } from './stage.ts'

const DAY_MS = 86_400_000

/** Mails with links to the pages on which people decide. */
async function mailbox() {
  const smtp = await smtpStage()
  const platform = testPlatform()
  const traffic = newTraffic()
  let kernel: Oversight | undefined
  const oversight: Pick<Oversight, 'decide' | 'inspect' | 'viewed'> = {
    decide: (...call) => (kernel as Oversight).decide(...call),
    inspect: (...call) => (kernel as Oversight).inspect(...call),
    viewed: (...call) => (kernel as Oversight).viewed(...call)
  }
  const links: DecisionLinks = createDecisionLinks({
    baseUrl: BASE,
    keys: [key('k1')],
    oversight,
    sessionFrom: 'critical',
    platform
  })
  const { email } = mailOn(smtp, { platform, traffic, linksOf: (invitation) => links.linksOf(invitation) })
  const s = await channelStage(oneTier({ approvers: ['ana', 'bo'], channels: ['email'], waitMs: 30 * DAY_MS }), {
    platform,
    traffic,
    approvers: ['ana', 'bo'].map((id) => ({ id, name: id, addresses: { email: `${id}@example.com` } })),
    channels: { email }
  })
  kernel = s.oversight
  const get = async (url: string) => pageOf(await links.handle(new Request(url)))
  return {
    ...s,
    smtp,
    links,
    get,
    linksIn: async (mail: TakenMail | undefined) => {
      const found = (await read(mail)).text?.match(/https:\/\/\S+/g) ?? []
      const [open = '', approve = '', deny = ''] = found
      return { open, approve, deny, all: found }
    },
    /** Fills the form of a page in and sends it, as a browser does. */
    async press(url: string, fields: Readonly<Record<string, string>>) {
      const { seal = '' } = await get(url)
      const form = new URLSearchParams({ form: seal, ...fields })
      return { page: await pageOf(await links.handle(submit(url, form))), form }
    },
    async [Symbol.asyncDispose]() {
      await s[Symbol.asyncDispose]()
      await smtp[Symbol.asyncDispose]()
    }
  }
}

describe('a link in a mail', () => {
  it('decides nothing for programs that open it, and one vote for the person who sends its form', async () => {
    await using s = await mailbox()
    const request = await s.open()
    await s.settle()
    const { approve, deny, all } = await s.linksIn(s.smtp.taken[0])
    expect(all).toHaveLength(3)
    const before = await s.story()
    for (const url of all) {
      for (const method of ['GET', 'HEAD', 'OPTIONS']) await s.links.handle(new Request(url, { method }))
      // One that sends what it finds, without a browser's headers, or from elsewhere.
      const { seal = '' } = await s.get(url)
      const form = new URLSearchParams({ form: seal, decision: 'approve' })
      for (const headers of [{}, { 'sec-fetch-site': 'cross-site', origin: 'https://scanner.example' }]) {
        await s.links.handle(new Request(url, { method: 'POST', headers, body: form }))
      }
    }
    expect(await s.story()).toEqual(before)
    expect(await s.oversight.inspect(request.id)).toMatchObject({ status: 'pending', votes: [] })

    const { page, form } = await s.press(approve, { decision: 'approve' })
    expect([page.status, page.title]).toEqual([200, 'Your approval is recorded'])
    expect(await s.drive(request.settled())).toMatchObject({ outcome: 'approved', by: 'ana' })
    expect((await s.story()).slice(before.length)).toEqual([
      'request.viewed by approver:ana',
      'vote.recorded by approver:ana',
      'request.approved by approver:ana'
    ])

    // Sent again it counts once; a change of mind is refused; the page has no form any more.
    const decided = await s.story()
    const again = await pageOf(await s.links.handle(submit(approve, form)))
    expect([again.status, again.title]).toEqual([200, 'Your approval is recorded'])
    expect(await s.story()).toEqual(decided)
    const changed = new URLSearchParams(form)
    changed.set('decision', 'deny')
    changed.set('reason', 'on second thoughts')
    const refused = await pageOf(await s.links.handle(submit(approve, changed)))
    expect([refused.status, refused.title]).toEqual([200, 'You had chosen to approve'])
    expect((await s.get(deny)).title).toBe('Nothing is left to decide')
    expect(await s.oversight.inspect(request.id)).toMatchObject({
      status: 'approved',
      votes: [{ decision: 'approve' }]
    })

    // And who else was asked is too late.
    const { approve: bos } = await s.linksIn(s.smtp.taken[1])
    expect((await s.get(bos)).title).toBe('Nothing is left to decide')
  })

  it('is no good after an edit; that in the next mail is', async () => {
    await using s = await mailbox()
    const request = await s.open()
    await s.settle()
    const { approve } = await s.linksIn(s.smtp.taken[0])
    const { seal = '' } = await s.get(approve)
    const { argumentHash } = await s.oversight.inspect(request.id)
    const detail = { limitMebibytes: 96 }
    await s.oversight.edit(request.id, { by: 'bo', detail, reason: 'less will do', argumentHash })
    await s.settle()
    const form = new URLSearchParams({ form: seal, decision: 'approve' })
    for (const page of [await s.get(approve), await pageOf(await s.links.handle(submit(approve, form)))]) {
      expect([page.status, page.title]).toEqual([409, 'What was asked has been changed'])
    }
    expect(await s.oversight.inspect(request.id)).toMatchObject({ status: 'pending', votes: [] })
    const newest = s.smtp.taken.findLast(({ to, raw }) => to === 'ana@example.com' && raw.includes('is needed'))
    const { approve: next } = await s.linksIn(newest)
    expect((await s.press(next, { decision: 'approve' })).page.title).toBe('Your approval is recorded')
    expect(await s.drive(request.settled())).toMatchObject({ outcome: 'approved' })
  })

  it('leads nowhere for another tenant, another person or another request, and not for ever', async () => {
    await using s = await mailbox()
    const request = await s.open()
    await s.settle()
    const { argumentHash } = await s.oversight.inspect(request.id)
    const honest = { id: 'i', requestId: request.id, tenant: ask.tenant, argumentHash, approver: { id: 'ana' } }
    const form = (seal: string | undefined) => new URLSearchParams({ form: seal ?? '', decision: 'approve' })
    for (const [changes, status] of [
      [{ tenant: 'globex' }, 404],
      [{ requestId: '01990000-0000-7000-8000-000000000000' }, 404],
      [{ approver: { id: 'mallory' } }, 403]
    ] as const) {
      const { approve } = s.links.linksOf({ ...honest, ...changes })
      const page = await s.get(approve)
      expect([page.status, page.seal]).toEqual([status, undefined])
      expect(page.text).not.toContain(ask.summary)
      expect((await pageOf(await s.links.handle(submit(approve, form(page.seal))))).status).toBe(
        status === 404 ? 404 : 403
      )
    }
    const { approve } = await s.linksIn(s.smtp.taken[0])
    const { seal } = await s.get(approve)
    s.platform.clock.jumpWallTo(s.platform.clock.now() + 7 * DAY_MS)
    expect((await s.get(approve)).status).toBe(410)
    expect((await pageOf(await s.links.handle(submit(approve, form(seal))))).status).toBe(410)
    expect(await s.oversight.inspect(request.id)).toMatchObject({ status: 'pending', votes: [] })
  })
})
