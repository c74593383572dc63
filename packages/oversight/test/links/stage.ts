import { type TestPlatform, testPlatform } from '@enablement/core/testing'
import { OversightError } from '@enablement/oversight'
import {
  createDecisionLinks,
  type DecisionLinks,
  type DecisionLinksOptions,
  type LinkEvent
} from '@enablement/oversight/links'

/** What links call, as their options have it. */
type Calls = DecisionLinksOptions['oversight']
export type View = Awaited<ReturnType<Calls['inspect']>>
export type Answer = Awaited<ReturnType<Calls['decide']>>
type Ballot = Parameters<Calls['decide']>[1]

export const NOW = 1_767_225_600_000
export const HASH = 'ab'.repeat(32)
export const BASE = 'https://approvals.example.com/decide'
export const key = (id: string, seed = id): { readonly id: string; readonly secret: string } => ({
  id,
  secret: seed.padEnd(32, '.')
})

export const invited = {
  id: 'invitation-1',
  requestId: 'request-1',
  tenant: 'acme',
  argumentHash: HASH,
  approver: { id: 'ana' }
}

export function viewOf(changed: Partial<View> = {}): View {
  const seat = (approver: string) => ({
    approver,
    principal: approver,
    roles: [],
    authority: 0,
    via: { kind: 'named' } as const,
    askedAt: 0,
    tier: 0
  })
  return {
    id: 'request-1',
    tenant: 'acme',
    action: 'payments.refund',
    status: 'pending',
    version: 1,
    argumentHash: HASH,
    policyVersion: 'p1',
    risk: 'medium',
    requestedBy: { agent: 'agent-7', onBehalfOf: 'uma' },
    summary: 'Refund 120 EUR to customer 4711',
    detail: { customer: 4_711, amount: 120, currency: 'EUR' },
    excerpt: { amount: 120 },
    context: undefined,
    openedAt: NOW,
    escalatesAt: undefined,
    deadlineAt: NOW + 3_600_000,
    queued: false,
    tier: 0,
    seats: [seat('ana'), seat('bo')],
    votes: [],
    comments: [],
    edits: [],
    verdict: undefined,
    execution: { state: 'idle' },
    ...changed
  }
}

export interface Stage {
  readonly platform: TestPlatform
  readonly links: DecisionLinks
  readonly events: LinkEvent[]
  /** Everything that changed something, in order. */
  readonly written: (readonly ['viewed', ...Parameters<Calls['viewed']>] | readonly ['decide', Ballot])[]
  readonly requests: Map<string, View>
  answer: Answer | (() => Promise<Answer>)
  /** What a browser shows of a link. */
  get(url: string, headers?: Readonly<Record<string, string>>): Promise<Page>
  /** What a browser sends when somebody fills the form in and presses the button. */
  press(url: string, fields: Fields, headers?: Readonly<Record<string, string>>): Promise<Page>
  another(options?: Partial<DecisionLinksOptions>): DecisionLinks
}

type Fields = Readonly<Record<string, string>> | readonly (readonly [string, string])[]

export interface Page {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly title: string
  /** Of the form, if there is one. */
  readonly seal: string | undefined
}

export function stage(options: Partial<DecisionLinksOptions> = {}): Stage {
  const platform = testPlatform({ now: NOW })
  const events: LinkEvent[] = []
  const written: Stage['written'] = []
  const requests = new Map([['request-1', viewOf()]])
  const known = (requestId: string): View => {
    const view = requests.get(requestId)
    if (view === undefined) throw new OversightError('UNKNOWN_REQUEST', `no request ${requestId}`, { requestId })
    return view
  }
  const oversight: Calls = {
    inspect: async (requestId) => known(requestId),
    async viewed(requestId, call) {
      known(requestId)
      written.push(['viewed', requestId, call])
    },
    async decide(requestId, ballot) {
      known(requestId)
      written.push(['decide', ballot])
      return typeof one.answer === 'function' ? one.answer() : one.answer
    }
  }
  const another: Stage['another'] = (changed = {}) =>
    createDecisionLinks({
      baseUrl: BASE,
      keys: [key('k1')],
      oversight,
      sessionFrom: 'critical',
      platform,
      observe: (event) => events.push(event),
      ...options,
      ...changed
    })
  const links = another()
  const get: Stage['get'] = async (url, headers = {}) => pageOf(await links.handle(new Request(url, { headers })))
  const one: Stage = {
    platform,
    links,
    events,
    written,
    requests,
    answer: { outcome: 'recorded', verdict: undefined },
    get,
    async press(url, fields, headers = {}) {
      const page = await get(url, headers)
      const all = new URLSearchParams(
        Array.isArray(fields) ? fields.map(([...pair]) => pair) : { ...(fields as object) }
      )
      if (page.seal !== undefined && !all.has('form')) all.append('form', page.seal)
      return pageOf(await links.handle(submit(url, all, headers)))
    },
    another
  }
  return one
}

/** A form as a browser sends it from the page: under `no-referrer` the origin is `null`. */
export const submit = (url: string, fields: URLSearchParams, headers: Readonly<Record<string, string>> = {}): Request =>
  new Request(url, {
    method: 'POST',
    headers: { origin: 'null', 'sec-fetch-site': 'same-origin', ...headers },
    body: fields
  })

export async function pageOf(response: Response): Promise<Page> {
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    text,
    title: /<title>(.*?)<\/title>/s.exec(text)?.[1] ?? '',
    seal: /name="form" value="([^"]+)"/.exec(text)?.[1]
  }
}
