import { type TestPlatform, testPlatform } from '@enablement/core/testing'
import {
  createInbox,
  type Inbox,
  type InboxEvent,
  type InboxOptions,
  type InboxVisitor
} from '@enablement/oversight/inbox'
import { type Kernel, kernel } from './kernel.ts'

export const ORIGIN = 'http://inbox.test'

interface Sent {
  readonly as?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

export interface Stage extends Kernel {
  readonly platform: TestPlatform
  readonly inbox: Inbox
  readonly events: InboxEvent[]
  get(path: string, sent?: Sent): Promise<Response>
  /** Sends a form as a browser does from a page of the inbox. */
  post(path: string, fields: Readonly<Record<string, string>> | URLSearchParams, sent?: Sent): Promise<Response>
  /** The fields that a page's forms carry unseen. */
  ticket(path: string, sent?: Sent): Promise<{ readonly form: string; readonly hash: string }>
}

/** People by the `x-user` header: `ana@acme`. Those called `ops` may read everything of their tenant. */
export const byHeader = async (request: Request): Promise<InboxVisitor | undefined> => {
  const [approver, tenant] = decodeURIComponent(request.headers.get('x-user') ?? '').split('@')
  if (approver === undefined || tenant === undefined) return undefined
  return { approver, tenant, sees: approver === 'ops' ? 'tenant' : 'asked' }
}

export const FORM_KEY = 'a key for tests, of thirty-two bytes or more'

/** An inbox over a kernel of its own, or over that of another stage. */
export async function stage(options: Partial<InboxOptions> = {}, beside?: Stage): Promise<Stage> {
  const platform = beside?.platform ?? testPlatform()
  const ground = beside ?? (await kernel(platform))
  const events: InboxEvent[] = []
  const inbox = createInbox({
    oversight: ground.oversight,
    authenticate: byHeader,
    formKeys: [FORM_KEY],
    basePath: '/inbox',
    platform,
    observe: (event) => events.push(event),
    ...options
  })
  const send = (path: string, init: RequestInit, { as = 'ana@acme', headers = {}, signal }: Sent): Promise<Response> =>
    inbox.handle(
      new Request(`${ORIGIN}/inbox${path}`, {
        ...init,
        headers: { ...(as === '' ? {} : { 'x-user': as }), ...(init.headers as Record<string, string>), ...headers },
        ...(signal === undefined ? {} : { signal })
      })
    )
  const get: Stage['get'] = (path, sent = {}) => send(path, {}, sent)
  return {
    ...ground,
    platform,
    inbox,
    events,
    get,
    post: (path, fields, sent = {}) =>
      send(
        path,
        { method: 'POST', body: new URLSearchParams(fields), headers: { 'sec-fetch-site': 'same-origin' } },
        sent
      ),
    async ticket(path, sent = {}) {
      const page = await (await get(path, sent)).text()
      const form = /name="form" value="([^"]*)"/.exec(page)?.[1] ?? ''
      // Who may not decide has no form with it, and may still know it.
      const hash = /(?:name="hash" value|data-hash)="([^"]*)"/.exec(page)?.[1] ?? ''
      return { form, hash }
    },
    async [Symbol.asyncDispose]() {
      await inbox.close()
      if (beside === undefined) await ground[Symbol.asyncDispose]()
    }
  }
}
