import { CoreError } from '@enablement/core'
import { testPlatform } from '@enablement/core/testing'
import { createMeter, type UsageStore } from '@enablement/metering'
import { cloudEventsHandler } from '@enablement/metering/cloudevents'
import { memoryUsageStore } from '@enablement/metering/memory'
import { describe, expect, it } from 'vitest'

const AT = Date.UTC(2026, 0, 15, 10, 30)
const event = {
  specversion: '1.0',
  id: 'call-1',
  source: '/gateway/7',
  type: 'llm-tokens',
  subject: 'sub_42',
  time: '2026-01-15T10:30:00Z',
  data: { quantity: 5 }
}

function setUp(store: UsageStore = memoryUsageStore(), limits: { bodyMaxBytes?: number; eventsMax?: number } = {}) {
  const meter = createMeter({ store, platform: testPlatform({ now: AT }) })
  const handle = cloudEventsHandler({
    meter,
    tenantOf: (request) => (request.headers.get('authorization') === 'Bearer key' ? 'org' : undefined),
    ...limits
  })
  const send = async (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string>, method = 'POST') => {
    const init = { method, headers: { authorization: 'Bearer key', ...headers } }
    const response = await handle(
      new Request('https://meter.example/events', method === 'GET' ? init : { ...init, body })
    )
    return { status: response.status, headers: response.headers, body: await response.json() }
  }
  const total = async () => {
    const totals = await meter.totals({ tenant: 'org', subscription: 'sub_42', from: AT, to: AT + 1 })
    return totals[0]?.quantity
  }
  return { meter, handle, send, total }
}

const structured = { 'content-type': 'application/cloudevents+json; charset=UTF-8' }
const batched = { 'content-type': 'application/cloudevents-batch+json' }
const binary = {
  'content-type': 'application/json',
  'ce-specversion': '1.0',
  'ce-id': 'call-1',
  'ce-source': '/gateway/7',
  'ce-type': 'llm-tokens',
  'ce-subject': 'sub_42',
  'ce-time': '2026-01-15T10:30:00Z'
}

describe('CloudEvents over HTTP', () => {
  it('come structured, binary and batched, and are one event in each', async () => {
    const { send, total } = setUp()
    expect(await send(JSON.stringify(event), structured)).toMatchObject({
      status: 200,
      body: { outcomes: [{ outcome: 'recorded' }] }
    })
    expect(await send('{"quantity":5}', binary)).toMatchObject({
      status: 200,
      body: { outcomes: [{ outcome: 'duplicate' }] }
    })
    expect(await send(JSON.stringify([event, { ...event, id: 'call-2' }]), batched)).toMatchObject({
      status: 200,
      body: { outcomes: [{ outcome: 'duplicate' }, { outcome: 'recorded' }] }
    })
    expect(await send('[]', batched)).toMatchObject({ status: 200, body: { outcomes: [] } })
    expect(await total()).toBe(10n)
  })

  it('have their headers decoded as the binding says (§3.1.3.2)', async () => {
    const { send, meter } = setUp()
    await send('{"quantity":5}', { ...binary, 'ce-subject': 'Euro%20%E2%82%AC%20%f0%9f%98%80' })
    await send('{"quantity":6}', { ...binary, 'ce-subject': '"Euro \\"x\\" 50%25"' })
    const of = (subscription: string) => meter.totals({ tenant: 'org', subscription, from: AT, to: AT + 1 })
    expect(await of('Euro € 😀')).toMatchObject([{ quantity: 5n }])
    expect(await of('Euro "x" 50%')).toMatchObject([{ quantity: 6n }])
    // An overlong encoding of a space.
    expect(await send('{"quantity":5}', { ...binary, 'ce-subject': 'a%C0%A0b' })).toMatchObject({ status: 400 })
  })

  it('answer for each event of a batch, and take the good ones', async () => {
    const { send, total } = setUp()
    await send(JSON.stringify(event), structured)
    const events = [
      { ...event, id: 'call-2' },
      null,
      { ...event, data: { quantity: 6 } },
      { ...event, time: undefined }
    ]
    const answer = await send(JSON.stringify(events), batched)
    expect(answer).toMatchObject({
      status: 422,
      body: {
        outcomes: [
          { outcome: 'recorded' },
          { outcome: 'rejected', issues: [{ path: '' }] },
          { outcome: 'conflict' },
          { outcome: 'rejected', issues: [{ path: 'time' }] }
        ]
      }
    })
    expect(await total()).toBe(10n)
  })

  it('are sent again when the store does not answer, which says nothing of it', async () => {
    const store = memoryUsageStore()
    const down = new CoreError('STORE_UNAVAILABLE', 'db-7.internal is down', {
      store: 'postgres',
      operation: 'connect'
    })
    const { send, meter } = setUp({ ...store, record: () => Promise.reject(down) })
    const answer = await send(JSON.stringify(event), structured)
    expect(answer).toMatchObject({ status: 503, body: { outcomes: [{ outcome: 'unknown' }] } })
    expect(answer.headers.get('retry-after')).toBe('1')
    expect(JSON.stringify(answer.body)).not.toContain('internal')
    await meter.close()
    expect(await send(JSON.stringify(event), structured)).toMatchObject({ status: 503 })
  })

  it.each([
    [400, '{', structured],
    [400, '{}', batched],
    [400, new Uint8Array([0x22, 0xff, 0x22]), structured],
    [422, '7', structured],
    [422, '{"quantity":5}', { 'content-type': 'application/json' }],
    [400, '{"quantity":5}', { ...binary, 'ce-datacontenttype': 'application/json' }],
    [415, 'quantity=5', { ...binary, 'content-type': 'text/plain' }],
    [415, '{}', { 'content-type': 'application/cloudevents+avro' }],
    [415, '{}', { 'content-type': 'application/cloudevents+json; charset=latin1' }]
  ])('are refused with %d for %o', async (status, body, headers) => {
    const { send, total } = setUp()
    expect(await send(body, headers as Record<string, string>)).toMatchObject({ status })
    expect(await total()).toBeUndefined()
  })

  it('are refused without credentials, and by other methods', async () => {
    const { send } = setUp()
    expect(await send(JSON.stringify(event), { ...structured, authorization: 'Bearer other' })).toMatchObject({
      status: 401
    })
    const got = await send('', {}, 'GET')
    expect(got).toMatchObject({ status: 405 })
    expect(got.headers.get('allow')).toBe('POST')
  })

  it('are read up to the bound and no further, whatever their length is said to be', async () => {
    const { send, handle } = setUp(memoryUsageStore(), { bodyMaxBytes: 1_000, eventsMax: 2 })
    expect(await send(JSON.stringify([event, event, event]), batched)).toMatchObject({ status: 413 })
    expect(await send('x'.repeat(10_000_000), structured)).toMatchObject({ status: 413 })
    let pulled = 0
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulled += 1
        controller.enqueue(new Uint8Array(600))
      }
    })
    const headers = { ...structured, authorization: 'Bearer key' }
    const request = new Request('https://meter.example', { method: 'POST', headers, body: endless, duplex: 'half' })
    expect((await handle(request)).status).toBe(413)
    expect(pulled).toBeLessThan(5)
  })

  it('need a meter and somebody who knows the tenant', () => {
    expect(() => cloudEventsHandler({} as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
