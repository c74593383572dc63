import { isSuiteError, type Verdict } from '@enablement/core'
import type { DecisionLinksOptions } from '@enablement/oversight/links'
import { fc, test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'
import { type Answer, BASE, HASH, invited, key, NOW, pageOf, stage, submit, type View, viewOf } from './stage.ts'

const approved: Verdict = { outcome: 'approved', requestId: 'request-1', by: 'bo', decidedAt: NOW }

describe('a decision link', () => {
  it('shows the request and a form in which nothing is chosen, whatever it was sent for', async () => {
    const { links, get, written } = stage()
    for (const [verb, url] of Object.entries(links.linksOf(invited))) {
      const page = await get(url)
      expect(page.status).toBe(200)
      expect(page.title).toBe('Refund 120 EUR to customer 4711')
      for (const text of [
        'payments.refund',
        'medium',
        'agent-7',
        'uma',
        '&quot;amount&quot;: 120',
        '2026-01-01 01:00 UTC'
      ])
        expect(page.text).toContain(text)
      expect(page.text).not.toMatch(/checked|<script|http/)
      const [first] = page.text.match(/value="(approve|deny)"/) ?? []
      expect(first).toBe(verb === 'deny' ? 'value="deny"' : 'value="approve"')
    }
    expect(written).toEqual([])
  })

  it('takes no reason that reorders the text around it, and shows where it does', async () => {
    const one = stage()
    for (const control of ['\u202e', '\u2066']) {
      const reason = `not${control} paid`
      const page = await one.press(one.links.linksOf(invited).open, { decision: 'deny', reason })
      expect([page.status, page.seal]).toEqual([400, expect.any(String)])
      expect(page.text).toContain('role="alert"')
      expect(page.text).toContain(control === '\u202e' ? 'not[U+202E] paid' : 'not[U+2066] paid')
    }
    expect(one.written).toEqual([])
  })

  it('decides when a choice was made on the page and sent from it', async () => {
    const one = stage()
    const { approve } = one.links.linksOf(invited)
    one.answer = { outcome: 'recorded', verdict: approved }
    const page = await one.press(approve, { decision: 'approve', reason: ' looks\r\nright ' })
    expect([page.status, page.title]).toEqual([200, 'Your approval is recorded'])
    expect(page.text).toContain('It was approved by bo at 2026-01-01 00:00 UTC.')
    expect(one.written).toEqual([
      ['viewed', 'request-1', { by: 'ana', argumentHash: HASH }],
      [
        'decide',
        {
          approver: 'ana',
          argumentHash: HASH,
          idempotencyKey: expect.stringMatching(/^link:[A-Za-z0-9_-]{22}$/),
          decision: 'approve',
          reason: 'looks\nright'
        }
      ]
    ])
    expect(one.events).toEqual([
      {
        type: 'link.decided',
        requestId: 'request-1',
        tenant: 'acme',
        approver: 'ana',
        decision: 'approve',
        outcome: 'recorded'
      }
    ])
  })

  it('may be used to deny though it was sent to approve: the choice on the page counts', async () => {
    const one = stage()
    await one.press(one.links.linksOf(invited).approve, { decision: 'deny', reason: 'no' })
    expect(one.written.at(-1)).toMatchObject(['decide', { decision: 'deny', reason: 'no' }])
  })

  it('votes under one idempotency key, whichever of an invitation’s links is used and however often', async () => {
    const one = stage()
    const { open, approve, deny } = one.links.linksOf(invited)
    for (const url of [open, approve, deny, open]) await one.press(url, { decision: 'approve' })
    const [other] = [one.links.linksOf({ ...invited, id: 'invitation-2' }).open]
    await one.press(other, { decision: 'approve' })
    const keys = one.written.flatMap(([what, ballot]) => (what === 'decide' ? [ballot.idempotencyKey] : []))
    expect(new Set(keys.slice(0, 4)).size).toBe(1)
    expect(keys[4]).not.toBe(keys[0])
  })

  it('is answered without being stored, framed, indexed, referred from or able to load anything', async () => {
    const { links, get } = stage()
    for (const url of [links.linksOf(invited).open, `${BASE}/nothing`]) {
      const { headers } = await get(url)
      expect(headers.get('cache-control')).toBe('no-store')
      expect(headers.get('referrer-policy')).toBe('no-referrer')
      expect(headers.get('x-robots-tag')).toContain('noindex')
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      const policy = headers.get('content-security-policy')
      expect(policy).toMatch(/^default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{43}='; form-action 'self'; /)
      expect(policy).toMatch(/frame-ancestors 'none'; base-uri 'none'$/)
    }
  })

  it('has the hash of its style sheet in its policy, or the page would have none', async () => {
    const { links, get } = stage()
    const { headers, text } = await get(links.linksOf(invited).open)
    const style = /<style>(.*?)<\/style>/s.exec(text)?.[1] ?? ''
    const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(style))
    expect(headers.get('content-security-policy')).toContain(`'sha256-${Buffer.from(digest).toString('base64')}'`)
  })

  it('shows whatever an agent supplied as text, and what it hides', async () => {
    const one = stage()
    const evil = '</pre><script>alert(1)</script>"\'&\u202Etxt.exe\u0000\u200B'
    const shown = '&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;[U+202E]txt.exe[U+0000][U+200B]'
    const view = viewOf({
      summary: evil,
      action: evil,
      requestedBy: { agent: evil, onBehalfOf: evil },
      detail: { [evil]: evil }
    })
    one.requests.set('request-1', view)
    const { text } = await one.get(one.links.linksOf(invited).open)
    expect(text.split(shown).length - 1).toBeGreaterThanOrEqual(5)
    expect(text).not.toMatch(/<script|<\/pre>.*<script|\u202E|\u200B|\0/s)
    expect(text.match(/<\/pre>/g)).toHaveLength(1)
  })

  it('says how old the agent’s knowledge was, and that what was asked has been edited', async () => {
    const one = stage()
    one.requests.set('request-1', viewOf({ version: 3, context: { outcome: 'stale', ageMs: 90_000 } }))
    const { text } = await one.get(one.links.linksOf(invited).open)
    expect(text).toContain('90 s old')
    expect(text).toContain('3: what was asked has been edited')
  })

  it('shows as much of a detail as an approver may see, and then puts no full view on record', async () => {
    const one = stage({ detailOf: ({ detail }, { approver }) => ({ amount: detail['amount'] ?? 0, for: approver }) })
    const { open } = one.links.linksOf(invited)
    const { text } = await one.get(open)
    expect(text).toContain('&quot;for&quot;: &quot;ana&quot;')
    expect(text).not.toContain('EUR&quot;')
    await one.press(open, { decision: 'approve' })
    expect(one.written.map(([what]) => what)).toEqual(['decide'])
  })
})

describe('whatever fetches links without a person', () => {
  const scanner = { cookie: 'session=of-ana', 'sec-purpose': 'prefetch', 'user-agent': 'SafeLinks' }

  it('casts no vote by GET, HEAD or OPTIONS, nor by following what the pages link to', async () => {
    const one = stage({ session: async () => 'ana', signInUrl: `${BASE}/sign-in` })
    const { open, approve, deny } = one.links.linksOf(invited)
    const queue = [open, approve, deny, `${approve}?decision=approve`, `${approve}#approve`, `${approve}/approve`]
    for (const url of queue) {
      for (const method of ['GET', 'HEAD', 'OPTIONS', 'PUT', 'PATCH', 'DELETE']) {
        const response = await one.links.handle(new Request(url, { method, headers: scanner }))
        const text = await response.text()
        if (method === 'HEAD') expect([response.status, text]).toEqual([200, ''])
        else if (method !== 'GET')
          expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD, POST'])
        for (const [, target] of text.matchAll(/(?:href|src|action)="([^"]*)"/g)) {
          const absolute = new URL((target as string).replaceAll('&amp;', '&'), url).href
          if (!queue.includes(absolute) && queue.length < 50) queue.push(absolute)
        }
      }
    }
    expect(one.written).toEqual([])
  })

  it('casts no vote by a HEAD, which does not even look', async () => {
    const one = stage()
    one.requests.clear()
    const response = await one.links.handle(new Request(one.links.linksOf(invited).open, { method: 'HEAD' }))
    expect([response.status, one.events]).toEqual([200, []])
  })

  it('casts no vote by sending a page’s form as it stands', async () => {
    const one = stage()
    const { approve } = one.links.linksOf(invited)
    const page = await one.press(approve, { reason: '', word: '' })
    expect(page.status).toBe(400)
    expect(page.text).toContain('role="alert"')
    expect(one.written).toEqual([])
  })

  it('casts no vote on what is risky by choosing and sending, without typing the word', async () => {
    const one = stage()
    one.requests.set('request-1', viewOf({ risk: 'high' }))
    const { approve } = one.links.linksOf(invited)
    for (const word of ['', 'on', 'yes', 'deny']) {
      const page = await one.press(approve, { decision: 'approve', reason: 'because', word })
      expect([page.status, page.text.includes('value="approve" required checked')]).toEqual([400, true])
      expect(page.text).toContain('because</textarea>')
    }
    expect(one.written).toEqual([])
    await one.press(approve, { decision: 'approve', word: ' Approve ' })
    expect(one.written.at(-1)).toMatchObject(['decide', { decision: 'approve' }])
  })

  it.each<[string, Record<string, string>]>([
    ['from another site', { 'sec-fetch-site': 'cross-site' }],
    ['from another host of the site', { 'sec-fetch-site': 'same-site' }],
    ['from no page at all', { 'sec-fetch-site': 'none' }],
    ['with another origin, whatever else it says', { origin: 'https://evil.example.com' }]
  ])('casts no vote by a form that is sent %s', async (_where, headers) => {
    const one = stage()
    const page = await one.press(one.links.linksOf(invited).approve, { decision: 'approve' }, headers)
    expect(page.status).toBe(403)
    expect(one.written).toEqual([])
    expect(one.events).toEqual([{ type: 'link.refused', because: 'cross-site' }])
  })

  it.each<[string, Record<string, string>, boolean]>([
    ['an old browser, which names the page’s origin', { origin: 'https://approvals.example.com' }, true],
    ['an old browser that names none', { origin: 'null' }, false],
    ['a program, which names nothing', {}, false]
  ])('is told apart from %s', async (_who, headers, counts) => {
    const one = stage()
    const { approve } = one.links.linksOf(invited)
    const { seal } = await one.get(approve)
    const body = new URLSearchParams({ decision: 'approve', form: seal ?? '' })
    const response = await one.links.handle(new Request(approve, { method: 'POST', headers, body }))
    expect(response.status).toBe(counts ? 200 : 403)
    expect(one.written.some(([what]) => what === 'decide')).toBe(counts)
  })
})

describe('a form', () => {
  it.each<[string, Record<string, string> | [string, string][], string]>([
    ['without a choice', {}, 'Choose whether'],
    ['with a choice that there is not', { decision: 'abstain' }, 'Choose whether'],
    [
      'with both choices',
      [
        ['decision', 'approve'],
        ['decision', 'deny']
      ],
      'Choose whether'
    ],
    ['that denies without a reason', { decision: 'deny', reason: ' \r\n\0' }, 'Say why'],
    ['with an endless reason', { decision: 'deny', reason: 'x'.repeat(1_001) }, 'Shorten']
  ])('%s is shown again and decides nothing', async (_what, fields, problem) => {
    const one = stage()
    const page = await one.press(one.links.linksOf(invited).open, fields)
    expect(page.status).toBe(400)
    expect(page.text).toContain(problem)
    expect(one.written).toEqual([])
  })

  it('without the page’s seal, with another link’s or a forged one decides nothing', async () => {
    const one = stage()
    const { approve, open } = one.links.linksOf(invited)
    const { seal = '' } = await one.get(approve)
    const others = await one.get(one.links.linksOf({ ...invited, approver: { id: 'bo' } }).approve)
    const moved = seal.replace(/^[^.]+/, (NOW + 1).toString(36))
    for (const form of ['', 'x', `${seal}x`, seal.slice(0, -1), moved, others.seal ?? '']) {
      const page = await one.press(approve, { decision: 'approve', form })
      expect(page.status).toBe(403)
    }
    expect((await one.press(open, { decision: 'approve', form: seal })).status).toBe(403)
    expect(one.written).toEqual([])
  })

  it('is good for an hour', async () => {
    const one = stage()
    const { approve } = one.links.linksOf(invited)
    const { seal = '' } = await one.get(approve)
    await one.platform.clock.advance(3_599_999)
    expect((await one.press(approve, { decision: 'approve', form: seal })).status).toBe(200)
    await one.platform.clock.advance(1)
    expect((await one.press(approve, { decision: 'approve', form: seal })).status).toBe(403)
    expect(one.written.filter(([what]) => what === 'decide')).toHaveLength(1)
  })

  it('of another kind or size is not read', async () => {
    const one = stage()
    const { approve } = one.links.linksOf(invited)
    const { seal = '' } = await one.get(approve)
    const headers = { 'sec-fetch-site': 'same-origin', 'content-type': 'application/json' }
    const json = JSON.stringify({ decision: 'approve', form: seal })
    expect((await one.links.handle(new Request(approve, { method: 'POST', headers, body: json }))).status).toBe(415)
    const multipart = new FormData()
    multipart.set('decision', 'approve')
    multipart.set('form', seal)
    const sent = new Request(approve, { method: 'POST', headers: { 'sec-fetch-site': 'same-origin' }, body: multipart })
    expect((await one.links.handle(sent)).status).toBe(415)
    const huge = new URLSearchParams({ decision: 'approve', form: seal, reason: 'x'.repeat(20_000) })
    expect((await one.links.handle(submit(approve, huge))).status).toBe(413)
    expect(one.written).toEqual([])
  })
})

/** What a path holds as it is. */
const UNRESERVED = /^[A-Za-z0-9._~-]$/

describe('a link that is not what it says', () => {
  it('is nothing, with any byte of it changed', async () => {
    const one = stage()
    const { approve } = one.links.linksOf(invited)
    const at = approve.lastIndexOf('/') + 1
    for (let index = at; index < approve.length; index++) {
      const bits = [1, 2, 4, 8, 16, 32, 64].filter((bit) =>
        UNRESERVED.test(String.fromCharCode(approve.charCodeAt(index) ^ bit))
      )
      for (const bit of inject('scale') > 1 ? bits : bits.slice(index % 2, (index % 2) + 1)) {
        const changed = String.fromCharCode(approve.charCodeAt(index) ^ bit)
        const page = await one.get(approve.slice(0, index) + changed + approve.slice(index + 1))
        expect(page.status).toBe(404)
      }
    }
    expect(one.events.every((event) => event.type === 'link.refused' && event.because === 'forged')).toBe(true)
  })

  it('is nothing when it is cut, prolonged, doubled, swapped or made by hand', async () => {
    const one = stage()
    const { approve, deny } = one.links.linksOf(invited)
    const token = approve.slice(BASE.length + 1)
    const [id, claims, mark] = token.split('.') as [string, string, string]
    const [, otherClaims, otherMark] = deny.slice(BASE.length + 1).split('.') as [string, string, string]
    const forged = Buffer.from('["request-1","acme","bo","x","approve",9999999999999,"n"]').toString('base64url')
    const tokens = [
      ...Array.from({ length: token.length }, (_, length) => token.slice(0, length)),
      `${token}x`,
      `${token}=`,
      `${token}.`,
      `${token}${token}`,
      `${id}.${otherClaims}.${mark}`,
      `${id}.${claims}.${otherMark}`,
      `k2.${claims}.${mark}`,
      `${id}.${forged}.${mark}`,
      `${id}.${forged}.`,
      `${id}.${claims}`,
      `.${claims}.${mark}`,
      `__proto__.${claims}.${mark}`,
      `constructor.${claims}.${mark}`,
      'x'.repeat(100_000),
      '%00',
      '..%2f..%2f',
      '%E0%A4%A'
    ]
    for (const forgery of tokens) expect((await one.get(`${BASE}/${forgery}`)).status).toBe(404)
    expect(one.written).toEqual([])
  })

  test.prop([fc.webPath(), fc.webQueryParameters()], { numRuns: 200 })(
    'is nothing, whatever it is',
    async (path, query) => {
      const { get } = stage()
      expect((await get(`${BASE}${path}?${query}`)).status).toBe(404)
    }
  )

  it('of another key, deployment or purpose is nothing', async () => {
    const one = stage()
    const other = one.another({ keys: [key('k1', 'another secret of the same name')] })
    expect((await one.get(other.linksOf(invited).approve)).status).toBe(404)
    const { seal = '' } = await one.get(one.links.linksOf(invited).approve)
    expect((await one.get(`${BASE}/${seal}`)).status).toBe(404)
  })

  it('of another tenant, or of no request, looks the same as a forged one', async () => {
    const one = stage()
    const nowhere = await one.get(`${BASE}/forged`)
    for (const changed of [{ tenant: 'globex' }, { requestId: 'request-2' }]) {
      const { approve } = one.links.linksOf({ ...invited, ...changed })
      const page = await one.get(approve)
      expect([page.status, page.text]).toEqual([404, nowhere.text])
      expect((await one.press(approve, { decision: 'approve' })).status).toBe(404)
    }
    expect(one.written).toEqual([])
  })

  it('that has expired says so, and decides nothing, though its form was on the screen', async () => {
    const one = stage({ ttlMs: 60_000 })
    const { approve } = one.links.linksOf(invited)
    const { seal = '' } = await one.get(approve)
    await one.platform.clock.advance(59_999)
    expect((await one.get(approve)).status).toBe(200)
    await one.platform.clock.advance(1)
    expect((await one.get(approve)).status).toBe(410)
    expect((await one.press(approve, { decision: 'approve', form: seal })).status).toBe(410)
    expect(one.written).toEqual([])
    expect(one.events.at(-1)).toEqual({ type: 'link.refused', because: 'expired', requestId: 'request-1' })
  })

  it('signed by an older key works until that is taken out', async () => {
    const one = stage()
    const { approve } = one.links.linksOf(invited)
    const rotated = one.another({ keys: [key('k2'), key('k1')] })
    expect((await rotated.handle(new Request(approve))).status).toBe(200)
    expect(rotated.linksOf(invited).approve).toContain('/k2.')
    const later = one.another({ keys: [key('k2')] })
    expect((await later.handle(new Request(approve))).status).toBe(404)
  })
})

describe('an approver', () => {
  it('who is not asked sees nothing of the request', async () => {
    const one = stage()
    const { open } = one.links.linksOf({ ...invited, approver: { id: 'mallory' } })
    const page = await one.get(open)
    expect([page.status, page.title]).toEqual([403, 'You are not asked'])
    expect(page.text).not.toContain('Refund')
  })

  it('has their authority looked up when they decide, whatever the link says', async () => {
    const one = stage()
    one.answer = { outcome: 'not-authorized', because: 'separation-of-duties' }
    const page = await one.press(one.links.linksOf(invited).approve, { decision: 'approve' })
    expect([page.status, page.title]).toEqual([403, 'You may not decide this'])
  })

  const answers: readonly [Answer, number, string, RegExp][] = [
    [{ outcome: 'recorded', verdict: undefined }, 200, 'Your approval is recorded', /waiting for others/],
    [{ outcome: 'recorded', verdict: approved }, 200, 'Your approval is recorded', /approved by bo/],
    [
      { outcome: 'already-decided', decision: 'deny', verdict: undefined },
      200,
      'You had chosen to deny',
      /That stands/
    ],
    [
      { outcome: 'already-decided', decision: 'approve', verdict: approved },
      200,
      'You had chosen to approve',
      /approved by bo/
    ],
    [
      { outcome: 'too-late', verdict: { outcome: 'timed-out', requestId: 'request-1', decidedAt: NOW } },
      409,
      'Too late',
      /Nobody decided in time/
    ],
    [
      { outcome: 'too-late', verdict: { outcome: 'cancelled', requestId: 'request-1', decidedAt: NOW } },
      409,
      'Too late',
      /withdrawn at/
    ],
    [
      {
        outcome: 'too-late',
        verdict: { outcome: 'revoked', requestId: 'request-1', by: 'uma', decidedAt: NOW, reason: 'wrong order' }
      },
      409,
      'Too late',
      /uma took the approval back at .*: wrong order/
    ],
    [
      {
        outcome: 'too-late',
        verdict: { outcome: 'denied', requestId: 'request-1', by: 'bo', decidedAt: NOW, reason: '<b>no</b>' }
      },
      409,
      'Too late',
      /denied by bo at .*: &lt;b&gt;no/
    ],
    [
      { outcome: 'superseded', argumentHash: 'cd'.repeat(32), version: 2 },
      409,
      'What was asked has been changed',
      /newest message/
    ],
    [{ outcome: 'not-authorized', because: 'not-asked' }, 403, 'You may not decide this', /not among those/],
    [{ outcome: 'not-authorized', because: 'not-known' }, 403, 'You may not decide this', /no longer/]
  ]
  it.each(answers)('is told %j', async (answer, status, title, text) => {
    const one = stage()
    one.answer = answer
    const page = await one.press(one.links.linksOf(invited).open, { decision: 'approve' })
    expect([page.status, page.title]).toEqual([status, title])
    expect(page.text).toMatch(text)
    expect(page.seal).toBeUndefined()
  })

  const settled: readonly [Partial<View>, number, string][] = [
    [{ status: 'approved', verdict: approved }, 200, 'Nothing is left to decide'],
    [{ status: 'revoked' }, 200, 'Nothing is left to decide'],
    [{ argumentHash: 'cd'.repeat(32), version: 2 }, 409, 'What was asked has been changed'],
    [{ votes: [{ approver: 'ana', decision: 'deny', reason: 'no', votedAt: NOW }] }, 200, 'You chose to deny']
  ]
  it.each(settled)('finds no form where there is nothing to decide: %j', async (changed, status, title) => {
    const one = stage()
    one.requests.set('request-1', viewOf(changed))
    const page = await one.get(one.links.linksOf(invited).open)
    expect([page.status, page.title, page.seal]).toEqual([status, title, undefined])
  })

  it('who fills a form in wrongly after the end is not shown it again', async () => {
    const one = stage()
    const { open } = one.links.linksOf(invited)
    const { seal = '' } = await one.get(open)
    one.requests.set('request-1', viewOf({ status: 'approved', verdict: approved }))
    const page = await one.press(open, { form: seal })
    expect([page.title, page.seal]).toEqual(['Nothing is left to decide', undefined])
  })
})

describe('a request that needs a session', () => {
  const critical = (options: Partial<DecisionLinksOptions>) => {
    const one = stage({ sessionFrom: 'high', signInUrl: 'https://sso.example.com/', ...options })
    one.requests.set('request-1', viewOf({ risk: 'critical' }))
    return one
  }
  const decision = { decision: 'approve', word: 'approve' }

  it.each<[string, Partial<DecisionLinksOptions>]>([
    ['when nobody can be asked for one', {}],
    ['of nobody', { session: async () => undefined }],
    ['of somebody else', { session: async () => 'bo' }]
  ])('shows and decides nothing in the session %s', async (_whose, options) => {
    const one = critical(options)
    const { approve } = one.links.linksOf(invited)
    const page = await one.get(approve)
    expect([page.status, page.seal]).toEqual([403, undefined])
    expect(page.text).not.toContain('Refund')
    expect(page.text).toContain('href="https://sso.example.com/"')
    expect((await one.press(approve, decision)).status).toBe(403)
    expect(one.written).toEqual([])
    expect(one.events).toContainEqual({ type: 'link.refused', because: 'session', requestId: 'request-1' })
  })

  it('shows and decides nothing while sessions cannot be looked up', async () => {
    const one = critical({ session: () => Promise.reject(new Error('sso is down')) })
    const { approve } = one.links.linksOf(invited)
    expect((await one.get(approve)).status).toBe(503)
    expect((await one.press(approve, decision)).status).toBe(503)
    expect(one.written).toEqual([])
  })

  it('is decided in the session of the one who was invited', async () => {
    const one = critical({ session: async ({ headers }) => (headers.get('cookie') === 'sid=1' ? 'ana' : undefined) })
    const { approve } = one.links.linksOf(invited)
    expect((await one.press(approve, decision, { cookie: 'sid=1' })).status).toBe(200)
    expect(one.written).toHaveLength(2)
  })

  it('is not decided by a form that was shown without one, while it needed none', async () => {
    const one = critical({ session: async () => 'ana' })
    one.requests.set('request-1', viewOf({ risk: 'low' }))
    const { approve } = one.links.linksOf(invited)
    const { seal = '' } = await one.get(approve)
    one.requests.set('request-1', viewOf({ risk: 'critical' }))
    expect((await one.press(approve, { ...decision, form: seal })).status).toBe(403)
    expect(one.written).toEqual([])
  })

  it('asks for none below that risk', async () => {
    const one = critical({ session: () => Promise.reject(new Error('not to be asked')) })
    one.requests.set('request-1', viewOf({ risk: 'medium' }))
    expect((await one.press(one.links.linksOf(invited).approve, { decision: 'approve' })).status).toBe(200)
  })
})

describe('oversight that does not answer', () => {
  it('makes a page that says so, and after the button one that says that it is not known', async () => {
    const one = stage()
    one.answer = () => Promise.reject(new Error('postgres is down'))
    const pressed = await one.press(one.links.linksOf(invited).open, { decision: 'approve' })
    expect([pressed.status, pressed.title]).toEqual([503, 'It is not known whether that was recorded'])
    const broken = one.another({
      oversight: {
        inspect: () => Promise.reject(new Error('hunter2')),
        viewed: () => Promise.reject(new Error('hunter2')),
        decide: () => Promise.reject(new Error('hunter2'))
      }
    })
    const page = await pageOf(await broken.handle(new Request(one.links.linksOf(invited).open)))
    expect(page.status).toBe(503)
    expect(page.text).not.toContain('hunter2')
    expect(one.events.map(({ type }) => type)).toEqual(['link.failed', 'link.failed'])
  })

  it('to a view does not keep the vote from being cast', async () => {
    const one = stage()
    const calls: string[] = []
    const links = one.another({
      oversight: {
        inspect: async () => viewOf(),
        viewed: () => Promise.reject(new Error('no')),
        decide: async () => {
          calls.push('decide')
          return { outcome: 'recorded', verdict: undefined }
        }
      }
    })
    const { open } = links.linksOf(invited)
    const { seal = '' } = await pageOf(await links.handle(new Request(open)))
    const sent = submit(open, new URLSearchParams({ form: seal, decision: 'approve' }))
    expect((await links.handle(sent)).status).toBe(200)
    expect(calls).toEqual(['decide'])
  })
})

describe('decision links', () => {
  it('show no secret and no token in events, pages of refusal or inspection', async () => {
    const one = stage()
    const { approve } = one.links.linksOf(invited)
    await one.press(approve, { decision: 'approve' })
    await one.press(approve, { decision: 'approve', form: 'x' })
    await one.get(`${approve}x`)
    const said = JSON.stringify(one.events) + JSON.stringify(one.links) + one.links.handle.toString()
    expect(said).not.toContain(approve.slice(-43))
    expect(said).not.toContain('k1......')
  })

  it('copy their keys', async () => {
    const secret = new Uint8Array(32).fill(1)
    const one = stage({ keys: [{ id: 'k1', secret }] })
    const { open } = one.links.linksOf(invited)
    secret.fill(2)
    expect((await one.get(open)).status).toBe(200)
    expect(one.links.linksOf(invited).open).toBe(open)
  })

  it('are bounded: names that would make a link that nobody reads are refused', () => {
    const { links } = stage()
    expect(() => links.linksOf({ ...invited, tenant: '€'.repeat(1_000) })).toThrow(/at most 4096 are read/)
    const long = '€'.repeat(256)
    const { open } = links.linksOf({ ...invited, tenant: long, requestId: long, approver: { id: long } })
    expect(open.length).toBeLessThan(4_096 + BASE.length)
  })

  it.each([
    [{ baseUrl: 'http://approvals.example.com/' }, 'baseUrl'],
    [{ baseUrl: 'https://approvals.example.com/?a=b' }, 'baseUrl'],
    [{ baseUrl: 'https://user:secret@approvals.example.com/' }, 'baseUrl'],
    [{ baseUrl: 'approvals' }, 'baseUrl'],
    [{ keys: [] }, 'keys'],
    [{ keys: [key('a'), key('a')] }, 'keys'],
    [{ keys: [{ id: 'a.b', secret: 'x'.repeat(32) }] }, 'keys.0.id'],
    [{ keys: [{ id: 'a', secret: 'x'.repeat(31) }] }, 'keys.0.secret'],
    [{ keys: [{ id: 'a', secret: new Uint8Array(31) }] }, 'keys.0.secret'],
    [{ sessionFrom: 'never' }, 'sessionFrom'],
    [{ sessionFrom: undefined }, 'sessionFrom'],
    [{ ttlMs: Number.NaN }, 'ttlMs'],
    [{ ttlMs: 91 * 86_400_000 }, 'ttlMs'],
    [{ signInUrl: 'javascript:alert(1)' }, 'signInUrl'],
    [{ sesion: async () => 'ana' }, 'sesion']
  ])('are not made with %j', (wrong, path) => {
    try {
      stage(wrong as never)
      expect.unreachable()
    } catch (error) {
      expect(isSuiteError(error, 'INVALID_OPTIONS') && error.detail).toMatchObject({ issues: [{ path }] })
      expect(JSON.stringify(error)).not.toContain('xxx')
    }
  })

  it('may be tried on the loopback without TLS', () => {
    expect(stage({ baseUrl: 'http://localhost:3000/decide/' }).links.linksOf(invited).open).toMatch(
      /^http:\/\/localhost:3000\/decide\/k1\./
    )
  })
})
