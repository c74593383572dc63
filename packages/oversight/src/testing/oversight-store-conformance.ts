import assert from 'node:assert/strict'
import type { AuditDraft } from '@enablement/core/audit'
import type { Duty } from '@enablement/core/schedule'
import type { ConformanceCase, ConformanceKit } from '@enablement/core/testing'
import type { GrantRecord } from '../grant/grant-record.ts'
import { OversightError } from '../oversight-error.ts'
import type {
  Change,
  Courier,
  MessageEnd,
  MessageOutcome,
  Opened,
  Opening,
  OversightStore
} from '../oversight-store.ts'
import { type RequestRecord, UNTOUCHED } from '../request/request.ts'

/** A fresh, empty store, and what a test has to know about it besides the port. */
export interface OversightStoreSubject extends AsyncDisposable {
  readonly store: OversightStore
  /** Moves the store's own clock ahead; it stands still otherwise. */
  advance(durationMs: number): Promise<void>
  /** Everything that was committed as evidence, in order. */
  evidence(tenant: string): Promise<readonly AuditDraft[]>
}

/** Makes a subject, as often as a case wants one. */
export type CreateOversightStore = () => Promise<OversightStoreSubject>

/** What must hold of anything that claims to be an `OversightStore`. Hand it to core's `conformanceTests`. */
export const oversightStoreConformance: ConformanceKit<CreateOversightStore, never> = {
  name: 'OversightStore',
  needs: [],
  cases: [
    stated('opens one request per tenant and key, however many ask at once', async ({ store, evidence }) => {
      const opened = await Promise.all(Array.from({ length: 20 }, (_, n) => store.open(opening({ id: `r${n}` }))))
      assert.deepEqual(opened.map(({ outcome }) => outcome).toSorted(), [...Array(19).fill('found'), 'opened'])
      assert.equal(new Set(opened.map(({ request }) => request.id)).size, 1)
      assert.equal((await store.open(opening({ id: 'other', tenant: 'globex' }))).outcome, 'opened')
      assert.deepEqual(actionsOf(await evidence('acme')), ['test.opened'])
      assert.deepEqual(actionsOf(await evidence('globex')), ['test.opened'])
    }),

    stated('gives one open request to all who ask for the same thing', async ({ store, evidence }) => {
      const asked = await Promise.all(
        Array.from({ length: 10 }, (_, n) =>
          store.open(opening({ id: `r${n}`, idempotencyKey: `k${n}`, identity: 'same' }))
        )
      )
      assert.equal(asked.filter(({ outcome }) => outcome === 'opened').length, 1)
      assert.equal(asked.filter(({ outcome }) => outcome === 'coalesced').length, 9)
      const [first] = asked as [Opened]
      const { id } = first.request
      assert.ok(asked.every(({ request }) => request.id === id))
      assert.deepEqual(actionsOf(await evidence('acme')).toSorted(), [
        ...Array(9).fill('test.coalesced'),
        'test.opened'
      ])
      const again = await store.open(opening({ id: 'again', idempotencyKey: 'k3', identity: 'same' }))
      assert.deepEqual([again.outcome, again.request.id], ['found', id])

      await store.change(id, (request) => change({ request: settled(request) }))
      const later = await store.open(opening({ id: 'later', idempotencyKey: 'later', identity: 'same' }))
      assert.deepEqual([later.outcome, later.request.id], ['opened', 'later'])
      const kept = await store.open(opening({ id: 'kept', idempotencyKey: 'k3', identity: 'same' }))
      assert.deepEqual([kept.outcome, kept.request.id], ['found', id])
    }),

    stated('gives back every field as it was given', async ({ store }) => {
      await store.open(opening({ id: 'r' }))
      for (const changed of STATES) {
        const expected = record({ id: 'r', ...changed })
        await store.change('r', () => change({ request: expected }))
        assert.deepEqual(plain(await store.find('r')), plain(expected))
        assert.deepEqual(plain(await store.change('r', (request) => change({}, request))), plain(expected))
      }
    }),

    stated('keeps what is asked for as it was but for an edit, which has a higher version', async ({ store }) => {
      await store.open(opening({ id: 'r' }))
      const edited = record({ id: 'r', version: 2, detail: { order: 5 }, argumentHash: 'beef', excerpt: { order: 5 } })
      await store.change('r', () => change({ request: edited }))
      assert.deepEqual(plain(await store.find('r')), plain(edited))
    }),

    stated('knows nothing of a request that was not opened', async ({ store }) => {
      assert.equal(await store.find('nothing'), undefined)
      await assert.rejects(
        store.change('nothing', () => change({})),
        (error) =>
          error instanceof OversightError && error.is('UNKNOWN_REQUEST') && error.detail.requestId === 'nothing'
      )
    }),

    stated('commits all that a step makes, or nothing when it throws', async ({ store, evidence }) => {
      await store.open(opening({ id: 'r' }))
      await store.change('r', () =>
        change({ request: record({ id: 'r', tier: 1 }), evidence: [draft('test.stepped'), draft('test.twice')] })
      )
      const thrown = new Error('the step threw')
      const [failed] = await Promise.allSettled([
        store.change('r', () => {
          throw thrown
        }),
        store.change('r', (request) => change({ request: { ...request, extensions: 3 } }))
      ])
      assert.deepEqual(failed, { status: 'rejected', reason: thrown })
      assert.deepEqual(plain(await store.find('r')), plain(record({ id: 'r', tier: 1, extensions: 3 })))
      assert.deepEqual(actionsOf(await evidence('acme')), ['test.opened', 'test.stepped', 'test.twice'])
    }),

    stated('takes steps on one request one after the other', async ({ store }) => {
      await store.open(opening({ id: 'r' }))
      await store.open(opening({ id: 's', idempotencyKey: 's' }))
      const seen = await Promise.all(
        Array.from({ length: 50 }, (_, n) =>
          store.change(n % 2 === 0 ? 'r' : 's', (request) =>
            change({ request: { ...request, refusedVotes: request.refusedVotes + 1 } }, request.refusedVotes)
          )
        )
      )
      for (const first of [0, 1]) {
        const ofOne = seen.filter((_, n) => n % 2 === first)
        assert.deepEqual(
          ofOne.toSorted((a, b) => a - b),
          Array.from({ length: 25 }, (_, n) => n)
        )
      }
      assert.equal((await store.find('r'))?.refusedVotes, 25)
    }),

    stated('tells steps the time of its own clock', async ({ store, advance }) => {
      await store.open(opening({ id: 'r' }))
      const before = await store.change('r', (_, now) => change({}, now))
      await advance(1_234)
      assert.equal(await store.change('r', (_, now) => change({}, now)), before + 1_234)
    }),

    stated('finds what is due to the millisecond, the longest overdue first', async ({ store, advance }) => {
      const start = await openAt(store, 'clock', () => ({}))
      const escalates = { soon: 100, sooner: 50, later: 101 }
      for (const [id, afterMs] of Object.entries(escalates)) {
        await openAt(store, id, () => ({ tierEndsAt: start + afterMs }))
      }
      await openAt(store, 'deadline', () => ({ tierEndsAt: start + 900, deadlineAt: start + 75 }))
      await openAt(store, 'settled', (request) => settled({ ...request, tierEndsAt: start + 1 }))
      const execution = { state: 'running', fence: 1, claimId: 'c', since: start, leaseUntil: start + 60 } as const
      await openAt(store, 'running', () => ({ execution }))
      const due = async (kind: 'escalation' | 'execution', skip: readonly string[] = [], limit = 10) =>
        (await store.changeDue(kind, { limit, skip }, () => change({}))).map(({ requestId }) => requestId)

      assert.equal(await store.nextDueInMs('escalation'), 50)
      assert.equal(await store.nextDueInMs('execution'), 60)
      await advance(49)
      assert.deepEqual(await due('escalation'), [])
      await advance(1)
      assert.deepEqual(await due('escalation'), ['sooner'])
      assert.equal(await store.nextDueInMs('escalation'), 0)
      await advance(9)
      assert.deepEqual(await due('execution'), [])
      await advance(1)
      assert.deepEqual(await due('execution'), ['running'])
      await advance(40)
      assert.deepEqual(await due('escalation'), ['sooner', 'deadline', 'soon'])
      assert.deepEqual(await due('escalation', ['sooner']), ['deadline', 'soon'])
      assert.deepEqual(await due('escalation', [], 1), ['sooner'])
    }),

    stated('changes what is due, all but those whose step throws', async ({ store, advance, evidence }) => {
      for (const id of ['a', 'b', 'c']) await openAt(store, id, (_, now) => ({ tierEndsAt: now + 10 }))
      await advance(10)
      const thrown = new Error('the step threw')
      const done = await store.changeDue('escalation', { limit: 10, skip: [] }, (request) => {
        if (request.id === 'b') throw thrown
        return change({ request: { ...request, tierEndsAt: undefined }, evidence: [draft('test.due')] }, request.id)
      })
      assert.deepEqual(
        done.toSorted((one, other) => (one.requestId < other.requestId ? -1 : 1)),
        [
          { outcome: 'changed', requestId: 'a', answer: 'a' },
          { outcome: 'failed', requestId: 'b', error: thrown },
          { outcome: 'changed', requestId: 'c', answer: 'c' }
        ]
      )
      assert.deepEqual(actionsOf(await evidence('acme')), ['test.due', 'test.due'])
      const left = await store.changeDue('escalation', { limit: 10, skip: [] }, () => change({}))
      assert.deepEqual(
        left.map(({ requestId }) => requestId),
        ['b']
      )
    }),

    stated('lists requests, the newest first, and those that wait for somebody', async ({ store }) => {
      const seats = (...approvers: readonly string[]): RequestRecord['seats'] =>
        approvers.map((approver) => ({
          approver,
          principal: approver,
          roles: [],
          authority: 0,
          via: { kind: 'named' },
          tier: 0,
          askedAt: 1
        }))
      for (const n of [1, 2, 3, 4]) {
        await openAt(store, `r${n}`, () => ({ seats: n % 2 === 0 ? seats('ana', 'bo') : seats('bo') }))
      }
      await store.open(opening({ id: 'r9', tenant: 'globex', seats: seats('ana') }))
      const listed = async (query: Partial<Parameters<OversightStore['list']>[0]>) =>
        (await store.list({ tenant: 'acme', limit: 10, ...query })).map(({ id }) => id)
      assert.deepEqual(await listed({}), ['r4', 'r3', 'r2', 'r1'])
      assert.deepEqual(await listed({ limit: 2 }), ['r4', 'r3'])
      assert.deepEqual(await listed({ before: 'r3' }), ['r2', 'r1'])
      assert.deepEqual(await listed({ status: 'pending', approver: 'ana' }), ['r4', 'r2'])
      await store.change('r2', (request) => change({ request: settled(request) }))
      await store.change('r3', (request) => change({ request: { ...request, seats: seats('bo', 'ana') } }))
      assert.deepEqual(await listed({ approver: 'ana' }), ['r4', 'r3'])
      assert.deepEqual(await listed({ approver: 'bo', before: 'r4' }), ['r3', 'r1'])
      assert.deepEqual(await listed({ status: 'settled' }), ['r2'])
      assert.deepEqual(await listed({ status: 'pending' }), ['r4', 'r3', 'r1'])
    }),

    stated('never lets a grant be used more often than it may be', async ({ store, evidence }) => {
      await addGrant(store, { usesMax: 3 })
      const opened = await Promise.all(Array.from({ length: 12 }, (_, n) => store.open(usingGrant(`r${n}`))))
      assert.equal(opened.filter(({ request }) => request.status === 'approved').length, 3)
      assert.equal((await store.grants({ tenant: 'acme', limit: 10 }))[0]?.used, 3)
      await store.open(usingGrant('r0'))
      assert.equal((await store.grants({ tenant: 'acme', limit: 10 }))[0]?.used, 3)
      assert.deepEqual(await store.grants({ tenant: 'globex', limit: 10 }), [])
      assert.equal(actionsOf(await evidence('acme')).filter((action) => action === 'test.granted').length, 1)
    }),

    stated('changes a grant under its lock, and knows none that is not there', async ({ store, evidence }) => {
      await addGrant(store, { usesMax: 100 })
      const counts = await Promise.all(
        Array.from({ length: 10 }, () =>
          store.changeGrant('g', (grant) => ({
            answer: grant.used,
            grant: { ...grant, used: grant.used + 1 },
            evidence: [draft('test.used')]
          }))
        )
      )
      assert.deepEqual(
        counts.toSorted((a = 0, b = 0) => a - b),
        Array.from({ length: 10 }, (_, n) => n)
      )
      assert.equal(await store.changeGrant('nothing', () => ({ answer: 1, evidence: [] })), undefined)
      assert.equal(actionsOf(await evidence('acme')).filter((action) => action === 'test.used').length, 10)
    }),

    stated('delivers messages, and commits what their end means', async (subject) => {
      const { store } = subject
      const post = scripted(({ payload }) =>
        payload === 'lost'
          ? { outcome: 'unreachable', reason: 'nobody there' }
          : { outcome: 'delivered', receipt: `of ${payload}` }
      )
      const duties = store.deliverThrough(post.courier)
      await store.open(opening({ id: 'r' }))
      const messages = ['hello', 'lost'].map((payload) => ({ payload, destination: 'desk' }))
      await store.change('r', () => change({ messages }))
      await runAll(duties)
      assert.deepEqual(post.sent.toSorted(), ['hello', 'lost'])
      assert.deepEqual(
        new Set(post.ends.map((end) => JSON.stringify(end))),
        new Set([
          JSON.stringify({ payload: 'hello', end: { outcome: 'delivered', receipt: 'of hello' } }),
          JSON.stringify({ payload: 'lost', end: { outcome: 'unreachable', reason: 'nobody there' } })
        ])
      )
      assert.equal((await store.find('r'))?.refusedVotes, 2)
      await runAll(duties)
      assert.equal(post.sent.length, 2)
    }),

    stated('delivers nothing of a step that threw', async (subject) => {
      const { store } = subject
      const post = scripted(() => ({ outcome: 'delivered' }))
      const duties = store.deliverThrough(post.courier)
      await store.open(opening({ id: 'r' }))
      await assert.rejects(
        store.change('r', () => {
          throw new Error('the step threw')
        })
      )
      await runAll(duties)
      assert.deepEqual(post.sent, [])
    }),

    stated('tries again what failed, and what was postponed without counting that', async (subject) => {
      const { store, advance } = subject
      const attempts: number[] = []
      const outcomes: MessageOutcome[] = [
        { outcome: 'failed', reason: 'BUSY' },
        { outcome: 'postponed', reason: 'LIMIT', afterMs: 5_000 },
        { outcome: 'delivered' }
      ]
      const post = scripted(({ attempt }) => {
        attempts.push(attempt)
        return outcomes[attempts.length - 1] ?? { outcome: 'dropped' }
      })
      const duties = store.deliverThrough(post.courier)
      await store.open(opening({ id: 'r' }))
      await store.change('r', () => change({ messages: [{ payload: 'hello', destination: 'desk' }] }))
      await runAll(duties)
      assert.deepEqual(attempts, [1])
      await advance(4_000)
      await runAll(duties)
      assert.deepEqual(attempts, [1, 2])
      await advance(4_999)
      await runAll(duties)
      assert.deepEqual(attempts, [1, 2])
      await advance(60_000)
      await runAll(duties)
      assert.deepEqual(attempts, [1, 2, 2])
      assert.equal(post.ends.length, 1)
    }),

    stated('delivers the messages of one line one after another', async (subject) => {
      const { store } = subject
      let atOnce = 0
      let most = 0
      const post = scripted(async () => {
        atOnce += 1
        most = Math.max(most, atOnce)
        await Promise.resolve()
        atOnce -= 1
        return { outcome: 'delivered' }
      })
      const duties = store.deliverThrough(post.courier)
      await store.open(opening({ id: 'r' }))
      for (const payload of ['1', '2', '3', '4']) {
        await store.change('r', () => change({ messages: [{ payload, destination: 'desk', line: 'ana' }] }))
      }
      await runAll(duties)
      assert.deepEqual(post.sent, ['1', '2', '3', '4'])
      assert.equal(most, 1)
    })
  ]
}

function stated(
  name: string,
  check: (subject: OversightStoreSubject) => Promise<void>
): ConformanceCase<CreateOversightStore, never> {
  return {
    name,
    async run(create) {
      await using subject = await create()
      await check(subject)
    }
  }
}

const running = { state: 'running', fence: 3, claimId: 'c', since: 1, leaseUntil: 4_102_444_800_000 } as const
const seat = {
  approver: 'ana',
  principal: 'ana',
  roles: ['lead'],
  authority: 3,
  via: { kind: 'group', of: 'leads' },
  tier: 0,
  askedAt: 5
} as const
const vote = {
  approver: 'ana',
  principal: 'ana',
  roles: ['lead'],
  authority: 3,
  decision: 'deny',
  reason: 'no – 日本 🙅',
  idempotencyKey: undefined,
  argumentHash: 'f00d',
  votedAt: 7
} as const
const invitation = {
  id: 'i',
  tier: 0,
  approver: 'ana',
  channel: 'desk',
  version: 1,
  otherwise: ['mail'],
  bounces: 0
} as const

const STATES: readonly Partial<RequestRecord>[] = [
  {},
  {
    queued: true,
    startedLate: true,
    unseated: true,
    tier: 2,
    tierEndsAt: undefined,
    deadlineAt: 4_102_444_800_000,
    remindAt: 5,
    settleAt: 6,
    extensions: 2,
    refusedVotes: 7,
    principals: ['agent-7', 'uma', 'Uma Thur'],
    seats: [seat],
    votes: [vote],
    invitations: [
      { ...invitation, state: 'queued', receipt: undefined },
      { ...invitation, id: 'j', state: 'delivered', receipt: 'm5' }
    ],
    comments: [{ by: 'bo', text: 'why?', at: 8, key: 'c1' }],
    edits: [{ by: 'bo', at: 9, version: 2, reason: 'less', before: { order: 4 } }],
    views: [{ by: 'bo', version: 1, at: 4 }]
  },
  { status: 'approved', settlement: { by: 'bo', at: 5, reason: undefined }, execution: running },
  {
    status: 'denied',
    settlement: { by: 'bo', at: 5, reason: 'no – 日本 🙅' },
    execution: { state: 'idle', fence: 2 }
  },
  { status: 'timed-out', settlement: { by: 'system:deadline', at: 5, reason: undefined } },
  {
    status: 'revoked',
    lateByMs: 8,
    settlement: { by: 'bo', at: 5, reason: undefined },
    revocation: { by: 'bo', at: 6, reason: 'changed my mind' }
  },
  { status: 'cancelled', execution: { state: 'executed', fence: 1, since: 6, result: '{"a":[1,null]}' } },
  { execution: { state: 'in-doubt', fence: 9, since: 6, reconcileAt: 7, reconciliations: 3 } }
]

function record(changed: Partial<RequestRecord>): RequestRecord {
  return {
    id: 'r',
    tenant: 'acme',
    idempotencyKey: 'k',
    action: 'payments.refund',
    version: 1,
    argumentHash: 'f00d',
    openedHash: 'f00d',
    requestedBy: { agent: 'agent-7', onBehalfOf: 'uma' },
    principals: ['agent-7', 'uma'],
    task: 'run-4',
    risk: 'high',
    reversible: false,
    summary: 'Refund order 4 – ¥1,200',
    detail: { order: 4, nested: [{ amount: '1200', note: null }] },
    excerpt: { order: 4 },
    context: { outcome: 'stale', ageMs: 5 },
    policy: { tiers: [{ approvers: ['ana'], channels: ['pager'], waitMs: 1_000 }], onExhausted: 'deny' },
    policyVersion: 'cafe',
    onTimeout: 'resume',
    openedAt: 1_000,
    status: 'pending',
    identity: undefined,
    ...UNTOUCHED,
    tier: 0,
    ...changed
  }
}

const settled = (request: RequestRecord): RequestRecord => ({
  ...request,
  status: 'approved',
  identity: undefined,
  tierEndsAt: undefined,
  settlement: { by: 'bo', at: 5, reason: undefined }
})

function opening(changed: Partial<RequestRecord>): Opening {
  const request = record(changed)
  const { id, tenant, idempotencyKey, identity } = request
  return {
    id,
    tenant,
    idempotencyKey,
    identity,
    grants: false,
    open: () => ({ ...change({ evidence: [draft('test.opened', tenant)] }), request }),
    coalesce: () => [draft('test.coalesced', tenant)]
  }
}

/** Opens a request under its id as key, without evidence, and gives the store's time at that moment. */
async function openAt(
  store: OversightStore,
  id: string,
  changed: (request: RequestRecord, now: number) => Partial<RequestRecord>
): Promise<number> {
  let at = 0
  const plainOpening = opening({ id, idempotencyKey: id })
  await store.open({
    ...plainOpening,
    open(now) {
      at = now
      const request = record({ id, idempotencyKey: id })
      return { ...change({}), request: { ...request, ...changed(request, now) } }
    }
  })
  return at
}

/** Opens a request that a grant approves, if there is one that still may. */
function usingGrant(id: string): Opening {
  return {
    ...opening({ id, idempotencyKey: id }),
    grants: true,
    open(_, [grant]) {
      const request = record({ id, idempotencyKey: id })
      if (grant === undefined) return { ...change({}), request }
      return { ...change({}), request: settled(request), grant: { ...grant, used: grant.used + 1 } }
    }
  }
}

async function addGrant(store: OversightStore, changed: Partial<GrantRecord>): Promise<void> {
  await store.addGrant((now) => ({
    answer: undefined,
    grant: {
      id: 'g',
      tenant: 'acme',
      action: 'payments.refund',
      agent: undefined,
      task: undefined,
      policyVersion: undefined,
      detail: [],
      riskMax: 'high',
      issuedBy: 'bo',
      issuerPrincipal: 'bo',
      reason: 'routine',
      issuedAt: now,
      expiresAt: now + 1_000_000,
      usesMax: 1,
      used: 0,
      revokedAt: undefined,
      ...changed
    },
    evidence: [draft('test.granted')]
  }))
}

function change<Answer = void>(made: Partial<Change<Answer>>, answer?: Answer): Change<Answer> {
  return { ...made, answer: answer as Answer }
}

interface Post {
  readonly courier: Courier
  readonly sent: string[]
  readonly ends: { readonly payload: string; readonly end: MessageEnd }[]
}

/** A courier for request `r` that answers as told, and counts the ends in the request. */
function scripted(
  answer: (message: { readonly payload: string; readonly attempt: number }) => MessageOutcome | Promise<MessageOutcome>
): Post {
  const sent: string[] = []
  const ends: Post['ends'] = []
  return {
    sent,
    ends,
    courier: {
      async deliver({ payload, attempt }) {
        sent.push(payload)
        return answer({ payload, attempt })
      },
      requestOf: () => 'r',
      settle: (request, payload, end) => ({
        request: { ...request, refusedVotes: request.refusedVotes + 1 },
        answer: { payload, end }
      }),
      settled(_, made) {
        ends.push(made as Post['ends'][number])
      }
    }
  }
}

/** Runs the duties until nothing more is due at this moment. */
async function runAll(duties: readonly Duty[]): Promise<void> {
  const { signal } = new AbortController()
  for (let handled = 1; handled > 0; ) {
    handled = 0
    for (const duty of duties) handled += (await duty.run({ signal })).handled
  }
}

/** Without what is undefined, which no store has to tell from what is not there. */
const plain = (value: unknown): unknown => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)))

function draft(action: string, tenant = 'acme'): AuditDraft {
  return { tenant, actor: 'system:test', action, subject: 'request:r', detail: { n: 1 } }
}

const actionsOf = (drafts: readonly AuditDraft[]): readonly string[] => drafts.map(({ action }) => action)
