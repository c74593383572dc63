import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { testPlatform } from '@enablement/core/testing'
import { createQuotas, type Limit, type QuotasOptions } from '@enablement/metering'
import { type QuotaGuardOptions, quotaGuard } from '@enablement/metering/guard'
import { memoryQuotaStore } from '@enablement/metering/memory'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { afterEach, describe, expect, it } from 'vitest'
import { faulty } from '../quota/stage.ts'

const limits: readonly Limit[] = [{ name: 'requests', quantity: 2, period: { everyMs: 60_000 } }]

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

/** A Hono application on a real server. */
async function serve(app: Hono): Promise<string> {
  const listener = getRequestListener(app.fetch)
  const server = createServer((request, response) => void listener(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => new Promise((resolve) => server.close(() => resolve())))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function setUp(guard: Partial<QuotaGuardOptions> = {}, quotasOptions: Partial<QuotasOptions> = {}) {
  const platform = testPlatform({ now: Date.UTC(2026, 0, 1, 0, 0, 12) })
  const store = faulty(memoryQuotaStore({ platform }))
  const quotas = createQuotas({ store, limits, onStoreFailure: 'refuse', platform, ...quotasOptions })
  const quota = quotas.bind({ tenant: 'org', limit: 'requests' })
  const guarded = quotaGuard({ quota, limit: 'requests', platform, ...guard })
  return { platform, store, quotas, quota, guarded }
}

describe('a guarded handler', () => {
  it('answers with what remains until the quota is used up, and then with a problem and when to come back', async () => {
    const { guarded } = setUp()
    const app = new Hono()
    const handler = guarded(async () => Response.json({ ok: true }))
    app.get('/chat', (c) => handler(c.req.raw))
    const url = `${await serve(app)}/chat`
    const first = await fetch(url)
    expect([first.status, first.headers.get('ratelimit')]).toEqual([200, '"requests";r=1;t=48'])
    expect(await first.json()).toEqual({ ok: true })
    expect((await fetch(url)).headers.get('ratelimit')).toBe('"requests";r=0;t=48')
    const refused = await fetch(url)
    expect(refused.status).toBe(429)
    expect(refused.headers.get('content-type')).toBe('application/problem+json')
    expect(refused.headers.get('retry-after')).toBe('48')
    expect(refused.headers.get('ratelimit')).toBe('"requests";r=0;t=48')
    expect(await refused.json()).toEqual({
      type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
      title: 'The quota has been exceeded',
      status: 429,
      detail: '1 requested, 0 remaining',
      'violated-policies': ['requests'],
      requested: 1,
      remaining: 0
    })
  })

  it('may be a middleware of Hono', async () => {
    const { guarded } = setUp()
    const app = new Hono()
    app.use((c, next) =>
      guarded(async () => {
        await next()
        return c.res
      })(c.req.raw)
    )
    app.get('/', (c) => c.text('hello'))
    const url = await serve(app)
    const first = await fetch(url)
    expect([await first.text(), first.headers.get('ratelimit')]).toEqual(['hello', '"requests";r=1;t=48'])
    await fetch(url)
    expect((await fetch(url)).status).toBe(429)
  })

  it('is not told to wait for what will never come', async () => {
    const { guarded } = setUp({ amount: 3 })
    const refused = await guarded(() => new Response())(new Request('http://x/'))
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, null])
    expect(refused.headers.get('ratelimit')).toBe('"requests";r=2')
  })

  it('draws on the quota of its sender, as much as the request weighs', async () => {
    const { quotas, guarded: _one, platform } = setUp()
    const guarded = quotaGuard({
      quota: (request) => quotas.bind({ tenant: request.headers.get('x-tenant') ?? 'none', limit: 'requests' }),
      limit: 'requests',
      amount: async (request) => (await request.clone().text()).length,
      platform
    })
    const handler = guarded(async (request) => new Response(await request.text()))
    const send = (tenant: string, body: string) =>
      handler(new Request('http://x/', { method: 'POST', headers: { 'x-tenant': tenant }, body }))
    expect((await send('a', 'xx')).status).toBe(200)
    expect((await send('a', 'x')).status).toBe(429)
    expect(await (await send('b', 'yy')).text()).toBe('yy')
  })

  it.each([
    ['refuse', 503],
    ['allow', 200]
  ] as const)('answers as the posture %s says when the store is down: %d', async (onStoreFailure, status) => {
    for (const hold of [undefined, { ttlMs: 1_000 }]) {
      const { guarded, store } = setUp(hold === undefined ? {} : { hold }, { onStoreFailure })
      store.fault = 'down'
      const answer = await guarded(() => new Response('served'))(new Request('http://x/'))
      expect(answer.status).toBe(status)
      if (status === 503) {
        expect(answer.headers.get('retry-after')).toBe('5')
        expect(await answer.json()).toMatchObject({
          type: 'https://iana.org/assignments/http-problem-types#temporary-reduced-capacity'
        })
      } else expect(await answer.text()).toBe('served')
    }
  })

  it('copies a response whose headers cannot be changed', async () => {
    const { guarded } = setUp()
    const upstream = Response.redirect('http://elsewhere/')
    const answer = await guarded(() => upstream)(new Request('http://x/'))
    expect([answer.status, answer.headers.get('location')]).toEqual([302, 'http://elsewhere/'])
    expect(answer.headers.get('ratelimit')).toBe('"requests";r=1;t=48')
  })

  it('consumes once for a retry under one key, and 409 tells of a key for another amount', async () => {
    const { guarded, quota } = setUp({
      amount: (request) => Number(request.headers.get('x-amount')),
      idempotencyKey: (request) => request.headers.get('idempotency-key') ?? undefined
    })
    const handler = guarded(() => new Response())
    const send = (amount: string) =>
      handler(new Request('http://x/', { headers: { 'idempotency-key': 'k', 'x-amount': amount } }))
    expect([(await send('1')).status, (await send('1')).status, (await send('2')).status]).toEqual([200, 200, 409])
    expect(await quota.remaining()).toMatchObject({ remaining: 1 })
  })

  it('throws for a limit that nobody declared', async () => {
    const { quotas, platform } = setUp()
    const quota = quotas.bind({ tenant: 'org', limit: 'nothing' })
    const guarded = quotaGuard({ quota, limit: 'nothing', platform })
    await expect(guarded(() => new Response())(new Request('http://x/'))).rejects.toMatchObject({
      code: 'QUOTA_UNDECIDED'
    })
  })
})

describe('a handler that is held for', () => {
  it('is charged by its response, and not when it fails', async () => {
    const { guarded, quota } = setUp({ amount: 2, hold: { ttlMs: 1_000 } })
    const failing = await guarded(() => new Response('', { status: 500 }))(new Request('http://x/'))
    expect(failing.status).toBe(500)
    expect(await quota.remaining()).toMatchObject({ remaining: 2 })
    await expect(
      guarded(() => {
        throw new Error('broken')
      })(new Request('http://x/'))
    ).rejects.toThrow('broken')
    expect(await quota.remaining()).toMatchObject({ remaining: 2, levels: [{ held: 0 }] })
    await guarded(() => new Response())(new Request('http://x/'))
    expect(await quota.remaining()).toMatchObject({ remaining: 0 })
    expect((await guarded(() => new Response())(new Request('http://x/'))).status).toBe(429)
  })

  it('says what it used', async () => {
    const actual = (response: Response) => Number(response.headers.get('x-used'))
    const { guarded, quota } = setUp({ amount: 2, hold: { ttlMs: 1_000, actual } })
    await guarded((_request, hold) => new Response('', { headers: { 'x-used': String((hold?.amount ?? 0) - 1) } }))(
      new Request('http://x/')
    )
    expect(await quota.remaining()).toMatchObject({ remaining: 1, levels: [{ held: 0 }] })
  })
})

describe('the options of a guard', () => {
  it.each([
    ['no quota', { quota: {} }, 'quota'],
    ['a limit that is no name', { limit: 'a"b' }, 'limit'],
    ['half a request', { amount: 0.5 }, 'amount'],
    ['a hold of no time', { hold: { ttlMs: 0 } }, 'hold.ttlMs']
  ])('are refused with %s', (_what, wrong, path) => {
    expect(() => setUp(wrong as never)).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        detail: { subject: 'quotaGuard', issues: [expect.objectContaining({ path })] }
      })
    )
  })
})
