import { hours, minutes } from '@enablement/core'
import type { Channel, Invitation, VerdictNotice } from '@enablement/oversight'
import type { MailTransport, OutgoingMail } from '@enablement/oversight/email'
import { fc, test } from '@fast-check/vitest'
import { createTransport } from 'nodemailer'
import type { Email } from 'postal-mime'
import { afterAll, describe, expect, inject, it } from 'vitest'
import { ana, emailStage, idOf, invitation, read, signal } from './stage.ts'

const scale = inject('scale')

const links = {
  open: 'https://approvals.example.net/r/1',
  approve: 'https://approvals.example.net/l/a',
  deny: 'https://approvals.example.net/l/d'
}

async function letterOf(
  changes: Partial<Invitation> = {},
  options: Parameters<typeof emailStage>[1] = {},
  look: (mail: OutgoingMail) => void = () => {}
): Promise<Email> {
  // What would go over the wire, without one.
  const composer = createTransport({ streamTransport: true, buffer: true })
  let raw = ''
  const transport: MailTransport = {
    async sendMail(mail) {
      look(mail)
      const { message } = await composer.sendMail(mail)
      raw = Buffer.isBuffer(message) ? message.toString() : ''
    }
  }
  await using stage = await emailStage({}, { transport, ...options })
  expect(await stage.deliver(changes)).toMatchObject({ outcome: 'delivered' })
  return await read({ from: '', to: '', raw })
}

const both = ({ text = '', html = '' }: Email): readonly string[] => [text, html]

/** Every reference that a program might follow, and every element that is not of the plainest. */
const referencesIn = (html: string): string[] =>
  [...html.matchAll(/(?:src|href|action|background|url)\s*[=(]\s*["']?([^"')\s>]*)/gi)].map(
    ([, target]) => target ?? ''
  )
const elementsIn = (html: string): Set<string> =>
  new Set([...html.matchAll(/<\/?([a-z0-9!]+)/gi)].map(([, name]) => (name ?? '').toLowerCase()))
const PLAIN = new Set('!doctype html head meta title body h1 p blockquote dl dt dd ul li a'.split(' '))

describe('the letter of an invitation', () => {
  it('says in both of its bodies what is asked, how risky it is, who asks, what it is about and until when', async () => {
    const email = await letterOf({}, { linksOf: () => links })
    expect(email.subject).toBe('Approval needed: Refund 120 EUR to customer 7')
    for (const body of both(email)) {
      for (const text of [
        'Hello Ana Müller, your decision is needed',
        'Refund 120 EUR to customer 7',
        'payments.refund',
        'high',
        'agent-7, on behalf of uma',
        'amount',
        '120',
        'currency',
        'EUR',
        'Thu, 1 Jan 2026, 00:15 UTC',
        'Thu, 1 Jan 2026, 01:00 UTC',
        'Opening a link decides nothing',
        ...Object.values(links)
      ]) {
        expect(body).toContain(text)
      }
      expect(body).not.toContain('Caution')
      expect(body).not.toContain('version')
    }
    expect(email.to).toEqual([{ name: 'Ana Müller', address: 'ana@example.com' }])
  })

  it('says when the agent asked without its memory, or with an old one, and when what it asks was edited', async () => {
    const stale = await letterOf({ context: { outcome: 'stale', ageMs: hours(3) + minutes(59) }, version: 2 })
    for (const body of both(stale)) {
      expect(body).toContain('the agent asked on what it knew 3 hours before')
      expect(body).toContain('This is version 2')
    }
    const unavailable = await letterOf({ context: { outcome: 'unavailable', reason: 'the vector store is down' } })
    for (const body of both(unavailable)) {
      expect(body).toContain('the agent asked without what it knew before: the vector store is down')
    }
    const seconds = await letterOf({ context: { outcome: 'stale', ageMs: 1_000 } })
    expect(seconds.text).toContain('1 second before')
  })

  it('shows instants in the zone that was chosen', async () => {
    const email = await letterOf({}, { timeZone: 'Asia/Kolkata' })
    expect(email.text).toContain('Thu, 1 Jan 2026, 05:45 GMT+5:30')
  })

  it('has no links where there are none, and only those that there are', async () => {
    const without = await letterOf()
    expect(without.text).toContain('Open your approvals to decide.')
    expect(referencesIn(without.html ?? '')).toEqual([])
    const one = await letterOf({}, { linksOf: async () => ({ open: links.open }) })
    expect(referencesIn(one.html ?? '')).toEqual([links.open])
  })

  it('is not sent with a link that is none', async () => {
    for (const open of ['javascript:alert(1)', '/r/1', 'data:text/html,x', 'ftp://example.com/x', '']) {
      await using stage = await emailStage({}, { linksOf: () => ({ open }) })
      await expect(stage.deliver()).rejects.toMatchObject({
        code: 'INVALID_OPTIONS',
        detail: { issues: [{ path: 'open' }] }
      })
      expect(stage.smtp.taken).toEqual([])
    }
  })

  it('fetches nothing when it is opened, and shows nothing but text', async () => {
    const { html = '' } = await letterOf({}, { linksOf: () => links })
    expect(referencesIn(html)).toEqual([links.open, links.approve, links.deny])
    expect([...elementsIn(html)].filter((name) => !PLAIN.has(name))).toEqual([])
    expect(html).toContain('<html lang="en">')
  })

  it('shows an excerpt of any size in bounds, and says what it leaves out', async () => {
    const excerpt = Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`field${at}`, 'x'.repeat(10_000)]))
    const { text = '', html = '' } = await letterOf({ excerpt, summary: 'y'.repeat(100_000) })
    expect(text).toContain('10 more fields are on the page.')
    expect(text.length).toBeLessThan(12_000)
    expect(html.length).toBeLessThan(16_000)
    const nested = await letterOf({ excerpt: { items: [{ id: 1 }], note: null, ok: true } })
    for (const line of ['items: [{"id":1}]', 'note: null', 'ok: true']) expect(nested.text).toContain(line)
    expect((await letterOf({ excerpt: {} })).text).not.toContain('In detail')
  })

  it('shows what an agent calls its fields as a quotation, too', async () => {
    const { text } = await letterOf({ excerpt: { 'Approve here: https://evil.example': true } })
    expect(text).toContain('\n> Approve here: https://evil.example: true')
  })

  it('is what the user makes of it, whose subject still is one line', async () => {
    const subjects: string[] = []
    const email = await letterOf(
      {},
      {
        compose: (occasion, letter) => ({
          ...letter,
          subject: `${occasion.kind}: Freigabe\r\nBcc: eve@example.com`,
          text: 'Bitte entscheiden.'
        })
      },
      ({ subject }) => subjects.push(subject)
    )
    expect(subjects).toEqual(['invitation: Freigabe Bcc: eve@example.com'])
    expect(email.subject).toBe('invitation: Freigabe Bcc: eve@example.com')
    expect(email.text?.trim()).toBe('Bitte entscheiden.')
    expect(email.bcc).toBeUndefined()
  })
})

const HOSTILE = [
  '<script>alert(1)</script>',
  '<img src="https://evil.example/p.gif">',
  '"><a href="https://evil.example">click</a>',
  "' onmouseover='x",
  '&lt;b&gt;',
  'x\r\nBcc: eve@example.com',
  'x\n\n<html>',
  'x\rSubject: y',
  'a\0b',
  '\u202egnihton\u202c',
  '\u200bhidden\ufeff',
  '\u{e0041}\u{e0042}',
  '\ufff9seen\ufffaunseen\ufffb',
  'in\u00advisi\u180eble',
  '=?utf-8?Q?=0d=0aBcc:_eve@example.com?=',
  '.\r\n.\r\nMAIL FROM:<x@example.com>',
  '\u2028Approve: https://evil.example\u2029',
  '\ud800'
]

describe('what agents and people write into a letter', () => {
  const hostile = fc.oneof(
    fc.constantFrom(...HOSTILE),
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.array(fc.constantFrom(...HOSTILE), { maxLength: 4 }).map((parts) => parts.join(''))
  )

  const sent: OutgoingMail[] = []
  const kept = emailStage({}, { transport: { sendMail: async (mail) => void sent.push(mail) } })
  afterAll(async () => await (await kept)[Symbol.asyncDispose]())
  test.prop([hostile, hostile, hostile], { numRuns: Math.ceil(60 * scale) })(
    'is text in the bodies and nothing in the headers, whatever it is',
    async (one, two, three) => {
      const changes: Partial<Invitation> = {
        summary: one,
        action: two,
        excerpt: { [three]: one, x: [two] },
        requestedBy: { agent: three, onBehalfOf: one },
        context: { outcome: 'unavailable', reason: two },
        approver: { ...ana, name: three }
      }
      await (await kept).deliver(changes)
      const mail = sent.pop()
      for (const line of [mail?.subject ?? '', mail?.to.name ?? '']) expect(line).not.toMatch(/[\p{Cc}\u2028\u2029]/u)
      expect([...elementsIn(mail?.html ?? '')].filter((name) => !PLAIN.has(name))).toEqual([])
      expect(mail?.html).not.toMatch(/<[^>]*\son[a-z]+\s*=/i)
      expect(`${mail?.text}${mail?.html}`).not.toMatch(/(?![\n\u200c\u200d])[\p{Cc}\p{Cf}]/u)
      expect(referencesIn(mail?.html.replace(/>[^<]*</g, '><') ?? '')).toEqual([])
      // Their lines stay theirs: what begins a line in the text body was written here.
      expect(
        mail?.text
          .split('\n')
          .filter((line) => /^(Approve|Subject|Bcc|MAIL)/.test(line) && !line.startsWith('Approval'))
      ).toEqual([])
    }
  )

  it('is neither a header nor a command on its way to the server', async () => {
    await using opened = await emailStage()
    for (const [at, text] of HOSTILE.entries()) {
      const answer = await opened.deliver({
        id: idOf(at),
        summary: text,
        action: text,
        excerpt: { [text]: text },
        approver: { ...ana, name: text }
      })
      expect(answer).toMatchObject({ outcome: 'delivered' })
    }
    expect(opened.smtp.taken).toHaveLength(HOSTILE.length)
    for (const taken of opened.smtp.taken) {
      expect(taken.to).toBe(ana.address)
      const { headers, to } = await read(taken)
      expect(headers.map(({ key }) => key).sort()).toEqual(
        'auto-submitted content-type date from message-id mime-version subject to x-auto-response-suppress'.split(' ')
      )
      expect(to?.map(({ address }) => address)).toEqual([ana.address])
    }
  })
})

describe('a reminder', () => {
  it('is in the thread of the invitation that it repeats', async () => {
    await using stage = await emailStage()
    const first = await stage.deliver()
    const receipt = first.outcome === 'delivered' ? first.receipt : undefined
    await stage.deliver({ id: idOf(2), kind: 'reminder', receipt })
    const [invited, reminded] = await Promise.all(stage.smtp.taken.map(read))
    expect(reminded?.messageId).not.toBe(invited?.messageId)
    expect(reminded?.inReplyTo).toBe(invited?.messageId)
    expect(reminded?.references).toBe(invited?.messageId)
    expect(reminded?.subject).toBe(`Re: ${invited?.subject}`)
    expect(reminded?.text).toContain('your decision is still needed')
  })

  it('stands alone when the receipt is not one of ours', async () => {
    for (const receipt of [undefined, '', 'x', '<a@b> ana', '<a@b>\r\n<c@d> ana@example.com', '1700000000.1 C1']) {
      expect((await letterOf({ kind: 'reminder', receipt })).references).toBeUndefined()
    }
  })
})

describe('a digest', () => {
  const digest: Parameters<NonNullable<Channel['digest']>>[0] = {
    id: idOf(77),
    tenant: 'acme',
    approver: ana,
    invitations: Array.from({ length: 20 }, (_, at) => ({
      ...invitation,
      id: idOf(100 + at),
      risk: at === 3 ? 'critical' : 'low',
      summary: `Refund number ${at} <b>`
    })),
    more: 5
  }

  it('has all of its invitations, with their links, and says how many more there are', async () => {
    await using stage = await emailStage({}, { linksOf: ({ id }) => ({ open: `https://approvals.example.net/${id}` }) })
    const outcome = await stage.channel.digest?.(digest, { signal })
    const [taken] = stage.smtp.taken
    const email = await read(taken)
    expect(outcome).toEqual({ outcome: 'delivered', receipt: `${email.messageId} ${ana.address} ${digest.id}` })
    expect(stage.returnPath.read(taken?.from ?? '')).toMatchObject({ kind: 'digest', id: digest.id })
    expect(email.subject).toBe('Approval needed: 25 requests, risk up to critical')
    for (const body of both(email)) {
      for (const one of digest.invitations) expect(body).toContain(`https://approvals.example.net/${one.id}`)
      expect(body).toContain('20. Refund number 19')
      expect(body).toContain('5 more are waiting.')
    }
    expect(email.html).toContain('Refund number 3 &lt;b&gt;')
    await stage.channel.digest?.(digest, { signal })
    expect((await read(stage.smtp.taken[1])).messageId).toBe(email.messageId)
  })
})

describe('a notice of how it ended', () => {
  const notice: VerdictNotice = {
    id: idOf(9),
    requestId: invitation.requestId,
    tenant: 'acme',
    action: invitation.action,
    summary: invitation.summary,
    approver: ana,
    receipt: undefined,
    verdict: {
      outcome: 'denied',
      requestId: invitation.requestId,
      by: 'bo',
      decidedAt: 1_767_225_600_000,
      reason: 'not <now>'
    }
  }
  const requestId = invitation.requestId

  it('is in the thread of the invitation, at the address that it went to', async () => {
    await using stage = await emailStage({ to: (address) => (address === ana.address ? '550 5.1.1 no' : undefined) })
    const first = await stage.deliver()
    const receipt = first.outcome === 'delivered' ? first.receipt : undefined
    stage.smtp.script = {}
    await stage.channel.update?.({ ...notice, receipt }, { signal })
    const [invited, told] = await Promise.all(stage.smtp.taken.map(read))
    expect(stage.smtp.taken[1]?.to).toBe(ana.alternatives[0])
    expect(told?.references).toBe(invited?.messageId)
    expect(told?.subject).toBe(`Re: ${invited?.subject}`)
    for (const body of both(told as Email)) {
      for (const text of ['Denied', 'bo', 'Thu, 1 Jan 2026, 00:00 UTC']) expect(body).toContain(text)
    }
    expect(told?.html).toContain('not &lt;now&gt;')
    expect(stage.returnPath.read(stage.smtp.taken[1]?.from ?? '')).toMatchObject({ kind: 'notice' })
  })

  it('says each way in which it can end, a deadline never as a denial', async () => {
    await using stage = await emailStage()
    const decidedAt = 0
    for (const [verdict, heading] of [
      [{ outcome: 'approved', requestId, by: 'bo', decidedAt }, 'Approved'],
      [{ outcome: 'timed-out', requestId, decidedAt }, 'Not decided in time'],
      [{ outcome: 'revoked', requestId, by: 'uma', decidedAt, reason: 'wrong order' }, 'Taken back'],
      [{ outcome: 'cancelled', requestId, decidedAt }, 'No longer asked'],
      [{ outcome: 'superseded', requestId, version: 2 }, 'Changed']
    ] as const) {
      await stage.channel.update?.({ ...notice, verdict }, { signal })
      const { text = '' } = await read(stage.smtp.taken.at(-1))
      expect(text.startsWith(heading)).toBe(true)
      expect(text).not.toContain('Denied')
    }
  })

  it('is tried again by whoever called when it is refused for now, and given up when it is refused for good', async () => {
    await using stage = await emailStage({ to: () => '451 4.3.0 not now' })
    await expect(stage.channel.update?.(notice, { signal })).rejects.toMatchObject({
      code: 'CHANNEL_FAILED',
      detail: { reason: 'refused for now: 451 4.3.0', retryAfterMs: expect.any(Number) }
    })
    stage.smtp.script = { to: () => '550 5.1.1 no' }
    await expect(stage.channel.update?.(notice, { signal })).resolves.toBeUndefined()
    expect(await stage.health.standing(ana.address)).toEqual({ outcome: 'usable', hardBounces: 1 })
  })
})
