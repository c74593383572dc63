import type { OversightCalls } from '../oversight-calls.ts'
import { isAtLeast, RISKS, type Risk } from '../policy/risk.ts'
import type { RequestView } from '../request/request-view.ts'
import type { ListName } from './layout.ts'
import { maySee } from './request-facts.ts'
import type { InboxVisitor } from './visitor.ts'

/** What a list is asked for. */
export interface Wanted {
  readonly list: ListName
  /** Text that the summary, the action, the agent or the human behind it must hold. */
  readonly text: string
  /** The least risk. */
  readonly risk: Risk | undefined
  readonly after: string | undefined
}

export interface Listing {
  readonly requests: readonly RequestView[]
  /** Where older ones begin. */
  readonly next: string | undefined
  /** How many were looked through when the bound was reached before the page was full; undefined when it was not. */
  readonly lookedThrough: number | undefined
}

/** Requests that a page takes from the store at a time, and the most that a live update tells of. */
export const PAGE_SIZE = 25

/** A filter that finds little looks at so many pages of the store for one page of the inbox. */
const STORE_PAGES_MAX = 20

const FILTER_LENGTH_MAX = 200

export function wantedOf(query: URLSearchParams, visitor: InboxVisitor): Wanted {
  const name = query.get('list')
  const list = name === 'settled' || (name === 'open' && visitor.sees === 'tenant') ? name : 'waiting'
  const risk = RISKS.find((one) => one === query.get('risk'))
  const text = (query.get('q') ?? '').trim().slice(0, FILTER_LENGTH_MAX)
  return { list, text, risk, after: query.get('after') ?? undefined }
}

/** One page of a list, as far as this person may see it; filtered, it takes whole pages of the store until it is full. */
export async function listingOf(oversight: OversightCalls, visitor: InboxVisitor, wanted: Wanted): Promise<Listing> {
  const { tenant, approver } = visitor
  const query = {
    waiting: { tenant, approver },
    open: { tenant, status: 'pending' },
    settled: { tenant, status: 'settled' }
  } as const
  const found: RequestView[] = []
  let { after } = wanted
  for (let pages = 1; ; pages++) {
    const page = await oversight.list({
      ...query[wanted.list],
      limit: PAGE_SIZE,
      ...(after === undefined ? {} : { after })
    })
    found.push(...page.requests.filter((view) => maySee(visitor, view) && matches(view, wanted)))
    after = page.next
    if (after === undefined || found.length >= PAGE_SIZE)
      return { requests: found, next: after, lookedThrough: undefined }
    if (pages === STORE_PAGES_MAX) return { requests: found, next: after, lookedThrough: pages * PAGE_SIZE }
  }
}

function matches(view: RequestView, { text, risk }: Wanted): boolean {
  if (risk !== undefined && !isAtLeast(view.risk, risk)) return false
  if (text === '') return true
  const { summary, action, requestedBy } = view
  const places = [summary, action, requestedBy.agent, requestedBy.onBehalfOf ?? '']
  return places.some((place) => place.toLowerCase().includes(text.toLowerCase()))
}
