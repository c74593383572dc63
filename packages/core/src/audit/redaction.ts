/** The action of the entry that says that a detail was erased. Drafts cannot have it. */
export const REDACTED = 'audit.redacted'

/** The subject of that entry. */
export function redactionSubject(id: string): string {
  return `audit:${id}`
}
