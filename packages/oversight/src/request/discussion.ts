import type { RequestRecord } from './request.ts'
import type { Step } from './step.ts'

/** What became of a comment. */
export interface Commented {
  /** `full`: the request has as many comments as it may have. */
  readonly outcome: 'recorded' | 'full'
}

/** Comments on one request. */
const COMMENTS_MAX = 100
/** People who were shown a request, by version; later ones are not put on record. */
const VIEWS_MAX = 256

/** Characters of a comment. */
export const COMMENT_LENGTH_MAX = 2_000

/** Adds a comment, also after the verdict. A repetition under the same key changes nothing. */
export function comment(
  request: RequestRecord,
  call: { readonly by: string; readonly text: string; readonly key: string | undefined },
  now: number
): Step<Commented> {
  const { by, text, key } = call
  const { comments } = request
  const repeated = key !== undefined && comments.some((one) => one.key === key && one.by === by)
  if (repeated) return { answer: { outcome: 'recorded' }, facts: [] }
  if (comments.length >= COMMENTS_MAX) return { answer: { outcome: 'full' }, facts: [] }
  return {
    answer: { outcome: 'recorded' },
    request: { ...request, comments: [...comments, { by, text, at: now, key }] },
    facts: [{ type: 'request.commented', by, text }]
  }
}

/** Puts on record that someone was shown the request in full; once for each person and version. */
export function view(
  request: RequestRecord,
  { by, argumentHash }: { readonly by: string; readonly argumentHash?: string },
  now: number
): Step<void> {
  const { views, version } = request
  if (argumentHash !== undefined && argumentHash !== request.argumentHash) return { answer: undefined, facts: [] }
  const known = views.some((one) => one.by === by && one.version === version)
  if (known || views.length >= VIEWS_MAX) return { answer: undefined, facts: [] }
  return {
    answer: undefined,
    request: { ...request, views: [...views, { by, version, at: now }] },
    facts: [{ type: 'request.viewed', by, version }]
  }
}
