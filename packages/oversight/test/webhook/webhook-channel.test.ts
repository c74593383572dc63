import { createCircuitBreaker, isSuiteError } from '@enablement/core'
import { createSharedCircuitBreaker, memoryBreakerStateStore } from '@enablement/core/fleet'
import { createOutbox, outboxSchema } from '@enablement/core/outbox'
import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { testPlatform, withStoreClock } from '@enablement/core/testing'
import type { Invitation, VerdictNotice } from '@enablement/oversight'
import { createWebhookVerifier, webhookChannel } from '@enablement/oversight/webhook'
import { describe, expect, it } from 'vitest'
import { hang, type LocalEndpoint, localEndpoint, type Script, status } from './local-endpoint.ts'
import { channelTo, driver, invitation, keyOf, signal, transportTo } from './stage.ts'

const OPENED_AT = 1_767_225_600_000

const many = (count: number): Invitation[] =>
  Array.from({ length: count }, (_, at) => invitation({ id: `invitation-${at}` }))

/** Answers one after the other, the last one from then on. */
const inTurn = (...scripts: [Script, ...Script[]]): Script => {
  let at = 0
  return (response, request) => (scripts[Math.min(at++, scripts.length - 1)] as Script)(response, request)
}

const idsAt = (endpoint: LocalEndpoint) => endpoint.received.map(({ headers }) => headers['webhook-id'])

describe('a webhook', () => {
  it('brings an invitation as a thin, typed, signed event', async () => {
    await using stage = await channelTo({
      linksOf: ({ requestId }) => ({ open: `https://inbox.example.com/${requestId}` })
    })
    const delivered = await stage.channel.deliver(invitation({ context: { outcome: 'stale', ageMs: 5 } }), { signal })
    expect(delivered).toEqual({ outcome: 'delivered', receipt: 'invitation-1' })
    const { headers, body } = stage.endpoint.received[0] as { headers: object; body: string }
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      'webhook-id': 'invitation-1',
      'webhook-timestamp': String(OPENED_AT / 1_000)
    })
    expect(JSON.parse(body)).toEqual({
      type: 'approval.requested',
      timestamp: '2026-01-01T00:00:00.000Z',
      data: {
        invitationId: 'invitation-1',
        approver: { id: 'ana', name: 'Ana' },
        request: {
          requestId: 'request-1',
          tenant: 'acme',
          action: 'payments.refund',
          risk: 'medium',
          summary: 'Refund 120 EUR to customer 4711',
          argumentHash: 'ab'.repeat(32),
          version: 1,
          requestedBy: { agent: 'agent-7', onBehalfOf: 'uma' },
          context: { outcome: 'stale', ageMs: 5 },
          tier: 0,
          openedAt: OPENED_AT,
          escalatesAt: OPENED_AT + 900_000,
          deadlineAt: OPENED_AT + 3_600_000,
          openUrl: 'https://inbox.example.com/request-1'
        },
        excerpt: { amount: 120 },
        excerptOmitted: false
      }
    })
  })

  it('keeps its id and signs anew in each attempt', async () => {
    await using stage = await channelTo()
    stage.endpoint.answer(inTurn(status(503, { 'retry-after': '1' }), status(200)))
    const { deliver, pass } = driver(stage.channel, stage.platform)
    const ended = deliver(invitation())
    await pass(3_000)
    expect(await ended).toMatchObject({ outcome: 'delivered', attempts: 2 })
    const [first, second] = stage.endpoint.received.map(({ headers }) => headers)
    expect(first?.['webhook-id']).toBe(second?.['webhook-id'])
    expect(first?.['webhook-timestamp']).not.toBe(second?.['webhook-timestamp'])
    expect(first?.['webhook-signature']).not.toBe(second?.['webhook-signature'])
  })

  it('reminds under the invitation’s name, digests, and tells the verdict and what superseded it', async () => {
    await using stage = await channelTo()
    const { channel, endpoint } = stage
    await channel.deliver(invitation({ id: 'reminder-1', kind: 'reminder', receipt: 'invitation-1' }), { signal })
    const digest = { id: 'digest-1', tenant: 'acme', approver: invitation().approver, invitations: many(6), more: 3 }
    expect(await channel.digest(digest, { signal })).toEqual({ outcome: 'delivered', receipt: 'digest-1' })
    const { requestId, tenant, action, summary, approver } = invitation()
    const about = { requestId, tenant, action, summary, approver, receipt: 'invitation-1' }
    const denied = { outcome: 'denied', requestId, by: 'bo', decidedAt: OPENED_AT, reason: 'too much' } as const
    await channel.update({ ...about, id: 'notice-1', verdict: denied }, { signal })
    await channel.update(
      { ...about, id: 'notice-2', verdict: { outcome: 'superseded', requestId, version: 2 } },
      { signal }
    )
    const verifier = createWebhookVerifier({ secrets: [keyOf(1)], platform: stage.platform })
    expect(endpoint.received.map((one) => verifier.verify(one))).toMatchObject([
      { id: 'reminder-1', payload: { type: 'approval.reminded', data: { invitationId: 'invitation-1' } } },
      {
        id: 'digest-1',
        payload: { type: 'approvals.digest', data: { more: 3, requests: many(6).map(() => ({ requestId })) } }
      },
      {
        id: 'notice-1',
        payload: { type: 'approval.settled', data: { invitationId: 'invitation-1', verdict: denied } }
      },
      { id: 'notice-2', payload: { type: 'approval.superseded', data: { invitationId: 'invitation-1', version: 2 } } }
    ])
  })

  it('stays below 20,000 bytes whatever is asked', async () => {
    await using stage = await channelTo()
    const { channel, endpoint } = stage
    const endless = '\u0001€'.repeat(20_000)
    const huge = invitation({
      summary: endless,
      excerpt: { text: endless },
      requestedBy: { agent: endless, onBehalfOf: endless },
      context: { outcome: 'unavailable', reason: endless },
      approver: { ...invitation().approver, name: endless }
    })
    await channel.deliver(huge, { signal })
    await channel.deliver({ ...invitation(), excerpt: { text: 'x'.repeat(19_000) } }, { signal })
    await channel.digest(
      {
        id: 'digest-1',
        tenant: 'acme',
        approver: huge.approver,
        invitations: Array.from({ length: 20 }, () => huge),
        more: 5
      },
      { signal }
    )
    const { requestId, tenant, action, approver } = huge
    for (const outcome of ['denied', 'revoked'] as const) {
      const verdict = { outcome, requestId, by: 'bo', decidedAt: 0, reason: endless }
      await channel.update(
        { id: outcome, requestId, tenant, action, summary: endless, approver, receipt: undefined, verdict },
        { signal }
      )
    }
    for (const { body } of endpoint.received) expect(Buffer.byteLength(body)).toBeLessThanOrEqual(20_000)
    const [cut, omitted, digest] = endpoint.received.map(({ body }) => JSON.parse(body))
    expect(cut.data).toMatchObject({ excerpt: {}, excerptOmitted: true })
    expect(cut.data.request.summary).toBe(`${endless.slice(0, 499)}…`)
    expect(omitted.data).toMatchObject({ excerptOmitted: false })
    expect(digest.data.requests.length + digest.data.more).toBe(25)
  })

  it('has an id that a signature can hold, whatever the invitation’s is', async () => {
    await using stage = await channelTo()
    const odd = invitation({ id: 'a.b c\r\nx: y' })
    expect(await stage.channel.deliver(odd, { signal })).toEqual({ outcome: 'delivered', receipt: odd.id })
    await stage.channel.deliver({ ...odd, attempt: 2 }, { signal })
    const [first, second] = idsAt(stage.endpoint)
    expect(first).toMatch(/^h_[0-9a-f]{64}$/)
    expect(second).toBe(first)
  })
})

describe('an endpoint’s answer', () => {
  const answers: readonly (readonly [number, Readonly<Record<string, string>>, object])[] = [
    [200, {}, { outcome: 'delivered' }],
    [204, {}, { outcome: 'delivered' }],
    [301, { location: 'https://elsewhere.example.com/' }, { outcome: 'retry', reason: 'HTTP_301' }],
    [304, {}, { outcome: 'retry', reason: 'HTTP_304' }],
    [400, {}, { outcome: 'unreachable', reason: 'HTTP_400' }],
    [401, {}, { outcome: 'unreachable', reason: 'HTTP_401' }],
    [404, {}, { outcome: 'unreachable', reason: 'HTTP_404' }],
    [408, {}, { outcome: 'retry', reason: 'HTTP_408' }],
    [410, {}, { outcome: 'unreachable', reason: 'HTTP_410' }],
    [429, {}, { outcome: 'retry', reason: 'HTTP_429' }],
    [429, { 'retry-after': '20' }, { outcome: 'postponed', reason: 'HTTP_429' }],
    [500, {}, { outcome: 'retry', reason: 'HTTP_500' }],
    [503, { 'retry-after': '20' }, { outcome: 'retry', reason: 'HTTP_503' }],
    [503, { 'retry-after': 'Thu, 01 Jan 2026 00:00:20 GMT' }, { outcome: 'retry', reason: 'HTTP_503' }],
    // Longer than an endpoint that fails is waited for.
    [503, { 'retry-after': '61' }, { outcome: 'unreachable', reason: 'HTTP_503' }],
    [429, { 'retry-after': '9999999999' }, { outcome: 'unreachable', reason: 'HTTP_429' }],
    [502, { 'retry-after': 'soon' }, { outcome: 'retry', reason: 'HTTP_502' }]
  ]
  it.each(answers)('%i with %j is %j', async (code, headers, outcome) => {
    await using stage = await channelTo()
    stage.endpoint.answer(status(code, headers))
    const answer = await stage.channel.deliver(invitation(), { signal })
    expect(answer).toMatchObject(outcome)
    if (headers['retry-after']?.match(/20/) && 'afterMs' in answer) {
      expect(answer.afterMs).toBeGreaterThanOrEqual(20_000)
      expect(answer.afterMs).toBeLessThanOrEqual(21_000)
    }
  })

  it('410 disables the endpoint for a day and is reported; it is not called meanwhile', async () => {
    await using stage = await channelTo()
    const { channel, endpoint, events, platform } = stage
    endpoint.answer(inTurn(status(410), status(200)))
    await channel.deliver(invitation(), { signal })
    expect(events).toContainEqual({
      type: 'webhook.endpoint-gone',
      endpoint: expect.stringMatching(/^127\.0\.0\.1#/),
      approver: 'ana'
    })
    expect(await channel.deliver(invitation({ id: 'invitation-2' }), { signal })).toEqual({
      outcome: 'unreachable',
      reason: 'HTTP_410'
    })
    expect(await channel.reachability(invitation().approver, { signal })).toMatchObject({ outcome: 'unreachable' })
    expect(endpoint.received).toHaveLength(1)
    await platform.clock.advance(86_400_000)
    expect(await channel.reachability(invitation().approver, { signal })).toEqual({ outcome: 'reachable' })
  })

  it('429 with Retry-After keeps everybody off that endpoint until then, without attempts', async () => {
    await using stage = await channelTo()
    const { channel, endpoint, platform } = stage
    endpoint.answer(inTurn(status(429, { 'retry-after': '5' }), status(200)))
    const { deliver, pass } = driver(channel, platform)
    const first = deliver(invitation())
    await pass(100)
    const others = many(4).map((one) => deliver(one))
    await pass(4_800)
    expect(endpoint.received).toHaveLength(1)
    await pass(3_000)
    expect(await first).toMatchObject({ outcome: 'delivered', attempts: 1, postponed: 1 })
    for (const other of await Promise.all(others))
      expect(other).toMatchObject({ outcome: 'delivered', attempts: 1, postponed: 1 })
  })

  it('that always asks for a little patience is not waited for beyond the bound', async () => {
    await using stage = await channelTo({ unreachableAfterMs: 10_000 })
    stage.endpoint.answer(status(429, { 'retry-after': '0' }))
    const { deliver, pass } = driver(stage.channel, stage.platform)
    const ended = deliver(invitation())
    await pass(12_000)
    expect(await ended).toMatchObject({ outcome: 'unreachable' })
  })

  it('that does not come in time is a failure after the channel’s own limit', async () => {
    await using stage = await channelTo({ attemptTimeoutMs: 3_000 })
    const { channel, endpoint, platform } = stage
    endpoint.answer(hang)
    const answer = channel.deliver(invitation(), { signal })
    await endpoint.got(1)
    await platform.clock.advance(2_999)
    expect(endpoint.busy.now).toBe(1)
    await platform.clock.advance(1)
    expect(await answer).toMatchObject({ outcome: 'retry', reason: 'TIMED_OUT' })
    expect(platform.clock.pendingTimers).toBe(0)
  })

  it('that the caller did not wait for says nothing about the endpoint', async () => {
    const breaker = createCircuitBreaker({ name: 'one', window: { kind: 'consecutive', failures: 1 } })
    await using stage = await channelTo({ breakerOf: () => breaker })
    stage.endpoint.answer(hang)
    const given = new AbortController()
    const answer = stage.channel.deliver(invitation(), { signal: given.signal })
    await stage.endpoint.got(1)
    given.abort(new Error('closing'))
    await expect(answer).rejects.toThrow('closing')
    expect(breaker.stats()).toMatchObject({ state: 'closed', ignored: 1 })
  })

  it('that breaks off is a failure, and nobody listening is one', async () => {
    await using stage = await channelTo()
    stage.endpoint.answer((response) => response.socket?.destroy())
    expect(await stage.channel.deliver(invitation(), { signal })).toMatchObject({
      outcome: 'retry',
      reason: 'ECONNRESET'
    })
    await stage.endpoint[Symbol.asyncDispose]()
    expect(await stage.channel.deliver(invitation(), { signal })).toMatchObject({
      outcome: 'retry',
      reason: 'ECONNREFUSED'
    })
  })

  it('that is only half there is a failure', async () => {
    await using stage = await channelTo()
    stage.endpoint.answer((response) => response.socket?.end('HTTP/1.1 200 OK\r\ncontent-le'))
    expect(await stage.channel.deliver(invitation(), { signal })).toMatchObject({ outcome: 'retry' })
  })
})

describe('an endpoint that is down', () => {
  it('loses nothing: all wait while its breaker is open, and are delivered when it has recovered', async () => {
    await using stage = await channelTo()
    const { channel, endpoint, platform, events } = stage
    endpoint.answer(status(503))
    const { deliver, pass } = driver(channel, platform)
    const all = many(20).map((one) => deliver(one))
    await pass(20_000)
    const whileDown = endpoint.received.length
    expect(events).toContainEqual(expect.objectContaining({ type: 'breaker.opened' }))
    endpoint.answer(status(200))
    await pass(30_000)
    const ended = await Promise.all(all)
    expect(ended.filter(({ outcome }) => outcome === 'delivered')).toHaveLength(20)
    // Each once beyond what failed, and most waited without an attempt.
    expect(new Set(idsAt(endpoint).slice(whileDown))).toEqual(new Set(many(20).map(({ id }) => id)))
    expect(endpoint.received.length - whileDown).toBe(20)
    expect(ended.every(({ attempts }) => attempts <= 4)).toBe(true)
  })

  it('is probed by exactly one of eight deliveries', async () => {
    await using stage = await channelTo()
    const { channel, endpoint, platform } = stage
    endpoint.answer(status(503))
    for (let at = 0; at < 5; at++) await channel.deliver(invitation(), { signal })
    await platform.clock.advance(5_000)
    endpoint.answer(hang)
    const answers = many(8).map((one) => channel.deliver(one, { signal }))
    await endpoint.got(6)
    const put = await Promise.all(answers.slice(1))
    expect(put).toEqual(put.map(() => expect.objectContaining({ outcome: 'postponed', reason: 'breaker probing' })))
    expect(endpoint.received).toHaveLength(6)
    await platform.clock.advance(9_000)
    expect(await answers[0]).toMatchObject({ outcome: 'retry', reason: 'TIMED_OUT' })
    // The probe failed, so the next break is on, and nobody is let through.
    expect(await channel.deliver(invitation(), { signal })).toMatchObject({
      outcome: 'postponed',
      reason: 'breaker open'
    })
    expect(endpoint.received).toHaveLength(6)
  })

  it('counts as unreachable after its time, so that the next channel is used; later invitations do not wait', async () => {
    await using stage = await channelTo({ unreachableAfterMs: 20_000 })
    const { channel, endpoint, platform } = stage
    endpoint.answer(status(503))
    const { deliver, pass } = driver(channel, platform)
    const early = deliver(invitation())
    await pass(21_000)
    expect(await early).toMatchObject({ outcome: 'unreachable' })
    expect((await early).atMs).toBeLessThanOrEqual(20_000)
    const later = platform.clock.monotonic()
    const late = deliver(invitation({ id: 'invitation-2' }))
    await pass(0)
    expect(await late).toMatchObject({ outcome: 'unreachable', atMs: later })
  })

  it('is probed with the next invitation once the break is over, however long it has been down, and is back', async () => {
    await using stage = await channelTo()
    const { channel, endpoint, platform } = stage
    endpoint.answer(status(503))
    const { deliver, pass } = driver(channel, platform)
    const before = many(6).map((one) => deliver(one))
    await pass(62_000)
    await Promise.all(before)
    expect(await channel.reachability(invitation().approver, { signal })).toMatchObject({ outcome: 'unreachable' })
    await platform.clock.advance(3_600_000)
    expect(await channel.reachability(invitation().approver, { signal })).toEqual({ outcome: 'reachable' })
    // Still down: nobody waits a minute for what has been down for an hour.
    const patient = invitation({ escalatesAt: undefined })
    expect(await channel.deliver(patient, { signal })).toMatchObject({ outcome: 'unreachable' })
    endpoint.answer(status(200))
    await platform.clock.advance(60_000)
    expect(await channel.deliver(invitation(), { signal })).toMatchObject({ outcome: 'delivered' })
    expect(await channel.deliver(invitation(), { signal })).toMatchObject({ outcome: 'delivered' })
  })

  it('is waited for anew once it has been well', async () => {
    await using stage = await channelTo()
    const { channel, endpoint, platform } = stage
    endpoint.answer(inTurn(status(503), status(200), status(503)))
    await channel.deliver(invitation(), { signal })
    await platform.clock.advance(30_000)
    expect(await channel.deliver(invitation(), { signal })).toMatchObject({ outcome: 'delivered' })
    await platform.clock.advance(29_500)
    expect(await channel.deliver(invitation(), { signal })).toMatchObject({ outcome: 'retry' })
  })

  it('counts as unreachable in time also for a worker that never gets to try, since others found out', async () => {
    const breaker = createCircuitBreaker({ name: 'shared' })
    breaker.switchTo('forced-open')
    await using stage = await channelTo({ breakerOf: () => breaker })
    const { deliver, pass } = driver(stage.channel, stage.platform)
    const ended = deliver(invitation({ escalatesAt: undefined }))
    await pass(62_000)
    expect(await ended).toMatchObject({ outcome: 'unreachable', attempts: 1 })
    expect((await ended).postponed).toBeGreaterThan(1)
    expect(stage.endpoint.received).toEqual([])
  })

  it('is waited for no longer than half of what the tier has left', async () => {
    await using stage = await channelTo()
    const { channel, endpoint } = stage
    endpoint.answer(status(503, { 'retry-after': '10' }))
    expect(await channel.deliver(invitation({ escalatesAt: OPENED_AT + 18_000 }), { signal })).toMatchObject({
      outcome: 'unreachable'
    })
    const patient = await channelTo()
    await using _ = patient
    patient.endpoint.answer(status(503, { 'retry-after': '10' }))
    expect(await patient.channel.deliver(invitation({ escalatesAt: OPENED_AT + 24_000 }), { signal })).toMatchObject({
      outcome: 'retry'
    })
  })

  it('holds up no other endpoint', async () => {
    const platform = testPlatform()
    await using well = await localEndpoint()
    await using down = await localEndpoint()
    down.answer(status(503))
    await using channel = webhookChannel({
      endpointOf: (address) => ({ url: address === 'ops' ? down.url : well.url, secrets: [keyOf(1)] }),
      transport: transportTo(well, down),
      platform
    })
    for (let at = 0; at < 6; at++) await channel.deliver(invitation(), { signal })
    expect(await channel.deliver(invitation(), { signal })).toMatchObject({ outcome: 'postponed' })
    const other = invitation({ approver: { ...invitation().approver, address: 'other' } })
    expect(await channel.deliver(other, { signal })).toMatchObject({ outcome: 'delivered' })
  })

  it('is down for all workers that share its breaker, and probed by one of them', async () => {
    const platform = testPlatform()
    await using endpoint = await localEndpoint()
    endpoint.answer(status(503))
    const store = memoryBreakerStateStore({ platform })
    const worker = () =>
      webhookChannel({
        endpointOf: () => ({ url: endpoint.url, secrets: [keyOf(1)] }),
        transport: transportTo(endpoint),
        breakerOf: (name) =>
          createSharedCircuitBreaker({
            name,
            store,
            platform,
            window: { kind: 'consecutive', failures: 5 },
            probeLeaseMs: 14_000
          }),
        platform
      })
    await using one = worker()
    await using two = worker()
    await two.deliver(invitation({ id: 'first' }), { signal })
    for (let at = 0; at < 5; at++) await one.deliver(invitation(), { signal })
    await platform.clock.advance(1_000)
    expect(await two.deliver(invitation(), { signal })).toMatchObject({ outcome: 'postponed', reason: 'breaker open' })
    await platform.clock.advance(4_500)
    endpoint.answer(hang)
    const answers = many(8).map((invited, at) => (at % 2 === 0 ? one : two).deliver(invited, { signal }))
    await endpoint.got(7)
    await platform.clock.advance(1_000)
    expect(endpoint.received).toHaveLength(7)
    await platform.clock.advance(9_000)
    const outcomes = (await Promise.all(answers)).map(({ outcome }) => outcome)
    expect(outcomes.filter((outcome) => outcome === 'postponed')).toHaveLength(7)
  })

  it('keeps messages in core’s outbox until it has recovered', async () => {
    const platform = testPlatform()
    await using db = withStoreClock(sqliteDatabase({ path: ':memory:' }), platform.clock)
    await migrate(db, [outboxSchema])
    await using stage = await channelTo({ platform })
    const { channel, endpoint } = stage
    const outbox = createOutbox({
      db,
      name: 'invitations',
      platform,
      breaker: 'off',
      deliver: async ({ payload, attempt }, options) => {
        const answer = await channel.deliver({ ...(JSON.parse(payload as string) as Invitation), attempt }, options)
        if (answer.outcome === 'delivered') return { outcome: 'delivered' }
        if (answer.outcome === 'unreachable') return { outcome: 'refused' }
        return { outcome: 'failed', ...(answer.afterMs === undefined ? {} : { retryAfterMs: answer.afterMs }) }
      }
    })
    endpoint.answer(status(503))
    await db.run(() => outbox.putAll(many(10).map((one) => ({ payload: JSON.stringify(one) }))))
    const [delivery] = outbox.duties
    const runFor = async (durationMs: number): Promise<void> => {
      for (let passed = 0; passed < durationMs; passed += 1_000) {
        await delivery?.run({ signal })
        await platform.clock.advance(1_000)
      }
    }
    await runFor(10_000)
    expect((await outbox.health()).pending).toBe(10)
    endpoint.answer(status(200))
    await runFor(40_000)
    expect(await outbox.health()).toMatchObject({ pending: 0, dead: 0 })
    const taken = new Set(idsAt(endpoint).slice(-10))
    expect(taken).toEqual(new Set(many(10).map(({ id }) => id)))
  })
})

describe('a verdict that cannot be told', () => {
  const { requestId, tenant, action, summary, approver } = invitation()
  const notice: VerdictNotice = {
    id: 'notice-1',
    requestId,
    tenant,
    action,
    summary,
    approver,
    receipt: 'invitation-1',
    verdict: { outcome: 'approved', requestId, by: 'ana', decidedAt: OPENED_AT }
  }

  it('is told again: the call throws, with when', async () => {
    await using stage = await channelTo()
    stage.endpoint.answer(status(503, { 'retry-after': '7' }))
    const error = await stage.channel.update(notice, { signal }).catch((thrown: unknown) => thrown)
    expect(isSuiteError(error, 'CHANNEL_FAILED') && error.detail).toEqual({
      reason: 'HTTP_503',
      retryAfterMs: expect.any(Number)
    })
    expect((error as { detail: { retryAfterMs: number } }).detail.retryAfterMs).toBeGreaterThanOrEqual(7_000)
  })

  it('is let be when the endpoint refuses it for good', async () => {
    await using stage = await channelTo()
    stage.endpoint.answer(status(404))
    await expect(stage.channel.update(notice, { signal })).resolves.toBeUndefined()
  })
})

describe('a webhook channel', () => {
  it('delivers to no endpoint that is unknown, malformed or inside, and reports it', async () => {
    const platform = testPlatform()
    const events: unknown[] = []
    const found: Record<string, object> = {
      inside: { url: 'https://10.0.0.8/?key=hunter2', secrets: [keyOf(1)] },
      short: { url: 'https://hooks.example.com/?key=hunter2', secrets: ['whsec_hunter2'] },
      empty: { url: 'https://hooks.example.com/', secrets: [] }
    }
    await using channel = webhookChannel({
      endpointOf: (address) => found[address] as never,
      platform,
      observe: (event) => events.push(event)
    })
    const to = (address: string) =>
      channel.deliver(invitation({ approver: { ...invitation().approver, address } }), { signal })
    expect(await to('nobody')).toEqual({ outcome: 'unreachable', reason: 'unknown-endpoint' })
    expect(await to('short')).toEqual({ outcome: 'unreachable', reason: 'malformed-endpoint' })
    expect(await to('empty')).toEqual({ outcome: 'unreachable', reason: 'malformed-endpoint' })
    expect(await to('inside')).toEqual({ outcome: 'unreachable', reason: 'private' })
    expect(events).toEqual([
      { type: 'webhook.refused', approver: 'ana', because: 'unknown-endpoint' },
      { type: 'webhook.refused', approver: 'ana', because: 'malformed-endpoint' },
      { type: 'webhook.refused', approver: 'ana', because: 'malformed-endpoint' },
      { type: 'webhook.refused', approver: 'ana', because: 'private' }
    ])
    expect(JSON.stringify(events)).not.toContain('hunter2')
  })

  it('shows neither a secret nor a URL to observers, in reasons or in errors', async () => {
    await using stage = await channelTo({
      endpointOf: () => ({ url: `${stageUrl()}?key=hunter2`, secrets: [keyOf(9)] })
    })
    function stageUrl(): string {
      return stage.endpoint.url
    }
    stage.endpoint.answer(inTurn(status(500), status(410)))
    const said: unknown[] = []
    for (let at = 0; at < 2; at++) said.push(await stage.channel.deliver(invitation(), { signal }))
    await stage.endpoint[Symbol.asyncDispose]()
    said.push(await stage.channel.deliver(invitation(), { signal }), stage.events, stage.channel)
    expect(JSON.stringify(said)).not.toMatch(/hunter2|whsec|\/hook/)
  })

  it('passes on that the endpoints could not be looked up', async () => {
    await using stage = await channelTo({
      endpointOf: () => {
        throw new Error('vault is sealed')
      }
    })
    await expect(stage.channel.deliver(invitation(), { signal })).rejects.toThrow('vault is sealed')
  })

  it('remembers a bounded number of endpoints, forgets those that are well first, and closes their breakers', async () => {
    const platform = testPlatform()
    const closed: string[] = []
    await using endpoint = await localEndpoint()
    endpoint.answer((response, { path }) => response.writeHead(path === '/hook?0' ? 503 : 200).end())
    const made: string[] = []
    await using channel = webhookChannel({
      endpointOf: (address) => ({ url: `${endpoint.url}?${address}`, secrets: [keyOf(1)] }),
      transport: transportTo(endpoint),
      endpointsMax: 2,
      breakerOf: (name) => {
        made.push(name)
        return Object.assign(createCircuitBreaker({ name, platform }), { close: async () => void closed.push(name) })
      },
      platform
    })
    const to = (address: string) =>
      channel.deliver(invitation({ approver: { ...invitation().approver, address } }), { signal })
    for (const address of ['0', '1', '2', '0', '3']) await to(address)
    expect(made).toHaveLength(4)
    expect(closed).toEqual([made[1], made[2]])
    await channel.close()
    expect(closed).toEqual([made[1], made[2], made[0], made[3]])
    await expect(to('0')).rejects.toMatchObject({ code: 'CLOSED' })
  })

  it('puts off what would be one endpoint too many while all are busy', async () => {
    const platform = testPlatform()
    await using endpoint = await localEndpoint()
    endpoint.answer(hang)
    await using channel = webhookChannel({
      endpointOf: (address) => ({ url: `${endpoint.url}?${address}`, secrets: [keyOf(1)] }),
      transport: transportTo(endpoint),
      endpointsMax: 1,
      platform
    })
    const busy = channel.deliver(invitation(), { signal })
    await endpoint.got(1)
    const other = invitation({ approver: { ...invitation().approver, address: 'other' } })
    expect(await channel.deliver(other, { signal })).toMatchObject({ outcome: 'postponed' })
    await platform.clock.advance(9_000)
    await busy
  })

  it.each([
    [{}, 'endpointOf'],
    [{ attemptTimeoutMs: 15_001 }, 'attemptTimeoutMs'],
    [{ attemptTimeoutMs: Number.NaN }, 'attemptTimeoutMs'],
    [{ unreachableAfterMs: 0 }, 'unreachableAfterMs'],
    [{ unreachableAfterMs: Number.POSITIVE_INFINITY }, 'unreachableAfterMs'],
    [{ endpointsMax: 0 }, 'endpointsMax'],
    [{ transport: fetch }, 'transport'],
    [{ secrets: [] }, 'secrets']
  ])('is not made with %j', (wrong, path) => {
    const options = path === 'endpointOf' ? {} : { endpointOf: () => undefined, ...wrong }
    try {
      webhookChannel(options as never)
      expect.unreachable()
    } catch (error) {
      expect(isSuiteError(error, 'INVALID_OPTIONS') && error.detail).toMatchObject({ issues: [{ path }] })
    }
  })
})
