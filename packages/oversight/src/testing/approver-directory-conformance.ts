import assert from 'node:assert/strict'
import type { ConformanceKit } from '@enablement/core/testing'
import type { Approver, ApproverDirectory, DirectoryOptions } from '../directory/approver-directory.ts'

/** What a directory under examination must hold, for each tenant and for no other. */
export interface ApproverDirectoryPeople {
  readonly tenant: string
  readonly approvers: readonly Approver[]
  readonly groups: { readonly [group: string]: readonly string[] }
  /** Turns of a day each, from `startAt` (a midnight, UTC) on, one after the other. */
  readonly schedules: { readonly [schedule: string]: { readonly startAt: number; readonly turns: readonly string[] } }
}

/** A directory under examination. */
export interface ApproverDirectorySubject extends AsyncDisposable {
  readonly directory: ApproverDirectory
  /** Makes what the directory stands on fail, or come back. Needed where `outages` are supported. */
  readonly setOutage?: (out: boolean) => Promise<void>
}

/** Makes a subject that holds these people: a server filled with them, or a stand-in for one. */
export type CreateApproverDirectory = (tenants: readonly ApproverDirectoryPeople[]) => Promise<ApproverDirectorySubject>

/**
 * What a directory may do without: groups, schedules, several tenants, absences and principals. `outages`: what it stands
 * on can fail.
 */
export type ApproverDirectoryNeed = 'groups' | 'schedules' | 'tenants' | 'absences' | 'principals' | 'outages'

const DAY_MS = 86_400_000
const START_AT = Date.UTC(2030, 0, 7)

/** Ids that a careless filter, query or path would cut, fold, split or obey. */
const AWKWARD: readonly string[] = [
  "o'hara",
  'ana+ops@example.com',
  'cn=ana,ou=people',
  '*',
  'a*',
  '(ana)',
  '%',
  '_',
  'ana/../bo',
  'ana bo',
  '"ana"',
  'back\\slash',
  'jürgen',
  '三郎',
  '__proto__',
  'constructor',
  'x'.repeat(128)
]

/** Ids of nobody that resemble those of somebody, or mean everybody. */
const NOBODY: readonly string[] = [
  'nobody',
  'ANA',
  'an',
  'anaa',
  'ana ',
  'an_',
  'a%',
  '*)(id=*',
  "' or '1'='1",
  'toString',
  'hasOwnProperty',
  ''
]

const ana: Approver = {
  id: 'ana',
  name: 'Ana Ortiz',
  addresses: { email: ['ana@example.com', 'ana@example.org'], slack: 'U1' },
  roles: ['finance', 'legal'],
  authority: 3
}
const plain = (id: string): Approver => ({
  id,
  name: `Name of ${id}`,
  addresses: { email: `${id.length}@example.com` }
})

const acme: ApproverDirectoryPeople = {
  tenant: 'acme',
  approvers: [ana, plain('bo'), plain('cy'), ...AWKWARD.map(plain)],
  groups: { finance: ['cy', 'ana', 'bo'], "o'group": ['bo'], empty: [] },
  schedules: { primary: { startAt: START_AT, turns: ['ana', 'bo', 'cy'] } }
}
const globex: ApproverDirectoryPeople = {
  tenant: 'globex',
  approvers: [{ ...plain('ana'), name: 'Another Ana' }, plain('gus')],
  groups: { finance: ['gus'], board: ['gus'] },
  schedules: { primary: { startAt: START_AT, turns: ['gus'] }, nights: { startAt: START_AT, turns: ['gus'] } }
}
const away: readonly Approver[] = [
  {
    ...plain('ann'),
    away: [
      { from: 1_000, until: 2_000, delegate: 'bo' },
      { from: 5_000, until: 6_000 }
    ]
  }
]
const aliased: readonly Approver[] = [
  { ...plain('robot'), principal: 'ana' },
  { ...plain('ana-admin'), principal: 'ana' },
  { ...plain('contractor'), principal: 'someone outside' }
]

type Case = (subject: ApproverDirectorySubject, ask: (tenant: string) => DirectoryOptions) => Promise<void>

/** Runs `body` on a fresh subject that holds these people. */
const exam =
  (body: Case, tenants: readonly ApproverDirectoryPeople[] = [acme]) =>
  async (create: CreateApproverDirectory): Promise<void> => {
    await using subject = await create(tenants)
    await body(subject, (tenant) => ({ tenant, signal: new AbortController().signal }))
  }

const holding = (more: readonly Approver[]): readonly ApproverDirectoryPeople[] => [
  { ...acme, approvers: [...acme.approvers, ...more] }
]

/** Without what says nothing: no role and no authority may be given, or left out. */
function shown(approver: Approver | undefined): unknown {
  if (approver === undefined) return undefined
  const { id, name, addresses, roles = [], authority = 0, principal = id, away: absences = [] } = approver
  return {
    id,
    name,
    addresses: Object.fromEntries(Object.entries(addresses).map(([channel, address]) => [channel, [address].flat()])),
    roles,
    authority,
    principal,
    absences
  }
}

/** What must hold of anything that claims to be an `ApproverDirectory`. Hand it to core's `conformanceTests`. */
export const approverDirectoryConformance: ConformanceKit<CreateApproverDirectory, ApproverDirectoryNeed> = {
  name: 'ApproverDirectory',
  needs: ['groups', 'schedules', 'tenants', 'absences', 'principals', 'outages'],
  cases: [
    {
      name: 'finds everybody whom it holds, with all that it holds of them',
      run: exam(async ({ directory }, ask) => {
        for (const approver of acme.approvers) {
          assert.deepEqual(shown(await directory.find(approver.id, ask('acme'))), shown(approver))
        }
      })
    },
    {
      name: 'finds nobody under an id that nobody has to the letter',
      run: exam(async ({ directory }, ask) => {
        for (const id of NOBODY) assert.equal(await directory.find(id, ask('acme')), undefined, `found ${id}`)
      })
    },
    {
      name: 'gives each of many who ask at once the answer to their own question',
      run: exam(async ({ directory }, ask) => {
        const ids = Array.from({ length: 100 }, (_, n) => acme.approvers[n % acme.approvers.length]?.id ?? '')
        const found = await Promise.all(ids.map((id) => directory.find(id, ask('acme'))))
        assert.deepEqual(
          found.map((approver) => approver?.id),
          ids
        )
      })
    },
    {
      name: 'rejects when the signal has aborted, and does not answer that there is nobody',
      run: exam(async ({ directory }) => {
        const options = { tenant: 'acme', signal: AbortSignal.abort(new Error('no longer wanted')) }
        await assert.rejects(directory.find('ana', options))
        if (directory.members !== undefined) await assert.rejects(directory.members('finance', options))
        if (directory.onCall !== undefined) {
          await assert.rejects(directory.onCall('primary', { ...options, at: START_AT }))
        }
      })
    },
    {
      name: 'knows of one tenant nothing that another has',
      needs: ['tenants'],
      run: exam(
        async ({ directory }, ask) => {
          assert.equal((await directory.find('ana', ask('acme')))?.name, 'Ana Ortiz')
          assert.equal((await directory.find('ana', ask('globex')))?.name, 'Another Ana')
          assert.equal(await directory.find('gus', ask('acme')), undefined)
          assert.equal(await directory.find('bo', ask('globex')), undefined)
          for (const tenant of ['initech', 'ACME', 'acm', '']) {
            assert.equal(await directory.find('ana', ask(tenant)), undefined, `found somebody of ${tenant}`)
          }
        },
        [acme, globex]
      )
    },
    {
      name: 'knows of one tenant no group of another',
      needs: ['tenants', 'groups'],
      run: exam(
        async ({ directory }, ask) => {
          assert.deepEqual(await directory.members?.('finance', ask('globex')), ['gus'])
          assert.equal(await directory.members?.('board', ask('acme')), undefined)
          assert.equal(await directory.members?.('finance', ask('initech')), undefined)
        },
        [acme, globex]
      )
    },
    {
      name: 'knows of one tenant no schedule of another',
      needs: ['tenants', 'schedules'],
      run: exam(
        async ({ directory }, ask) => {
          const at = START_AT
          assert.deepEqual(await directory.onCall?.('primary', { ...ask('globex'), at }), ['gus'])
          assert.equal(await directory.onCall?.('nights', { ...ask('acme'), at }), undefined)
          assert.equal(await directory.onCall?.('primary', { ...ask('initech'), at }), undefined)
        },
        [acme, globex]
      )
    },
    {
      name: 'gives the members of a group, each once, in an order that stays',
      needs: ['groups'],
      run: exam(async ({ directory }, ask) => {
        const members = (await directory.members?.('finance', ask('acme'))) ?? []
        assert.deepEqual(members.toSorted(), ['ana', 'bo', 'cy'])
        assert.deepEqual(await directory.members?.('finance', ask('acme')), members)
        assert.deepEqual(await directory.members?.("o'group", ask('acme')), ['bo'])
      })
    },
    {
      name: 'tells a group without members from a group that there is not',
      needs: ['groups'],
      run: exam(async ({ directory }, ask) => {
        assert.deepEqual(await directory.members?.('empty', ask('acme')), [])
        for (const group of ['Finance', 'financ', 'fin*', 'ana', 'toString', '']) {
          assert.equal(await directory.members?.(group, ask('acme')), undefined, `has a group ${group}`)
        }
      })
    },
    {
      name: 'changes who is on call at the millisecond of the handoff, by the instant that is asked about',
      needs: ['schedules'],
      run: exam(async ({ directory }, ask) => {
        const onCall = (at: number) => directory.onCall?.('primary', { ...ask('acme'), at })
        assert.deepEqual(await onCall(START_AT), ['ana'])
        assert.deepEqual(await onCall(START_AT + DAY_MS - 1), ['ana'])
        assert.deepEqual(await onCall(START_AT + DAY_MS), ['bo'])
        assert.deepEqual(await onCall(START_AT + 3 * DAY_MS - 1), ['cy'])
        assert.deepEqual(await onCall(START_AT), ['ana'])
      })
    },
    {
      name: 'tells a schedule with nobody on call from a schedule that there is not',
      needs: ['schedules'],
      run: exam(async ({ directory }, ask) => {
        assert.deepEqual(await directory.onCall?.('primary', { ...ask('acme'), at: START_AT - 1 }), [])
        for (const schedule of ['Primary', 'finance', 'toString', '']) {
          const onCall = await directory.onCall?.(schedule, { ...ask('acme'), at: START_AT })
          assert.equal(onCall, undefined, `has a schedule ${schedule}`)
        }
      })
    },
    {
      name: 'tells when someone is away, and who decides instead',
      needs: ['absences'],
      run: exam(async ({ directory }, ask) => {
        for (const approver of away) {
          assert.deepEqual(shown(await directory.find(approver.id, ask('acme'))), shown(approver))
        }
      }, holding(away))
    },
    {
      name: 'gives the principal behind an id, which is no alias in turn',
      needs: ['principals'],
      run: exam(async ({ directory }, ask) => {
        for (const { id, principal } of aliased) {
          const found = await directory.find(id, ask('acme'))
          assert.deepEqual([found?.id, found?.principal], [id, principal])
          const behind = await directory.find(principal ?? id, ask('acme'))
          assert.equal(behind?.principal ?? behind?.id ?? principal, principal)
        }
      }, holding(aliased))
    },
    {
      name: 'rejects while what it stands on fails, and never answers that there is nobody',
      needs: ['outages'],
      run: exam(async ({ directory, setOutage }, ask) => {
        assert.ok(setOutage, 'a subject that supports outages has setOutage')
        await setOutage(true)
        await assert.rejects(directory.find('ana', ask('acme')), 'found somebody, or nobody')
        if (directory.members !== undefined) await assert.rejects(directory.members('finance', ask('acme')))
        if (directory.onCall !== undefined) {
          await assert.rejects(directory.onCall('primary', { ...ask('acme'), at: START_AT }))
        }
        await setOutage(false)
        assert.equal((await directory.find('ana', ask('acme')))?.id, 'ana')
      })
    }
  ]
}
