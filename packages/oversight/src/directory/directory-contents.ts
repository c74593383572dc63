import { z } from 'zod'
import type { Approver } from './approver-directory.ts'
import { writtenApproverSchema } from './approver-schema.ts'
import { identitySchema, principalKey } from './identity.ts'
import { type OnCallSchedule, scheduleSchema } from './on-call-schedule.ts'

/** What a directory knows, as data. */
export interface DirectoryContents {
  /** The only tenant that it serves; of others it knows nobody. All tenants, unless given. */
  readonly tenant?: string
  /** At most 10,000. */
  readonly approvers: readonly Approver[]
  /** Members by the name of the group, at most 1,000 groups of 1,000. A member may be a group. */
  readonly groups?: { readonly [group: string]: readonly GroupMember[] }
  /** On-call schedules by name, at most 1,000. */
  readonly schedules?: { readonly [schedule: string]: OnCallSchedule }
}

/** A person by id, or all members of another group. */
export type GroupMember = string | { readonly group: string }

/** Beyond these a directory is a database, which is asked through the port and not held in memory. */
const APPROVERS_MAX = 10_000
const GROUPS_MAX = 1_000
const MEMBERS_MAX = 1_000
const SCHEDULES_MAX = 1_000

const memberSchema = z.union([identitySchema, z.strictObject({ group: identitySchema })])

type Contents = Required<Omit<DirectoryContents, 'tenant'>> & Pick<DirectoryContents, 'tenant'>
type Fault = (path: readonly PropertyKey[], message: string) => void

/** Reports everything that is wrong, each with its path. */
export const contentsSchema: z.ZodType<Contents, unknown> = z
  .strictObject({
    tenant: identitySchema.exactOptional(),
    approvers: z.array(writtenApproverSchema).max(APPROVERS_MAX),
    groups: recordOf(z.array(memberSchema).max(MEMBERS_MAX), GROUPS_MAX).default({}),
    schedules: recordOf(scheduleSchema, SCHEDULES_MAX).default({})
  })
  .check(({ value, issues }) => {
    const fault: Fault = (path, message) => issues.push({ code: 'custom', input: undefined, path: [...path], message })
    checkPeople(value.approvers, fault)
    const known = new Set(value.approvers.map(({ id }) => id))
    checkGroups(value.groups, known, fault)
    checkSchedules(value.schedules, known, fault)
  })

function recordOf<Value>(
  valueSchema: z.ZodType<Value, unknown>,
  sizeMax: number
): z.ZodType<{ readonly [name: string]: Value }, { readonly [name: string]: Value }> {
  return z
    .record(identitySchema, valueSchema)
    .refine((record) => Object.keys(record).length <= sizeMax, `has more than ${sizeMax} entries`) as never
}

function checkPeople(approvers: readonly Approver[], fault: Fault): void {
  const byId = new Map(approvers.map((approver) => [approver.id, approver]))
  const keys = new Set<string>()
  for (const [at, { id, principal, away = [] }] of approvers.entries()) {
    if (keys.has(principalKey(id))) fault(['approvers', at, 'id'], 'is there twice, or looks like one that is')
    keys.add(principalKey(id))
    const further = principal === undefined ? undefined : byId.get(principal)?.principal
    if (further !== undefined && further !== principal) {
      fault(['approvers', at, 'principal'], 'is somebody else in turn: name who that is in the end')
    }
    for (const [index, { from, until, delegate }] of away.entries()) {
      const path = ['approvers', at, 'away', index]
      if (away.some((other, n) => n < index && other.from < until && from < other.until)) {
        fault(path, 'overlaps another absence')
      }
      if (delegate === id) fault([...path, 'delegate'], 'is the one who is away')
      else if (delegate !== undefined && !byId.has(delegate)) fault([...path, 'delegate'], 'is not in the directory')
    }
  }
}

function checkGroups(groups: Contents['groups'], known: ReadonlySet<string>, fault: Fault): void {
  const all = new Map(Object.entries(groups))
  for (const [name, members] of all) {
    for (const [at, member] of members.entries()) {
      const path = ['groups', name, at]
      if (typeof member === 'string' ? !known.has(member) : !all.has(member.group))
        fault(path, 'is not in the directory')
      if (members.findIndex((other) => nameOf(other) === nameOf(member)) < at) fault(path, 'is there twice')
    }
  }
  const name = cycleIn(all)
  if (name !== undefined) fault(['groups', name], 'contains itself')
}

const nameOf = (member: GroupMember): string =>
  typeof member === 'string' ? `person ${member}` : `group ${member.group}`

/** A group that is a member of itself, directly or through others. */
function cycleIn(groups: ReadonlyMap<string, readonly GroupMember[]>): string | undefined {
  const sound = new Set<string>()
  const open = new Set<string>()
  const contains = (name: string): string | undefined => {
    if (sound.has(name)) return undefined
    if (open.has(name)) return name
    open.add(name)
    for (const member of groups.get(name) ?? []) {
      const found = typeof member === 'string' ? undefined : contains(member.group)
      if (found !== undefined) return found
    }
    open.delete(name)
    sound.add(name)
    return undefined
  }
  for (const name of groups.keys()) {
    const found = contains(name)
    if (found !== undefined) return found
  }
  return undefined
}

function checkSchedules(schedules: Contents['schedules'], known: ReadonlySet<string>, fault: Fault): void {
  for (const [name, { layers, overrides = [] }] of Object.entries(schedules)) {
    const path = ['schedules', name]
    for (const [at, { participants }] of layers.entries()) {
      for (const [index, id] of participants.entries()) {
        if (!known.has(id)) fault([...path, 'layers', at, 'participants', index], 'is not in the directory')
      }
    }
    for (const [at, override] of overrides.entries()) {
      for (const member of ['remove', 'add'] as const) {
        const id = override[member]
        if (id !== undefined && !known.has(id)) fault([...path, 'overrides', at, member], 'is not in the directory')
      }
    }
  }
}
