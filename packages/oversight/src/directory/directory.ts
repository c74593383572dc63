import { parseOptions } from '@enablement/core'
import type { ApproverDirectory } from './approver-directory.ts'
import { contentsSchema, type DirectoryContents, type GroupMember } from './directory-contents.ts'
import { onCallOf } from './on-call.ts'

/**
 * A directory over plain data, which is copied and checked as a whole: people who are not there, ids that are there twice
 * or look alike, groups that contain themselves, unknown zones, windows and absences that overlap. Throws
 * `INVALID_OPTIONS` (core) with the path of each.
 *
 * It does not change. To change who is in it, make another one; an object whose methods call the current one is a
 * directory too.
 */
export function createDirectory(contents: DirectoryContents): Required<ApproverDirectory> {
  const { tenant, approvers, groups, schedules } = parseOptions(contentsSchema, 'createDirectory', contents)
  const people = new Map(approvers.map((approver) => [approver.id, approver]))
  const members = expanded(new Map(Object.entries(groups)))
  const onCall = new Map(Object.entries(schedules).map(([name, schedule]) => [name, onCallOf(schedule)]))
  const serves = (asked: string): boolean => tenant === undefined || tenant === asked
  return {
    async find(approver, { tenant: asked, signal }) {
      signal.throwIfAborted()
      return serves(asked) ? people.get(approver) : undefined
    },
    async members(group, { tenant: asked, signal }) {
      signal.throwIfAborted()
      return serves(asked) ? members.get(group) : undefined
    },
    async onCall(schedule, { tenant: asked, signal, at }) {
      signal.throwIfAborted()
      return serves(asked) ? onCall.get(schedule)?.(at).onCall : undefined
    }
  }
}

/** The people of each group, in the order in which they are listed, each once. Terminates: no group contains itself. */
function expanded(groups: ReadonlyMap<string, readonly GroupMember[]>): ReadonlyMap<string, readonly string[]> {
  const done = new Map<string, readonly string[]>()
  const expand = (name: string): readonly string[] => {
    const known = done.get(name)
    if (known !== undefined) return known
    const members = groups.get(name) ?? []
    const people = new Set(members.flatMap((member) => (typeof member === 'string' ? [member] : expand(member.group))))
    done.set(name, [...people])
    return [...people]
  }
  for (const name of groups.keys()) expand(name)
  return done
}
