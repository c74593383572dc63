import assert from 'node:assert/strict'
import type { AuditDraft } from '@enablement/core/audit'
import type { ConformanceCase, ConformanceKit } from '@enablement/core/testing'
import { OversightError } from '../oversight-error.ts'
import type { Change, OversightStore } from '../oversight-store.ts'
import { type Delivery, invitationOf } from '../request/delivery.ts'
import type { Vote } from '../request/dossier.ts'
import type { RequestRecord } from '../request/request.ts'

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
      const opened = await Promise.all(
        Array.from({ length: 20 }, (_, n) => store.open(key('k'), opening({ id: `r${n}`, idempotencyKey: 'k' })))
      )
      assert.equal(opened.filter((one) => one.opened).length, 1)
      assert.equal(new Set(opened.map(({ request }) => request.id)).size, 1)
      const other = await store.open(
        { tenant: 'globex', idempotencyKey: 'k' },
        opening({ id: 'other', tenant: 'globex' })
      )
      assert.equal(other.opened, true)
      assert.deepEqual(actionsOf(await evidence('acme')), ['test.opened'])
      assert.equal((await store.claimDeliveries({ limit: 10, leaseMs: 1 })).length, 2)
    }),

    stated('gives back every field as it was given', async ({ store }) => {
      await store.open(key('k'), opening({ id: 'bare' }))
      const running = { state: 'running', fence: 3, claimId: 'c', since: 1, leaseUntil: 4_102_444_800_000 } as const
      const states: readonly Partial<RequestRecord>[] = [
        {},
        {
          queued: true,
          startedLate: true,
          tier: 2,
          tierEndsAt: undefined,
          deadlineAt: 4_102_444_800_000,
          refusedVotes: 7
        },
        { status: 'approved', settlement: { by: 'bo', at: 5, reason: undefined }, execution: running },
        {
          status: 'denied',
          settlement: { by: 'bo', at: 5, reason: 'no – 日本 🙅' },
          execution: { state: 'idle', fence: 2 }
        },
        { status: 'timed-out', settlement: { by: 'system:deadline', at: 5, reason: undefined } },
        { status: 'cancelled', execution: { state: 'executed', fence: 1, since: 6, result: '{"a":[1,null]}' } },
        { execution: { state: 'in-doubt', fence: 9, since: 6 } }
      ]
      for (const changed of states) {
        const expected = record({ id: 'bare', ...changed })
        await store.change('bare', () => change({ request: expected }))
        assert.deepEqual(await store.find('bare'), expected)
        assert.deepEqual(await store.change('bare', ({ request }) => change({}, request)), expected)
      }
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
      await store.open(key('k'), opening({ id: 'r' }))
      await store.change('r', () =>
        change({
          request: record({ id: 'r', tier: 1 }),
          vote: vote('ana'),
          newDeliveries: [delivery('r', 'bo')],
          changedDeliveries: [{ ...delivery('r', 'ana'), state: 'delivered', dueAt: undefined, receipt: 'm5' }],
          evidence: [draft('test.stepped')]
        })
      )
      const thrown = new Error('the step threw')
      await assert.rejects(
        store.change('r', () => {
          throw thrown
        }),
        thrown
      )
      const held = await store.change('r', (dossier) => change({}, dossier))
      assert.deepEqual(held.request, record({ id: 'r', tier: 1 }))
      assert.deepEqual(held.votes, [vote('ana')])
      assert.deepEqual(byApprover(held.deliveries), [
        { ...delivery('r', 'ana'), state: 'delivered', dueAt: undefined, receipt: 'm5' },
        delivery('r', 'bo')
      ])
      assert.deepEqual(actionsOf(await evidence('acme')), ['test.opened', 'test.stepped'])
    }),

    stated(
      'refuses a delivery and a vote that it holds already, and the whole step with it',
      async ({ store, evidence }) => {
        await store.open(key('k'), opening({ id: 'r' }))
        await store.change('r', () => change({ vote: vote('ana') }))
        const twice: readonly Partial<Change<void>>[] = [
          { newDeliveries: [delivery('r', 'ana')] },
          { vote: vote('ana') }
        ]
        for (const repeated of twice) {
          const request = record({ id: 'r', tier: 5 })
          await assert.rejects(
            store.change('r', () => change({ ...repeated, request, evidence: [draft('test.twice')] }))
          )
        }
        assert.equal((await store.find('r'))?.tier, 0)
        assert.deepEqual(actionsOf(await evidence('acme')), ['test.opened'])
      }
    ),

    stated('takes steps on one request one after the other', async ({ store }) => {
      await store.open(key('k'), opening({ id: 'r' }))
      const seen = await Promise.all(
        Array.from({ length: 25 }, (_, n) =>
          store.change('r', ({ request, votes }) =>
            change(
              { request: { ...request, refusedVotes: request.refusedVotes + 1 }, vote: vote(`voter-${n}`) },
              votes.length
            )
          )
        )
      )
      assert.deepEqual(
        seen.toSorted((a, b) => a - b),
        Array.from({ length: 25 }, (_, n) => n)
      )
      const { request, votes } = await store.change('r', (dossier) => change({}, dossier))
      assert.equal(request.refusedVotes, 25)
      const orderOf = new Map(seen.map((place, n) => [`voter-${n}`, place]))
      assert.deepEqual(
        votes.map(({ approver }) => orderOf.get(approver)),
        seen.toSorted((a, b) => a - b)
      )
    }),

    stated('tells steps the time of its own clock', async ({ store, advance }) => {
      await store.open(key('k'), opening({ id: 'r' }))
      const before = await store.change('r', (_, now) => change({}, now))
      await advance(1_234)
      assert.equal(await store.change('r', (_, now) => change({}, now)), before + 1_234)
    }),

    stated(
      'finds what is due by its own clock to the millisecond, the longest overdue first',
      async ({ store, advance }) => {
        const start = await openAt(store, 'clock', () => ({}))
        const escalates = { soon: 100, sooner: 50, never: undefined, later: 101 }
        for (const [id, afterMs] of Object.entries(escalates)) {
          await openAt(store, id, () => ({ tierEndsAt: afterMs === undefined ? undefined : start + afterMs }))
        }
        await openAt(store, 'deadline', () => ({ tierEndsAt: start + 900, deadlineAt: start + 75 }))
        await openAt(store, 'settled', () => ({
          tierEndsAt: start + 1,
          status: 'approved',
          settlement: { by: 'bo', at: start, reason: undefined }
        }))
        const execution = { state: 'running', fence: 1, claimId: 'c', since: start, leaseUntil: start + 60 } as const
        await openAt(store, 'running', () => ({ tierEndsAt: undefined, execution }))
        const due = (kind: 'escalation' | 'execution', skip: readonly string[] = [], limit = 10) =>
          store.due(kind, { limit, skip })

        await advance(49)
        assert.deepEqual(await due('escalation'), [])
        await advance(1)
        assert.deepEqual(await due('escalation'), ['sooner'])
        await advance(9)
        assert.deepEqual(await due('execution'), [])
        await advance(1)
        assert.deepEqual(await due('execution'), ['running'])
        await advance(40)
        assert.deepEqual(await due('escalation'), ['sooner', 'deadline', 'soon'])
        assert.deepEqual(await due('escalation', ['sooner']), ['deadline', 'soon'])
        assert.deepEqual(await due('escalation', [], 1), ['sooner'])
      }
    ),

    stated(
      'lends each delivery to one worker at a time, and again when the lease has ended',
      async ({ store, advance }) => {
        for (let n = 0; n < 12; n++) await store.open(key(`k${n}`), opening({ id: `r${n}`, idempotencyKey: `k${n}` }))
        const claims = await Promise.all(
          Array.from({ length: 8 }, () => store.claimDeliveries({ limit: 5, leaseMs: 1_000 }))
        )
        const rest = await store.claimDeliveries({ limit: 50, leaseMs: 1_000 })
        const taken = [...claims.flat(), ...rest]
        assert.equal(taken.length, 12)
        assert.equal(new Set(taken.map(({ id }) => id)).size, 12)
        assert.deepEqual(new Set(taken.map(({ attempts }) => attempts)), new Set([1]))
        assert.ok(claims.every((claimed) => claimed.length <= 5))
        await advance(999)
        assert.deepEqual(await store.claimDeliveries({ limit: 50, leaseMs: 1_000 }), [])
        await advance(1)
        const again = await store.claimDeliveries({ limit: 50, leaseMs: 1_000 })
        assert.deepEqual(
          again.map(({ attempts }) => attempts),
          Array(12).fill(2)
        )
      }
    ),

    stated('lends no delivery that is done with', async ({ store, advance }) => {
      await store.open(key('k'), opening({ id: 'r' }))
      const done = { ...delivery('r', 'ana'), state: 'cancelled', dueAt: undefined } as const
      await store.change('r', () => change({ changedDeliveries: [done] }))
      await advance(60_000)
      assert.deepEqual(await store.claimDeliveries({ limit: 50, leaseMs: 1_000 }), [])
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

const key = (idempotencyKey: string): { readonly tenant: string; readonly idempotencyKey: string } => ({
  tenant: 'acme',
  idempotencyKey
})

function record(changed: Partial<RequestRecord>): RequestRecord {
  return {
    id: 'r',
    tenant: 'acme',
    idempotencyKey: 'k',
    action: 'payments.refund',
    argumentHash: 'f00d',
    requestedBy: { agent: 'agent-7', onBehalfOf: 'uma' },
    summary: 'Refund order 4 – ¥1,200',
    detail: { order: 4, nested: [{ amount: '1200', note: null }] },
    policy: { tiers: [{ approvers: ['ana'], channels: ['pager'], waitMs: 1_000 }], onExhausted: 'deny' },
    openedAt: 1_000,
    status: 'pending',
    tier: 0,
    tierEndsAt: 2_000,
    startedLate: false,
    queued: false,
    deadlineAt: undefined,
    settlement: undefined,
    refusedVotes: 0,
    execution: { state: 'idle', fence: 0 },
    ...changed
  }
}

function opening(changed: Partial<RequestRecord>): () => Change<void> & { readonly request: RequestRecord } {
  const request = record(changed)
  return () => ({
    ...change<void>({ newDeliveries: [delivery(request.id, 'ana')], evidence: [draft('test.opened', request.tenant)] }),
    request
  })
}

/** Opens a request under its id as key, and gives the store's time at that moment. */
async function openAt(store: OversightStore, id: string, changed: () => Partial<RequestRecord>): Promise<number> {
  let at = 0
  await store.open(key(id), (now) => {
    at = now
    const request = record({ id, idempotencyKey: id, tierEndsAt: undefined, ...changed() })
    return { ...change<void>({}), request }
  })
  return at
}

function change<Answer = void>(made: Partial<Change<Answer>>, answer?: Answer): Change<Answer> {
  return { evidence: [], ...made, answer: answer as Answer }
}

function vote(approver: string): Vote {
  return { approver, decision: 'deny', reason: 'no – 🙅', idempotencyKey: undefined, argumentHash: 'f00d', votedAt: 7 }
}

function delivery(requestId: string, approver: string): Delivery {
  return invitationOf(requestId, 0, approver, 'pager', 0)
}

const byApprover = (deliveries: readonly Delivery[]): readonly Delivery[] =>
  deliveries.toSorted((a, b) => (a.approver < b.approver ? -1 : 1))

function draft(action: string, tenant = 'acme'): AuditDraft {
  return { tenant, actor: 'system:test', action, subject: 'request:r', detail: { n: 1 } }
}

const actionsOf = (drafts: readonly AuditDraft[]): readonly string[] => drafts.map(({ action }) => action)
