import { type Approver, type ApproverDirectory, createDirectory, type DirectoryOptions } from '@enablement/oversight'
import type { ApproverDirectoryPeople } from '@enablement/oversight/testing'

/** What the kit wants to be held, in directories over data, one for each tenant. */
export function builtIn(tenants: readonly ApproverDirectoryPeople[]): Required<ApproverDirectory> {
  const directories = tenants.map(({ tenant, approvers, groups, schedules }) =>
    createDirectory({
      tenant,
      approvers,
      groups,
      schedules: Object.fromEntries(
        Object.entries(schedules).map(([name, { startAt, turns }]) => [
          name,
          {
            zone: 'UTC',
            layers: [
              {
                name,
                participants: turns,
                startsOn: new Date(startAt).toISOString().slice(0, 10),
                handoffAt: '00:00',
                every: { days: 1 }
              }
            ]
          }
        ])
      )
    })
  )
  const first = async <T>(
    ask: (directory: Required<ApproverDirectory>) => Promise<T | undefined>
  ): Promise<T | undefined> => (await Promise.all(directories.map(ask))).find((answer) => answer !== undefined)
  return {
    find: (name, options) => first((directory) => directory.find(name, options)),
    members: (name, options) => first((directory) => directory.members(name, options)),
    onCall: (name, options) => first((directory) => directory.onCall(name, options))
  }
}

type Directory = Required<ApproverDirectory>
type Members = readonly string[] | undefined

/** What is done to a sound directory's answers; each broken one does one thing. */
interface Habits {
  idAsked(id: string): string
  tenantAsked(options: DirectoryOptions): string
  heeds(signal: AbortSignal): boolean
  found(approver: Approver | undefined, id: string): unknown
  members(members: Members): unknown
  onCall(onCall: Members): unknown
  instant(at: number): number
  pause: (() => Promise<void>) | undefined
  inOutage(question: 'find' | 'members' | 'onCall'): unknown
}

const down = (): never => {
  throw new Error('the server is down')
}

const sound: Habits = {
  idAsked: (id) => id,
  tenantAsked: ({ tenant }) => tenant,
  heeds: () => true,
  found: (approver) => approver,
  members: (members) => members,
  onCall: (onCall) => onCall,
  instant: (at) => at,
  pause: undefined,
  inOutage: down
}

/** Fails while `state.out` is set. */
export type MakeDirectory = (inner: Directory, state: { out: boolean }) => Directory

function directoryThat(changed: Partial<Habits>): MakeDirectory {
  const habits: Habits = { ...sound, ...changed }
  return (inner, state) => {
    let last = ''
    const ask = async <T>(
      question: 'find' | 'members' | 'onCall',
      options: DirectoryOptions,
      answer: (own: DirectoryOptions) => Promise<T>
    ): Promise<T> => {
      if (habits.heeds(options.signal)) options.signal.throwIfAborted()
      if (state.out) return habits.inOutage(question) as T
      return await answer({ tenant: habits.tenantAsked(options), signal: new AbortController().signal })
    }
    return {
      find: (id, options) =>
        ask('find', options, async (own) => {
          last = habits.idAsked(id)
          const asked = last
          if (habits.pause !== undefined) await habits.pause()
          const wanted = habits.pause === undefined ? asked : last
          return habits.found(await inner.find(wanted, own), id) as Approver
        }),
      members: (group, options) =>
        ask('members', options, async (own) => habits.members(await inner.members(group, own)) as Members),
      onCall: (schedule, options) =>
        ask('onCall', options, async (own) => {
          const at = habits.instant(options.at)
          return habits.onCall(await inner.onCall(schedule, { ...own, at })) as Members
        })
    }
  }
}

export const soundDirectory: MakeDirectory = directoryThat({})

const without =
  (member: keyof Approver): Habits['found'] =>
  (approver) =>
    approver === undefined
      ? undefined
      : Object.fromEntries(Object.entries(approver).filter(([name]) => name !== member))

/** Gives a list in the order that it was not given in last. */
function alternating(): Habits['members'] {
  let calls = 0
  return (members) => {
    calls += 1
    return calls % 2 === 0 ? members : members?.toReversed()
  }
}

/** Each with the case of the kit that must find it. */
export const brokenDirectories: readonly (readonly [name: string, make: MakeDirectory, foundBy: string])[] = [
  ['folds case', directoryThat({ idAsked: (id) => id.toLowerCase() }), 'to the letter'],
  ['trims', directoryThat({ idAsked: (id) => id.trim() }), 'to the letter'],
  ['finds by prefix', directoryThat({ idAsked: (id) => (id === 'an' ? 'ana' : id) }), 'to the letter'],
  ['obeys a wildcard', directoryThat({ idAsked: (id) => (id === 'a%' ? 'ana' : id) }), 'to the letter'],
  ['obeys an injected filter', directoryThat({ idAsked: (id) => (id.includes('id=*') ? 'ana' : id) }), 'to the letter'],
  ['finds anybody for nothing', directoryThat({ idAsked: (id) => id || 'ana' }), 'to the letter'],
  ['finds what objects inherit', directoryThat({ found: (a, id) => a ?? ({} as never)[id] }), 'to the letter'],
  ['says null for nobody', directoryThat({ found: (approver) => approver ?? null }), 'to the letter'],
  ['cuts at a quote', directoryThat({ idAsked: (id) => id.split("'")[0] ?? '' }), 'all that it holds'],
  ['escapes without need', directoryThat({ idAsked: (id) => encodeURIComponent(id) }), 'all that it holds'],
  ['forgets roles', directoryThat({ found: without('roles') }), 'all that it holds'],
  ['forgets authority', directoryThat({ found: without('authority') }), 'all that it holds'],
  [
    'keeps one address',
    directoryThat({
      found: (a) => a && { ...a, addresses: { ...a.addresses, email: [a.addresses['email']].flat()[0] } }
    }),
    'all that it holds'
  ],
  [
    'mixes up those who ask at once',
    directoryThat({ pause: () => new Promise((resolve) => setImmediate(resolve)) }),
    'many who ask at once'
  ],
  ['does not look at the signal', directoryThat({ heeds: () => false }), 'the signal has aborted'],
  ['serves every tenant', directoryThat({ tenantAsked: () => 'acme' }), 'nothing that another has'],
  ['folds tenants', directoryThat({ tenantAsked: ({ tenant }) => tenant.toLowerCase() }), 'nothing that another has'],
  ['gives a member twice', directoryThat({ members: (m) => m && [...m, ...m] }), 'each once'],
  ['gives members in any order', directoryThat({ members: alternating() }), 'in an order that stays'],
  [
    'has no empty groups',
    directoryThat({ members: (m) => (m?.length === 0 ? undefined : m) }),
    'a group that there is not'
  ],
  ['has every group', directoryThat({ members: (members) => members ?? [] }), 'a group that there is not'],
  ['hands off late', directoryThat({ instant: (at) => at - 1 }), 'the millisecond of the handoff'],
  [
    'hands off at seconds',
    directoryThat({ instant: (at) => Math.round(at / 1_000) * 1_000 }),
    'the millisecond of the handoff'
  ],
  [
    'does not look at the instant',
    directoryThat({ instant: () => Date.UTC(2030, 0, 7) }),
    'the millisecond of the handoff'
  ],
  [
    'says of nobody that there is no schedule',
    directoryThat({ onCall: (o) => (o?.length ? o : undefined) }),
    'a schedule that there is not'
  ],
  ['has every schedule', directoryThat({ onCall: (onCall) => onCall ?? [] }), 'a schedule that there is not'],
  ['forgets absences', directoryThat({ found: without('away') }), 'someone is away'],
  [
    'forgets delegates',
    directoryThat({ found: (a) => a && { ...a, away: (a.away ?? []).map(({ from, until }) => ({ from, until })) } }),
    'someone is away'
  ],
  ['forgets principals', directoryThat({ found: without('principal') }), 'the principal behind an id'],
  [
    'gives aliases of aliases',
    directoryThat({ found: (a) => (a?.id === 'ana' ? { ...a, principal: 'bo' } : a) }),
    'the principal behind an id'
  ],
  [
    'has nobody in an outage',
    directoryThat({ inOutage: (q) => (q === 'find' ? undefined : down()) }),
    'it stands on fails'
  ],
  [
    'has no members in an outage',
    directoryThat({ inOutage: (q) => (q === 'members' ? [] : down()) }),
    'it stands on fails'
  ],
  [
    'has nobody on call in an outage',
    directoryThat({ inOutage: (q) => (q === 'onCall' ? [] : down()) }),
    'it stands on fails'
  ]
]
