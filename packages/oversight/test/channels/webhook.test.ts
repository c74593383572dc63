import { testPlatform } from '@enablement/core/testing'
import type { Approver } from '@enablement/oversight'
import { createWebhookVerifier, type WebhookEvent, webhookChannel } from '@enablement/oversight/webhook'
import { describe, expect, it } from 'vitest'
import { channel } from '../stage.ts'
import { type LocalEndpoint, localEndpoint, status } from '../webhook/local-endpoint.ts'
import { keyOf, transportTo } from '../webhook/stage.ts'
import { channelStage, minutes, traffic as newTraffic, oneTier } from './stage.ts'

const names = Array.from({ length: 10 }, (_, at) => `approver-${at}`)
const people: readonly Approver[] = names.map((id) => ({ id, name: id, addresses: { webhook: id, pager: id } }))

/** Ten people behind one endpoint, each of whom has a pager as well. */
async function hooks(tier: { readonly waitMs?: number } = {}) {
  const endpoint: LocalEndpoint = await localEndpoint()
  const platform = testPlatform()
  const traffic = newTraffic()
  const events: WebhookEvent[] = []
  const transport = transportTo(endpoint)
  const webhook = webhookChannel({
    endpointOf: () => ({ url: endpoint.url, secrets: [keyOf(2), keyOf(1)] }),
    transport: { post: traffic.watched((...post) => transport.post(...post)) },
    platform,
    observe: (event) => events.push(event)
  })
  const pager = channel()
  const s = await channelStage(oneTier({ approvers: names, channels: [['webhook', 'pager']], ...tier }), {
    platform,
    traffic,
    approvers: people,
    channels: { webhook, pager }
  })
  const verifier = createWebhookVerifier({ secrets: [keyOf(1)], platform, toleranceMs: 86_400_000 })
  return {
    ...s,
    endpoint,
    pager,
    hookEvents: events,
    /** What the endpoint got, each with a signature that is sound. */
    payloads: () =>
      endpoint.received.map((one) => {
        const verified = verifier.verify(one)
        if (verified.outcome === 'refused') throw new Error(verified.because)
        return verified.payload
      }),
    async [Symbol.asyncDispose]() {
      await s[Symbol.asyncDispose]()
      await webhook.close()
      await endpoint[Symbol.asyncDispose]()
    }
  }
}

describe('a request by webhook', () => {
  it('waits for an endpoint that is down for a while, which one message at a time probes, and none is lost', async () => {
    await using s = await hooks()
    s.endpoint.answer(status(503))
    await s.open()
    await s.pass(15_000)
    expect(s.hookEvents.filter(({ type }) => type === 'breaker.opened').length).toBeGreaterThan(0)
    // Its first failures came together; from then on there is nobody but the probe of each break.
    const early = s.endpoint.received.length
    s.endpoint.busy.most = 0
    await s.pass(15_000)
    const probes = s.endpoint.received.length - early
    expect([s.endpoint.busy.most, probes <= 3]).toEqual([1, true])
    expect(s.invited()).toEqual([])
    s.endpoint.answer(status(204))
    await s.until(() => s.invited().length === names.length, minutes(1))
    expect(s.invited()).toEqual(Array(names.length).fill('delivered webhook'))
    expect(s.pager.delivered).toEqual([])
  })

  it('goes on by the next channel, long before the tier’s wait is over, when the endpoint stays down', async () => {
    await using s = await hooks({ waitMs: minutes(10) })
    s.endpoint.answer(status(503))
    await s.open()
    const from = s.platform.clock.monotonic()
    await s.until(() => s.pager.delivered.length === names.length, minutes(3))
    expect(s.platform.clock.monotonic() - from).toBeLessThan(minutes(2))
    expect(s.pager.delivered.map(({ approver }) => approver.id).toSorted()).toEqual(names.toSorted())
    expect((await s.story()).filter((line) => line.startsWith('tier.'))).toEqual([])
  })

  it('is followed by its verdict under a signature, also when the endpoint is down meanwhile', async () => {
    await using s = await hooks()
    const request = await s.open()
    await s.settle()
    expect(s.payloads()).toHaveLength(names.length)
    s.endpoint.answer(status(503))
    await s.oversight.decide(request.id, { approver: 'approver-3', decision: 'approve' })
    await s.pass(20_000)
    s.endpoint.answer(status(204))
    const settled = () =>
      new Set(
        s.endpoint.received.flatMap(({ headers, body }) =>
          body.includes('approval.settled') ? [headers['webhook-id']] : []
        )
      )
    await s.until(() => settled().size === names.length, minutes(1))
    await s.pass(minutes(1))
    const notices = s.payloads().filter(({ type }) => type === 'approval.settled')
    expect(new Set(notices.map(({ data }) => ('approver' in data ? data.approver.id : '')))).toEqual(new Set(names))
    for (const { data } of notices) {
      expect(data).toMatchObject({ requestId: request.id, verdict: { outcome: 'approved', by: 'approver-3' } })
    }
    const invitations = s
      .payloads()
      .flatMap(({ type, data }) => (type === 'approval.requested' ? [data.invitationId] : []))
    expect(new Set(notices.map(({ data }) => ('invitationId' in data ? data.invitationId : '')))).toEqual(
      new Set(invitations)
    )
  })
})
