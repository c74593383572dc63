import { isSuiteError, sleep } from '@enablement/core'
import { type TestPlatform, testPlatform } from '@enablement/core/testing'
import type { DeliveryOutcome, Invitation } from '@enablement/oversight'
import {
  guardedTransport,
  type WebhookChannel,
  type WebhookChannelOptions,
  type WebhookEvent,
  webhookChannel
} from '@enablement/oversight/webhook'
import { type LocalEndpoint, localEndpoint } from './local-endpoint.ts'

export const { signal } = new AbortController()

/** Secrets that differ in their first byte. */
export const keyOf = (seed: number): string => `whsec_${Buffer.alloc(32, seed).toString('base64')}`

const MINUTE_MS = 60_000

/** An invitation of a request that was opened at the start of the virtual clock, with quarter of an hour for its tier. */
export function invitation(changed: Partial<Invitation> = {}): Invitation {
  const openedAt = 1_767_225_600_000
  return {
    id: 'invitation-1',
    kind: 'invitation',
    requestId: 'request-1',
    tenant: 'acme',
    action: 'payments.refund',
    risk: 'medium',
    summary: 'Refund 120 EUR to customer 4711',
    excerpt: { amount: 120 },
    argumentHash: 'ab'.repeat(32),
    version: 1,
    requestedBy: { agent: 'agent-7', onBehalfOf: 'uma' },
    context: undefined,
    approver: { id: 'ana', name: 'Ana', address: 'ops', alternatives: [] },
    tier: 0,
    attempt: 1,
    receipt: undefined,
    openedAt,
    escalatesAt: openedAt + 15 * MINUTE_MS,
    deadlineAt: openedAt + 60 * MINUTE_MS,
    ...changed
  }
}

export interface Stage extends AsyncDisposable {
  readonly platform: TestPlatform
  readonly endpoint: LocalEndpoint
  readonly channel: WebhookChannel
  readonly events: WebhookEvent[]
}

/** A channel to a real endpoint on the loopback. */
export async function channelTo(
  options: Partial<WebhookChannelOptions> & {
    readonly secrets?: readonly string[]
    readonly platform?: TestPlatform
  } = {}
): Promise<Stage> {
  const { secrets = [keyOf(1)], platform = testPlatform(), ...more } = options
  const endpoint = await localEndpoint()
  const events: WebhookEvent[] = []
  const channel = webhookChannel({
    endpointOf: () => ({ url: endpoint.url, secrets }),
    transport: transportTo(endpoint),
    platform,
    observe: (event) => events.push(event),
    ...more
  })
  return {
    platform,
    endpoint,
    channel,
    events,
    async [Symbol.asyncDispose]() {
      await channel.close()
      await endpoint[Symbol.asyncDispose]()
    }
  }
}

export const transportTo = (...endpoints: readonly LocalEndpoint[]) =>
  guardedTransport({
    allow: { plainHttp: true, ports: endpoints.map(({ port }) => port), addresses: ['127.0.0.1/32'] }
  })

/** How a delivery ended, as the kernel sees it. */
interface Ended {
  readonly id: string
  readonly outcome: 'delivered' | 'unreachable' | 'exhausted'
  readonly attempts: number
  readonly postponed: number
  /** In monotonic time. */
  readonly atMs: number
}

/** What drives deliveries as the kernel does: it waits as the outcomes say, and counts attempts up to the bound. */
export interface Driver {
  deliver(invitation: Invitation): Promise<Ended>
  /** Lets time pass, step by step, and never while an attempt is under way: the network's time is real. */
  pass(durationMs: number): Promise<void>
}

export function driver(channel: WebhookChannel, { clock }: TestPlatform): Driver {
  let underWay = 0
  const attempt = async (one: Invitation): Promise<DeliveryOutcome> => {
    underWay += 1
    try {
      return await channel.deliver(one, { signal })
    } catch (error) {
      return { outcome: 'retry', reason: isSuiteError(error) ? error.code : 'THREW' }
    } finally {
      underWay -= 1
    }
  }
  const idle = async (): Promise<void> => {
    do await new Promise((resolve) => setImmediate(resolve))
    while (underWay > 0)
  }
  return {
    async deliver(one) {
      let attempts = 0
      let postponed = 0
      const ended = (outcome: Ended['outcome']): Ended => ({
        id: one.id,
        outcome,
        attempts,
        postponed,
        atMs: clock.monotonic()
      })
      for (;;) {
        const answer = await attempt({ ...one, attempt: attempts + 1 })
        if (answer.outcome === 'postponed') postponed += 1
        else attempts += 1
        if (answer.outcome === 'delivered' || answer.outcome === 'unreachable') return ended(answer.outcome)
        if (attempts >= channel.attemptsMax) return ended('exhausted')
        await sleep(clock, answer.afterMs ?? 1_000)
      }
    },
    async pass(durationMs) {
      await idle()
      for (let passed = 0; passed < durationMs; passed += STEP_MS) {
        await clock.advance(Math.min(STEP_MS, durationMs - passed))
        await idle()
      }
    }
  }
}

/** Short enough that attempts which fall due in one step are under way together as they would be. */
const STEP_MS = 250
