import { CoreError } from '@enablement/core'
import { createInbox, type InboxOptions } from '@enablement/oversight/inbox'
import { fc, test } from '@fast-check/vitest'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Opened } from './kernel.ts'
import { byHeader, FORM_KEY, ORIGIN, type Stage, stage } from './stage.ts'

const pagesOf = ({ id, path }: Opened): readonly string[] => [
  '/',
  '/?list=settled',
  '/?q=refund',
  path,
  `${path}/edit`,
  `/batch?decision=approve&request=${id}`,
  '/live?list=waiting'
]
const formsOf = ({ path }: Opened): readonly string[] => [
  '/batch',
  ...['decide', 'comment', 'edit', 'viewed'].map((verb) => `${path}/${verb}`)
]

/** All that is on record about a request: equal before and after means that nothing was done to it. */
const stateOf = async ({ oversight }: Stage, { id }: Opened): Promise<string> =>
  JSON.stringify(await oversight.story(id))

/** Fields that would do something on every form. */
const wishes = {
  decision: 'approve',
  text: 'hello',
  reason: 'because',
  detail: '{"order":"1","cents":1}',
  step: 'save'
}

const whole = async ({ ticket }: Stage, { id, path }: Opened): Promise<Record<string, string>> => {
  const { form, hash } = await ticket(path)
  return { ...wishes, form, hash, item: `${id} ${hash}` }
}

describe('a visitor of the inbox', () => {
  it('gets no further than a 401 when nobody is signed in, and changes nothing', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Refund' })
    const fields = await whole(desk, request)
    const before = await stateOf(desk, request)
    for (const path of pagesOf(request)) expect((await desk.get(path, { as: '' })).status).toBe(401)
    for (const path of formsOf(request)) expect((await desk.post(path, fields, { as: '' })).status).toBe(401)
    expect(await (await desk.get(request.path, { as: '' })).text()).not.toContain('Refund')
    expect(await stateOf(desk, request)).toBe(before)
  })

  it('is nobody when authentication throws or answers something malformed', async () => {
    const answers = [
      () => Promise.reject(new Error('down')),
      async () => ({ approver: '', tenant: 'acme' }),
      async () => ({ approver: 'ana' }),
      async () => null
    ]
    for (const authenticate of answers) {
      await using desk = await stage({ authenticate: authenticate as unknown as InboxOptions['authenticate'] })
      expect((await desk.get('/')).status).toBe(401)
      expect(desk.events).toMatchObject([{ type: 'inbox.authentication-failed' }])
    }
  })

  it('may come with what it has no value for', async () => {
    const visitor = { approver: 'ana', tenant: 'acme', name: undefined, sees: undefined, session: undefined }
    await using desk = await stage({ authenticate: async () => visitor })
    expect((await desk.get('/')).status).toBe(200)
  })

  it('is shown the way to sign in, or sent there', async () => {
    await using linked = await stage({ signIn: { url: '/login?theme=plain', returnParameter: 'next' } })
    const page = await linked.get('/requests/some?a=b', { as: '' })
    expect(page.status).toBe(401)
    expect(await page.text()).toContain('href="/login?theme=plain&amp;next=%2Finbox%2Frequests%2Fsome%3Fa%3Db"')
    await using sent = await stage({ signIn: { url: 'https://id.example/login', redirect: true } })
    const answer = await sent.get('/', { as: '' })
    expect([answer.status, answer.headers.get('location')]).toEqual([302, 'https://id.example/login'])
    expect((await sent.post('/requests/some/decide', {}, { as: '' })).status).toBe(401)
  })

  it('finds nothing of another tenant, and nothing that concerns others alone', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Secret wire' })
    for (const as of ['ana@rival', 'ops@rival', 'cleo@acme']) {
      const { form } = await desk.ticket(`/batch?request=${request.id}`, { as })
      const stolen = { ...(await whole(desk, request)), form }
      const before = await stateOf(desk, request)
      for (const path of [request.path, `${request.path}/edit`]) expect((await desk.get(path, { as })).status).toBe(404)
      for (const path of pagesOf(request)) expect(await (await desk.get(path, { as })).text()).not.toContain('Secret')
      for (const path of formsOf(request).slice(1)) expect((await desk.post(path, stolen, { as })).status).toBe(403)
      expect(await (await desk.get(`/live?request=${request.id}`, { as })).text()).toBe('')
      expect(await stateOf(desk, request)).toBe(before)
    }
  })

  it('with a good form still does nothing to a request of another tenant', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Secret wire' })
    const own = await desk.open({ summary: 'Their own', tenant: 'rival' })
    const { form } = await desk.ticket(own.path, { as: 'ana@rival' })
    const fields = { ...(await whole(desk, request)), form }
    const before = await stateOf(desk, request)
    for (const path of formsOf(request).slice(1))
      expect((await desk.post(path, fields, { as: 'ana@rival' })).status).toBe(404)
    expect(await (await desk.post('/batch', fields, { as: 'ana@rival' })).text()).toMatch(/0 of 1 counted/)
    expect(await stateOf(desk, request)).toBe(before)
  })

  it('who may read the whole tenant may decide no more for it', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Refund' })
    const as = 'ops@acme'
    const page = await (await desk.get(request.path, { as })).text()
    expect(page).toContain('Refund')
    expect(page).not.toContain('value="approve"')
    expect(await (await desk.get('/?list=open', { as })).text()).toContain('Refund')
    const { form } = await desk.ticket(request.path, { as })
    const answer = await desk.post(`${request.path}/decide`, { ...(await whole(desk, request)), form }, { as })
    expect(answer.status).toBe(403)
    expect(await answer.text()).toContain('You have not been asked about this request.')
  })
})

describe('a form', () => {
  const refused = async (
    desk: Stage,
    request: Opened,
    because: string,
    fields: Record<string, string>,
    sent = {}
  ): Promise<void> => {
    const before = await stateOf(desk, request)
    for (const path of formsOf(request)) {
      const answer = await desk.post(path, fields, sent)
      expect(answer.status).toBe(403)
      expect(desk.events.at(-1)).toEqual({ type: 'inbox.refused', because, method: 'POST', path })
    }
    expect(await stateOf(desk, request)).toBe(before)
  }

  it('is refused from another site, whatever it holds', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Refund' })
    const fields = await whole(desk, request)
    for (const site of ['cross-site', 'same-site', 'none']) {
      await refused(desk, request, 'cross-site', fields, { headers: { 'sec-fetch-site': site, origin: ORIGIN } })
    }
  })

  it('is judged by Origin where the browser says nothing else, and refused where it says nothing at all', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Refund' })
    const fields = new URLSearchParams(await whole(desk, request))
    const send = (headers: Record<string, string>, at = desk): Promise<Response> =>
      at.inbox.handle(
        new Request(`${ORIGIN}/inbox${request.path}/comment`, {
          method: 'POST',
          body: fields,
          headers: { 'x-user': 'ana@acme', ...headers }
        })
      )
    for (const origin of ['https://evil.test', 'null', `${ORIGIN}.evil.test`, `${ORIGIN}:81`]) {
      expect((await send({ origin })).status).toBe(403)
    }
    expect((await send({})).status).toBe(403)
    expect((await send({ origin: ORIGIN })).status).toBe(303)
    await using behind = await stage({ origin: 'https://ops.example.com' }, desk)
    expect((await send({ origin: ORIGIN }, behind)).status).toBe(403)
    expect((await send({ origin: 'https://ops.example.com' }, behind)).status).toBe(303)
  })

  it('is refused without a ticket, with one of somebody else, another session, key or path, and with any byte of it flipped', async () => {
    await using desk = await stage({
      authenticate: async (request) => {
        const visitor = await byHeader(request)
        const session = request.headers.get('x-session')
        return visitor === undefined || session === null ? visitor : { ...visitor, session }
      }
    })
    const request = await desk.open({ summary: 'Refund' })
    const fields = await whole(desk, request)
    const others = [
      '',
      (await desk.ticket(request.path, { as: 'bo@acme' })).form,
      (await desk.ticket(request.path, { headers: { 'x-session': 's-1' } })).form
    ]
    for (const more of [{ formKeys: [`${FORM_KEY} another`] }, { basePath: '/inbox2' }]) {
      await using elsewhere = await stage(more, desk)
      const page = await elsewhere.inbox.handle(
        new Request(`${ORIGIN}${more.basePath ?? '/inbox'}${request.path}`, { headers: { 'x-user': 'ana@acme' } })
      )
      others.push(/name="form" value="([^"]*)"/.exec(await page.text())?.[1] as string)
    }
    for (const form of others) await refused(desk, request, 'form', { ...fields, form })
    const good = fields['form'] as string
    for (let at = 0; at < good.length; at++) {
      const flipped = good.slice(0, at) + (good[at] === '1' ? '2' : '1') + good.slice(at + 1)
      const answer = await desk.post(`${request.path}/comment`, { ...fields, form: flipped })
      expect([at, answer.status]).toEqual([at, 403])
    }
    expect((await desk.post(`${request.path}/comment`, fields)).status).toBe(303)
  })

  it('lasts 12 hours, and outlives the replacement of a key', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Refund' })
    const fields = await whole(desk, request)
    const { platform } = desk
    await using rotated = await stage({ formKeys: [`${FORM_KEY}, a newer one`, FORM_KEY] }, desk)
    await platform.clock.advance(43_200_000)
    expect((await rotated.post(`${request.path}/comment`, fields)).status).toBe(303)
    await platform.clock.advance(1)
    await refused(desk, request, 'form', fields)
    platform.clock.jumpWallTo(platform.clock.now() - 86_400_000)
    await refused(desk, request, 'form', fields)
  })

  it('is refused as anything but a form, and beyond a mebibyte, announced or not', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Refund' })
    const fields = await whole(desk, request)
    const send = (body: string | ReadableStream, headers: Record<string, string>): Promise<Response> =>
      desk.inbox.handle(
        new Request(`${ORIGIN}/inbox${request.path}/comment`, {
          method: 'POST',
          body,
          headers: { 'x-user': 'ana@acme', 'sec-fetch-site': 'same-origin', ...headers },
          duplex: 'half'
        })
      )
    for (const type of ['application/json', 'text/plain', 'multipart/form-data; boundary=x', '']) {
      expect((await send(new URLSearchParams(fields).toString(), { 'content-type': type })).status).toBe(415)
    }
    const form = 'application/x-www-form-urlencoded;charset=utf-8'
    const text = 'x'.repeat(1_048_577)
    expect((await send(`text=${text}`, { 'content-type': form })).status).toBe(413)
    let sent = 0
    const endless = new ReadableStream({
      pull(controller) {
        sent += 1
        controller.enqueue(new Uint8Array(65_536).fill(97))
      }
    })
    expect((await send(endless, { 'content-type': form })).status).toBe(413)
    expect(sent).toBeLessThan(20)
    expect((await desk.oversight.inspect(request.id)).comments).toEqual([])
    expect(desk.events.map((event) => 'because' in event && event.because)).toEqual([
      ...Array<string>(4).fill('content-type'),
      'too-large',
      'too-large'
    ])
  })
})

describe('a GET', () => {
  it('changes nothing and leaves no trace, fetched ahead or not', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Refund' })
    const before = await stateOf(desk, request)
    for (const path of [...pagesOf(request), ...formsOf(request)]) {
      for (const headers of [{}, { 'sec-purpose': 'prefetch' }]) await desk.get(path, { headers })
    }
    expect(await stateOf(desk, request)).toBe(before)
  })

  it('is answered like a HEAD without a body, and other methods with 405', async () => {
    await using desk = await stage()
    const send = (method: string): Promise<Response> =>
      desk.inbox.handle(new Request(`${ORIGIN}/inbox/`, { method, headers: { 'x-user': 'ana@acme' } }))
    const head = await send('HEAD')
    expect([head.status, await head.text()]).toEqual([200, ''])
    for (const method of ['PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      const answer = await send(method)
      expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET, HEAD, POST'])
    }
  })
})

describe('an answer', () => {
  it('carries the policy and the other headers, whatever it is, and is kept by nobody', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Refund' })
    const answers = [
      ...(await Promise.all([...pagesOf(request), '/nothing', '/requests/none'].map((path) => desk.get(path)))),
      await desk.get('/', { as: '' }),
      await desk.post(`${request.path}/decide`, {}),
      await desk.post(`${request.path}/comment`, await whole(desk, request))
    ]
    for (const { headers } of answers) {
      expect(headers.get('content-security-policy')).toBe(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; " +
          "frame-ancestors 'none'; base-uri 'none'"
      )
      expect(headers.get('cache-control')).toBe('no-store')
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('x-frame-options')).toBe('DENY')
      expect(headers.get('referrer-policy')).toBe('same-origin')
      expect(headers.get('cross-origin-opener-policy')).toBe('same-origin')
    }
  })

  it('has its script and style under names that tell their content, small enough not to be thought about', async () => {
    await using desk = await stage()
    const page = await (await desk.get('/')).text()
    const names = [...page.matchAll(/(?:src|href)="\/inbox(\/assets\/[^"]+)"/g)].map(([, path]) => path as string)
    expect(names).toHaveLength(3)
    let bytes = 0
    for (const name of names) {
      expect(name).toMatch(/\.[0-9a-f]{16}\.(?:js|css|svg)$/)
      const file = await desk.get(name, { as: '' })
      expect(file.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
      bytes += (await file.arrayBuffer()).byteLength
    }
    expect(bytes).toBeLessThan(32_768)
    expect((await desk.get('/assets/inbox.0000000000000000.js', { as: '' })).status).toBe(404)
  })

  it('has nothing inline: no script, style or handler', async () => {
    await using desk = await stage()
    const request = await desk.open({ summary: 'Refund' })
    for (const path of pagesOf(request)) {
      expect(await (await desk.get(path)).text()).not.toMatch(
        /<style|<script(?! src=)|\sstyle=|\son[a-z]+=|javascript:/i
      )
    }
  })

  /** As much of the text as the name of a person may hold. */
  const nameOf = (text: string): string =>
    text
      .normalize('NFC')
      .replaceAll(/[\p{C}\p{Z}@]/gu, '')
      .slice(0, 40)
      .toWellFormed()
      .replaceAll('\ufffd', '')
  /** As much of it as prose may hold. */
  const proseOf = (text: string): string => text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu, '')

  describe('about hostile text', () => {
    let desk: Stage
    let plain: readonly number[]
    beforeAll(async () => {
      desk = await stage()
      plain = await render('x')
    })
    afterAll(() => desk[Symbol.asyncDispose]())

    let renders = 0
    /** The signs of mark-up on every page about a request in which all that can be of others is `text`. */
    const render = async (text: string): Promise<readonly number[]> => {
      const { oversight } = desk
      const [name, prose] = [nameOf(text), proseOf(text)]
      const [voter, editor] = [`v${name}`, `e${name}`]
      desk.gather([voter, editor])
      renders += 1
      const { id, path, argumentHash } = await desk.open({
        action: 'forum.post',
        tenant: `t${renders}`,
        summary: `s${prose}`,
        agent: `g${name}`,
        onBehalfOf: `o${name}`,
        context: { outcome: 'unavailable', reason: `r${prose}` },
        detail: { [`name${text}`]: 'old' }
      })
      const detail = { [`name${text}`]: `value${text}`, list: [`item${text}`], deep: { a: { b: { c: { d: text } } } } }
      await oversight.edit(id, { by: editor, detail, reason: `e${prose}`, argumentHash })
      await oversight.comment(id, { by: editor, text: `c${prose}` })
      await oversight.decide(id, { approver: voter, decision: 'approve', reason: `d${prose}` })
      const as = encodeURIComponent(`${editor}@t${renders}`)
      const paths = ['/', path, `/batch?request=${id}`, `${path}/edit`]
      const shown = await Promise.all(paths.map((one) => desk.get(one, { as }).then((answer) => answer.text())))
      expect(shown[1]).toContain('What version 2 changed')
      return shown.flatMap((page) => ['<', '>', '"'].map((sign) => page.split(sign).length))
    }

    test.prop([
      fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 }),
      fc.constantFrom('<', '"', "'", '&', '</textarea>', '<script>', '-->')
    ])('holds no mark-up of an agent, an approver or a requester', async (noise, mark) => {
      expect(await render(`${mark}${noise}${mark}`)).toEqual(plain)
    })
  })

  it('shows what hides or reorders text', async () => {
    await using desk = await stage()
    const request = await desk.open({
      summary: 'Refund 21 to \u200bana',
      detail: { note: 'a\u2066b\u0000c \u202e0021\u202c' }
    })
    const page = await (await desk.get(request.path)).text()
    expect(page).toContain('Refund 21 to [U+200B]ana')
    expect(page).toContain('a[U+2066]b[U+0000]c [U+202E]0021[U+202C]')
    expect(page).toContain('a\\u2066b\\u0000c \\u202e0021\\u202c')
    expect(page).not.toMatch(/[\u202a-\u202e\u2066-\u2069\u200b\0]/)
  })
})

describe('a text on a page', () => {
  const shownAs = async (text: string): Promise<string> => {
    await using desk = await stage()
    const { path } = await desk.open({ summary: 'Refund', detail: { note: `<${text}>` } })
    return /&lt;(.*?)&gt;<\/span>/s.exec(await (await desk.get(path)).text())?.[1] as string
  }

  it.each([
    ['a Hangul filler', 'a\u115fb\u1160c\u3164d\uffa0e', 'a[U+115F]b[U+1160]c[U+3164]d[U+FFA0]e'],
    ['a grapheme joiner', 'a\u034fb', 'a[U+034F]b'],
    ['a Mongolian selector', '\u1820\u180b\u180c\u180d\u180e\u180f', '\u1820[U+180B][U+180C][U+180D][U+180E][U+180F]'],
    ['tags', 'a\u{e0001}\u{e0000}\u{e0041}\u{e007f}', 'a[U+E0001][U+E0000][U+E0041][U+E007F]'],
    ['a soft hyphen', '1\u00ad200', '1[U+00AD]200'],
    ['a word joiner and an invisible plus', '1\u20602\u20643', '1[U+2060]2[U+2064]3'],
    ['a selector on a letter or a digit', 'a\ufe0f 1\ufe0f0 \u{e0100}', 'a[U+FE0F] 1[U+FE0F]0 [U+E0100]'],
    ['bytes in selectors', '\u{1f600}\ufe0f\ufe01\u{e0110}', '\u{1f600}\ufe0f[U+FE01][U+E0110]'],
    ['a second selector on an ideograph', '\u845b\u{e0100}\u{e0101}', '\u845b\u{e0100}[U+E0101]'],
    ['joiners in other words', 'pay\u200dpal \u200cx', 'pay[U+200D]pal [U+200C]x'],
    ['joiners in a row', '\u0645\u200c\u200c\u06cc', '\u0645[U+200C][U+200C]\u06cc'],
    ['marks that pile up', 'a\u0301\u0301\u0301\u0301\u0301', 'a\u0301\u0301\u0301\u0301[U+0301]']
  ])('has %s written out', async (_, text, shown) => {
    expect(await shownAs(text)).toBe(shown)
  })

  it.each([
    ['a keycap and an emoji', '1\ufe0f\u20e3 \u2764\ufe0f \u00a9\ufe0e'],
    [
      'a family, a skin tone and a flag',
      '\u{1f468}\u200d\u{1f469}\u200d\u{1f467} \u{1f44d}\u{1f3fd}\u200d\u2695\ufe0f \u{1f3f3}\ufe0f\u200d\u{1f308}'
    ],
    ['Persian', '\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645'],
    ['Hindi and Sinhala', '\u0915\u094d\u200d\u0937 \u0915\u094d\u200c \u0dc1\u0dca\u200d\u0dbb\u0dd3'],
    ['a name in kanji', '\u845b\u{e0100}\u98fe\u533a'],
    ['a tab, a line break and accents', 'a\tb\nc\u0323\u0307\u0301 \u05e9\u05c1\u05b8\u0591']
  ])('keeps what the writing needs: %s', async (_, text) => {
    expect(await shownAs(text)).toBe(text)
  })
})

describe('the options of an inbox', () => {
  const good: InboxOptions = {
    oversight: { inspect: () => Promise.reject(new Error()) } as unknown as InboxOptions['oversight'],
    authenticate: byHeader,
    formKeys: [FORM_KEY],
    basePath: '/inbox'
  }
  it.each([
    ['oversight', undefined],
    ['authenticate', 'ana'],
    ['formKeys', []],
    ['formKeys.0', ['too short']],
    ['formKeys.1', [FORM_KEY, new Uint8Array(31)]],
    ['basePath', 'inbox'],
    ['basePath', '/inbox/'],
    ['basePath', '/in"box'],
    ['origin', 'https://ops.example.com/inbox'],
    ['title', ''],
    ['pollMs', Number.NaN],
    ['pollMs', 249],
    ['signIn.redirekt', { url: '/login', redirekt: true }],
    ['pollMS', 1_000]
  ])('are refused with the path: %s', (path, value) => {
    const options = { ...good, [path.split('.')[0] as string]: value } as unknown as InboxOptions
    const attempt = (): unknown => createInbox(options)
    expect(attempt).toThrow(CoreError)
    try {
      attempt()
    } catch (error) {
      expect((error as CoreError<'INVALID_OPTIONS'>).detail.issues.map((issue) => issue.path)).toContain(path)
      expect((error as Error).message).not.toContain('too short')
    }
  })
})
