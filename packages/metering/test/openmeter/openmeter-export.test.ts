import { inspect } from 'node:util'
import { createOpenMeterExport, type OpenMeterExportOptions } from '@enablement/metering/openmeter'
import { describe, expect, it } from 'vitest'
import { DAY, exporting, ledger, localServer, NOW, reasons } from '../export/stage.ts'

const KEY = 'om_secretSECRETsecret'
const HOUR = 3_600_000

/** As much of OpenMeter's ingestion as an export meets: batches of CloudEvents, known again by source and id. */
async function openMeterServer() {
  const events = new Map<string, Record<string, unknown>>()
  const server = await localServer((request, body) => {
    const problem = (status: number) => ({ status, body: { type: 'about:blank', title: 'refused', status } })
    if (request.method !== 'POST' || request.url !== '/api/v1/events') return problem(404)
    if (request.headers.authorization !== `Bearer ${KEY}`) return problem(401)
    if (request.headers['content-type'] !== 'application/cloudevents-batch+json') return problem(400)
    const batch = JSON.parse(body) as Record<string, unknown>[]
    const isWhole = (event: Record<string, unknown>): boolean =>
      ['id', 'source', 'type', 'subject'].every((name) => typeof event[name] === 'string' && event[name] !== '') &&
      event['specversion'] === '1.0' &&
      !Number.isNaN(Date.parse(String(event['time']))) &&
      typeof event['data'] === 'object'
    // One that is not whole has all of its batch refused.
    if (!batch.every(isWhole) || batch.some(({ subject }) => subject === 'refused')) return problem(400)
    for (const event of batch) {
      const key = JSON.stringify([event['source'], event['id']])
      if (!events.has(key)) events.set(key, event)
    }
    return { status: 204 }
  })
  return Object.assign(server, { events })
}

async function stage(options: Partial<OpenMeterExportOptions> = {}) {
  const on = await ledger()
  const server = await openMeterServer()
  const make = (more: Partial<OpenMeterExportOptions> = {}) =>
    createOpenMeterExport({
      db: on.db,
      feed: on.feed,
      begin: 'with-all',
      apiUrl: `${server.url}/`,
      apiKey: KEY,
      eventOf: ({ subscription }) => ({ subject: subscription }),
      fetch: on.fetch,
      observe: on.observe,
      platform: on.platform,
      ...options,
      ...more
    })
  return exporting(on, server, make)
}

describe('the export to OpenMeter', () => {
  it('sends batches of CloudEvents, told apart by source and id, without their properties', async () => {
    await using on = await stage()
    await on.use('a/1', { quantity: 7, at: NOW - 1 })
    await on.use('a/1', { subscription: 'sub 2' })
    await on.run(on.exported)
    expect(on.server.calls).toEqual(['POST /api/v1/events'])
    expect([...on.server.events.values()]).toEqual([
      {
        specversion: '1.0',
        id: 'a/1',
        source: '/tenants/org/subscriptions/sub',
        type: 'calls',
        subject: 'sub',
        time: '2040-01-15T09:59:59.999Z',
        datacontenttype: 'application/json',
        data: { quantity: 7 }
      },
      expect.objectContaining({ source: '/tenants/org/subscriptions/sub%202', subject: 'sub 2' })
    ])
  })

  it('sends a hundred at a time, each once', async () => {
    await using on = await stage()
    for (let at = 0; at < 250; at++) await on.use(`t${at}`)
    await on.run(on.exported)
    expect(on.server.calls).toHaveLength(3)
    expect(on.server.events.size).toBe(250)
  })

  it('finds the events for which a batch is refused, and sets them alone aside', async () => {
    await using on = await stage()
    for (let at = 0; at < 20; at++)
      await on.use(`t${at}`, { subscription: at === 3 || at === 17 ? 'refused' : `s${at}` })
    await on.run(on.exported)
    expect(await reasons(on.exported)).toEqual([
      ['t3', 'http-400'],
      ['t17', 'http-400']
    ])
    expect(on.server.events.size).toBe(18)
  })

  it('sends again what was lost on the way, and is counted once', async () => {
    await using on = await stage()
    for (let at = 0; at < 5; at++) await on.use(`t${at}`)
    on.server.mishaps.push('lost', 'cut', 'lost', { status: 500 }, { status: 503, headers: { 'retry-after': '60' } })
    for (let attempt = 0; attempt < 4; attempt++) {
      await on.run(on.exported)
      await on.later(HOUR)
    }
    expect(on.server.events.size).toBe(5)
    expect(await on.exported.state()).toEqual({ position: 5, end: 5, setAside: 0 })
  })

  it('finds the one that makes the server fail, after some attempts, and sends the others', async () => {
    await using on = await stage()
    for (let at = 0; at < 9; at++) await on.use(`t${at}`)
    const failing = on.make({
      fetch: async (url, init) =>
        (init.body as string).includes('"t4"') ? new Response(null, { status: 500 }) : on.fetch(url, init)
    })
    for (let attempt = 0; attempt < 9; attempt++) {
      await on.run(failing)
      await on.later(HOUR)
    }
    expect(await reasons(failing)).toEqual([['t4', 'failing']])
    expect(on.server.events.size).toBe(8)
  })

  it('leaves a server alone that does not answer, and asks again after a break', async () => {
    await using on = await stage()
    await on.use('t1')
    const dead = on.make({ apiUrl: 'http://127.0.0.1:1' })
    for (let attempt = 0; attempt < 30; attempt++) {
      await on.run(dead)
      await on.later(HOUR)
    }
    const errors = on.events.flatMap((event) =>
      event.type === 'export.failed' ? [event.error as { detail: { reason: string } }] : []
    )
    expect(errors.map(({ detail }) => detail.reason)).toContain('no-answer')
    expect(await dead.state()).toMatchObject({ position: 0, setAside: 0 })
    await on.run(on.make())
    expect(on.server.events.size).toBe(1)
  })

  it('does not send again what the server may have forgotten by then', async () => {
    await using on = await stage({ dedupeMs: 2 * DAY })
    await on.use('t1')
    on.server.mishaps.push('lost', 'lost', 'lost')
    await on.run(on.exported)
    await on.later(2 * DAY - 60_000)
    on.server.mishaps.push('lost', 'lost', 'lost')
    await on.run(on.exported)
    expect(await reasons(on.exported)).toEqual([])
    await on.later(HOUR)
    await on.run(on.exported)
    expect(await reasons(on.exported)).toEqual([['t1', 'maybe-exported']])
  })

  it('sets aside what is no event, and works without a key', async () => {
    await using on = await stage()
    await on.use('t1')
    await on.use('t2')
    const odd = on.make({
      eventOf: ({ transactionId }) =>
        transactionId === 't1' ? ({ subject: 's', data: { n: 1n } } as never) : { subject: 's' }
    })
    await on.run(odd)
    expect(await reasons(odd)).toEqual([['t1', 'not-an-event']])
    const { apiKey: _key, ...keyless } = {
      apiKey: KEY,
      name: 'other',
      fetch: async () => new Response(null, { status: 204 })
    }
    const options = {
      db: on.db,
      feed: on.feed,
      begin: 'with-all',
      apiUrl: 'http://om.local',
      eventOf: () => undefined
    } as const
    await on.run(createOpenMeterExport({ ...options, ...keyless, platform: on.platform }))
  })

  it('says nothing of its key', async () => {
    await using on = await stage()
    await on.use('t1')
    on.server.mishaps.push({ status: 403, body: KEY })
    await on.run(on.exported)
    expect(on.events).toMatchObject([{ type: 'export.failed', error: { code: 'EXPORT_UNAUTHORIZED' } }])
    expect(inspect([on.events, on.exported], { depth: 20, showHidden: true })).not.toContain('om_secret')
  })
})
