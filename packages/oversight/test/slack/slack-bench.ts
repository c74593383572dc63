import type { Platform } from '@enablement/core'
import { memoryTokenBucketStore, type TokenBucketStore } from '@enablement/core/fleet'
import { type TestPlatform, testPlatform } from '@enablement/core/testing'
import type { Channel, Invitation, VerdictNotice } from '@enablement/oversight'
import {
  type SlackChannelOptions,
  type SlackEvent,
  type SlackLimitsOptions,
  slackChannel,
  slackLimits
} from '@enablement/oversight/slack'
import { slackServer, TEAM, TOKEN } from './slack-server.ts'

type Digest = Parameters<NonNullable<Channel['digest']>>[0]

export const { signal } = new AbortController()

/** A Slack server, and workers that share its limits, all on one virtual clock. */
export async function slackBench(options: { readonly users?: Record<string, string> } = {}) {
  const platform = testPlatform({ now: Date.UTC(2026, 10, 24, 9) })
  const server = await slackServer(platform.clock)
  for (const [user, conversation] of Object.entries(options.users ?? { UANA: 'DANA', UBO: 'DBO' })) {
    server.users.set(user, conversation)
  }
  const store = memoryTokenBucketStore({ platform })
  const events: SlackEvent[] = []
  const traffic = { inFlight: 0 }
  const countedFetch = async (url: string, init: RequestInit): Promise<Response> => {
    traffic.inFlight += 1
    try {
      return await fetch(url, init)
    } finally {
      traffic.inFlight -= 1
    }
  }
  const limits = (more: Partial<SlackLimitsOptions> = {}, over: TokenBucketStore = store) =>
    slackLimits({ workspace: TEAM, store: over, onStoreFailure: 'throw', platform, ...more })
  const common = {
    apiUrl: server.apiUrl,
    fetch: countedFetch,
    platform: platform as Platform,
    observe: (event: SlackEvent) => void events.push(event)
  }
  return {
    platform,
    server,
    store,
    events,
    limits,
    common,
    traffic,
    /** Another worker of the same workspace. */
    worker: (more: Partial<SlackChannelOptions> = {}) =>
      slackChannel({ token: TOKEN, limits: limits(), overLimit: 'postpone', ...common, ...more }),
    /** Moves time on whenever nothing but time is waited for, until all of these have ended. */
    drive: <T>(...work: readonly Promise<T>[]) => drive(platform, traffic, work),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]()
  }
}

export type SlackBench = Awaited<ReturnType<typeof slackBench>>

const STEP_MS = 50

async function drive<T>(
  platform: TestPlatform,
  traffic: { readonly inFlight: number },
  work: readonly Promise<T>[]
): Promise<PromiseSettledResult<T>[]> {
  let ended = false
  const all = Promise.allSettled(work).finally(() => {
    ended = true
  })
  while (!ended) {
    await new Promise((resolve) => setImmediate(resolve))
    if (traffic.inFlight === 0 && !ended) await platform.clock.advance(STEP_MS)
  }
  return all
}

let invitations = 0

const ARGUMENT_HASH = 'a'.repeat(64)

export function invitationOf(more: Partial<Invitation> = {}): Invitation {
  invitations += 1
  return {
    id: `invitation-${invitations}`,
    kind: 'invitation',
    requestId: `01990000-0000-7000-8000-${String(invitations).padStart(12, '0')}`,
    tenant: 'acme',
    action: 'payments.refund',
    risk: 'medium',
    summary: 'Refund 12.00 for order 118',
    excerpt: { order: '118', cents: 1_200 },
    argumentHash: ARGUMENT_HASH,
    version: 1,
    requestedBy: { agent: 'agent-7', onBehalfOf: 'uma' },
    context: undefined,
    approver: { id: 'ana', name: 'Ana', address: 'UANA', alternatives: [] },
    tier: 0,
    attempt: 1,
    receipt: undefined,
    openedAt: Date.UTC(2026, 10, 24, 9),
    escalatesAt: Date.UTC(2026, 10, 24, 10),
    deadlineAt: Date.UTC(2026, 10, 24, 12),
    ...more
  }
}

export const digestOf = (invited: readonly Invitation[], more = 0): Digest => ({
  id: `digest-${invited[0]?.id ?? ''}`,
  tenant: 'acme',
  approver: invited[0]?.approver ?? invitationOf().approver,
  invitations: invited,
  more
})

export const noticeOf = (
  invitation: Invitation,
  receipt: string | undefined,
  verdict: VerdictNotice['verdict']
): VerdictNotice => ({
  id: `notice of ${invitation.id}`,
  requestId: invitation.requestId,
  tenant: 'acme',
  action: invitation.action,
  summary: invitation.summary,
  approver: invitation.approver,
  receipt,
  verdict
})
