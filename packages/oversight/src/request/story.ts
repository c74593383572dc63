import { subjectOf, voteSubjectOf } from '../evidence/fact.ts'
import type { RecordedEntry } from '../oversight-store.ts'
import type { RequestRecord } from './request.ts'
import type { RequestView } from './request-view.ts'

/** A request and everything that the log says about it, in order. */
export interface RequestStory {
  readonly request: RequestView
  readonly entries: readonly RecordedEntry[]
}

/** The subjects of all entries that a request may have: its own, and that of each vote that somebody could cast. */
export function subjectsOf({ id, version, seats }: RequestRecord): readonly string[] {
  const approvers = [...new Set(seats.map(({ approver }) => approver))]
  const versions = Array.from({ length: version }, (_, at) => at + 1)
  return [subjectOf(id), ...versions.flatMap((of) => approvers.map((approver) => voteSubjectOf(id, of, approver)))]
}
