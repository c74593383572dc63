import assert from 'node:assert/strict'
import { isSuiteError } from '@enablement/core'
import type { ConformanceKit } from '@enablement/core/testing'
import type { DedupAnswer, DedupClaim, DedupStore } from '../dedup/dedup-store.ts'
import { widestIdentifier } from './widest-identifier.ts'

/** A fresh dedup store under examination. */
export interface DedupStoreSubject extends AsyncDisposable {
  /** Of a `ttlMs` of a day at least. */
  readonly store: DedupStore
  /** The store's own clock, which stands until it is set. It shows an instant of the year 2040 or later at first. */
  readonly clock: {
    now(): number
    /** Sets the clock, either way. */
    jumpWallTo(epochMs: number): void
  }
  /** A tenant of whom the store knows nothing, so that subjects may share a server. */
  readonly tenant: string
}

/** Makes a subject. */
export type CreateDedupStore = () => Promise<DedupStoreSubject>

const PAYLOAD = 'a0'.repeat(32)
const OTHER_PAYLOAD = 'b1'.repeat(32)

/** Runs `body` on a fresh subject. `claim` fills in what the case does not care about. */
function exam(
  body: (
    subject: Omit<DedupStoreSubject, keyof AsyncDisposable> & { claim: (changed?: Partial<DedupClaim>) => DedupClaim }
  ) => Promise<void>
): (create: CreateDedupStore) => Promise<void> {
  return async (create) => {
    await using subject = await create()
    const { store, clock, tenant } = subject
    const claim = (changed: Partial<DedupClaim> = {}): DedupClaim => ({
      tenant,
      subscription: 'sub',
      transactionId: 'call',
      payloadHash: PAYLOAD,
      receivedAt: 1_000,
      ...changed
    })
    await body({ store, clock, tenant, claim })
  }
}

const NEW: DedupAnswer = { outcome: 'new' }
const pending = (firstReceivedAt: number): DedupAnswer => ({ outcome: 'pending', firstReceivedAt })
const duplicate = (firstReceivedAt: number): DedupAnswer => ({ outcome: 'duplicate', firstReceivedAt })
const conflict = (firstReceivedAt: number, settled: boolean): DedupAnswer => ({
  outcome: 'conflict',
  firstReceivedAt,
  settled
})

const refuses = async (work: Promise<unknown>, code: string): Promise<void> => {
  await assert.rejects(work, (error) => isSuiteError(error) && error.code === code)
}

/** The exam of a `DedupStore`. */
export const dedupStoreConformance: ConformanceKit<CreateDedupStore, never> = {
  name: 'DedupStore',
  needs: [],
  cases: [
    {
      name: 'gives an identity to whoever claims it first',
      run: exam(async ({ store, claim }) => {
        assert.deepEqual(await store.claim([claim()]), [NEW])
        assert.deepEqual(await store.claim([claim({ receivedAt: 2_000 })]), [pending(1_000)])
        assert.deepEqual(await store.claim([claim({ transactionId: 'another' })]), [NEW])
      })
    },
    {
      name: 'says duplicate of what is settled, with the first receipt',
      run: exam(async ({ store, claim }) => {
        await store.claim([claim()])
        await store.settle([claim()])
        assert.deepEqual(await store.claim([claim({ receivedAt: 2_000 })]), [duplicate(1_000)])
      })
    },
    {
      name: 'says conflict of another payload, and whether it is the last word',
      run: exam(async ({ store, claim }) => {
        const other = claim({ payloadHash: OTHER_PAYLOAD, receivedAt: 2_000 })
        await store.claim([claim()])
        assert.deepEqual(await store.claim([other]), [conflict(1_000, false)])
        await store.settle([claim()])
        assert.deepEqual(await store.claim([other]), [conflict(1_000, true)])
      })
    },
    {
      name: 'frees what is released: a claim, a failure and a retry run (autumn#1138)',
      run: exam(async ({ store, claim }) => {
        await store.claim([claim()])
        await store.release([claim()])
        assert.deepEqual(await store.claim([claim({ receivedAt: 2_000 })]), [NEW])
        assert.deepEqual(await store.claim([claim({ receivedAt: 3_000 })]), [pending(2_000)])
      })
    },
    {
      name: 'leaves what was claimed and never spoken of again to the ledger (autumn#1138)',
      run: exam(async ({ store, claim }) => {
        await store.claim([claim()])
        for (const receivedAt of [2_000, 3_000]) {
          assert.deepEqual(await store.claim([claim({ receivedAt })]), [pending(1_000)])
        }
      })
    },
    {
      name: 'does not free what is settled, nor what somebody else claimed',
      run: exam(async ({ store, claim }) => {
        await store.claim([claim()])
        await store.release([claim({ receivedAt: 2_000 })])
        await store.release([claim({ payloadHash: OTHER_PAYLOAD })])
        assert.deepEqual(await store.claim([claim({ receivedAt: 3_000 })]), [pending(1_000)])
        await store.settle([claim()])
        await store.release([claim()])
        assert.deepEqual(await store.claim([claim({ receivedAt: 3_000 })]), [duplicate(1_000)])
        await store.release([claim({ transactionId: 'unheard of' })])
        assert.deepEqual(await store.claim([claim({ transactionId: 'unheard of' })]), [NEW])
      })
    },
    {
      name: 'settles what nobody claimed, and what another payload had claimed, and the first settlement stays',
      run: exam(async ({ store, claim }) => {
        await store.settle([claim({ transactionId: 'journal' })])
        assert.deepEqual(await store.claim([claim({ transactionId: 'journal', receivedAt: 2_000 })]), [
          duplicate(1_000)
        ])
        await store.claim([claim()])
        await store.settle([claim({ payloadHash: OTHER_PAYLOAD, receivedAt: 500 })])
        assert.deepEqual(await store.claim([claim({ payloadHash: OTHER_PAYLOAD })]), [duplicate(500)])
        await store.settle([claim()])
        assert.deepEqual(await store.claim([claim()]), [conflict(500, true)])
      })
    },
    {
      name: 'answers a batch in order, with one that comes twice in it',
      run: exam(async ({ store, claim }) => {
        await store.settle([claim({ transactionId: 'settled' })])
        const answers = await store.claim([
          claim({ transactionId: 'twice' }),
          claim({ transactionId: 'settled' }),
          claim({ transactionId: 'twice' }),
          claim({ transactionId: 'twice', receivedAt: 2_000 }),
          claim({ transactionId: 'once' }),
          claim({ transactionId: 'twice', payloadHash: OTHER_PAYLOAD })
        ])
        assert.deepEqual(answers, [NEW, duplicate(1_000), pending(1_000), pending(1_000), NEW, conflict(1_000, false)])
        assert.deepEqual(await store.claim([]), [])
        await store.settle([])
        await store.release([])
      })
    },
    {
      name: 'keeps what the first said of one that nobody knew and that comes twice in a batch',
      run: exam(async ({ store, claim }) => {
        const first = claim({ receivedAt: 3_000 })
        const answers = await store.claim([
          claim({ transactionId: 'other' }),
          first,
          claim({ payloadHash: OTHER_PAYLOAD })
        ])
        assert.deepEqual(answers, [NEW, NEW, conflict(3_000, false)])
        assert.deepEqual(await store.claim([claim(), claim({ transactionId: 'other' })]), [
          pending(3_000),
          pending(1_000)
        ])
        await store.release([first])
        assert.deepEqual(await store.claim([claim()]), [NEW])
      })
    },
    {
      name: 'tells identities apart by tenant, subscription and transaction id',
      run: exam(async ({ store, claim, tenant }) => {
        const claims = [
          claim({ subscription: 'a', transactionId: 'bc' }),
          claim({ subscription: 'b', transactionId: 'bc' }),
          claim({ subscription: 'ab', transactionId: 'c' }),
          claim({ subscription: '1:a', transactionId: 'b' }),
          claim({ subscription: '1', transactionId: ':ab' }),
          claim({ tenant: `${tenant}-2`, subscription: 'a', transactionId: 'bc' }),
          claim({ subscription: widestIdentifier(1), transactionId: widestIdentifier(2) }),
          claim({ subscription: widestIdentifier(1), transactionId: widestIdentifier(3) })
        ]
        assert.deepEqual(
          await store.claim(claims),
          claims.map(() => NEW)
        )
        assert.deepEqual(
          await store.claim(claims),
          claims.map(() => pending(1_000))
        )
      })
    },
    {
      name: 'takes a full batch, of two tenants',
      run: exam(async ({ store, claim, tenant }) => {
        const claims = Array.from({ length: 1_000 }, (_, at) =>
          claim({ tenant: at % 3 === 0 ? `${tenant}-2` : tenant, transactionId: `call ${at}`, receivedAt: at })
        )
        assert.deepEqual(
          await store.claim(claims),
          claims.map(() => NEW)
        )
        await store.settle(claims)
        assert.deepEqual(
          await store.claim(claims),
          claims.map((_, at) => duplicate(at))
        )
      })
    },
    {
      name: 'gives an identity once, however many claim it at the same time',
      run: exam(async ({ store, claim }) => {
        const answers = await Promise.all(
          Array.from({ length: 50 }, (_, at) => store.claim([claim({ receivedAt: at })]))
        )
        assert.equal(answers.filter(([answer]) => answer?.outcome === 'new').length, 1)
        assert.equal(answers.filter(([answer]) => answer?.outcome === 'pending').length, 49)
      })
    },
    {
      name: 'keeps receipts of the whole era exactly',
      run: exam(async ({ store, claim }) => {
        for (const receivedAt of [0, 1, 1_800_000_000_000, 253_402_300_799_999]) {
          const transactionId = `at ${receivedAt}`
          await store.settle([claim({ transactionId, receivedAt })])
          assert.deepEqual(await store.claim([claim({ transactionId })]), [duplicate(receivedAt)])
        }
      })
    },
    {
      name: 'remembers an identity for its time at least, to the millisecond, and forgets it within twice that',
      run: exam(async ({ store, clock, claim }) => {
        const startAt = clock.now()
        // From wherever in a bucket of time it begins.
        for (const [index, part] of [0, 0.13, 0.5, 0.77, 0.999].entries()) {
          const transactionId = `part ${index}`
          const claimedAt = startAt + Math.floor(store.ttlMs * (3 * index + part))
          clock.jumpWallTo(claimedAt)
          await store.claim([claim({ transactionId })])
          clock.jumpWallTo(claimedAt + Math.floor(store.ttlMs / 3))
          await store.settle([claim({ transactionId })])
          clock.jumpWallTo(claimedAt + store.ttlMs - 1)
          assert.deepEqual(await store.claim([claim({ transactionId })]), [duplicate(1_000)])
          clock.jumpWallTo(claimedAt + 2 * store.ttlMs)
          assert.deepEqual(await store.claim([claim({ transactionId })]), [NEW])
        }
      })
    },
    {
      name: 'remembers when its clock is set back, by less than half its time',
      run: exam(async ({ store, clock, claim }) => {
        const at = clock.now() + store.ttlMs
        clock.jumpWallTo(at)
        await store.claim([claim()])
        clock.jumpWallTo(at - Math.floor(store.ttlMs * 0.49))
        assert.deepEqual(await store.claim([claim({ receivedAt: 2_000 })]), [pending(1_000)])
        clock.jumpWallTo(at)
        assert.deepEqual(await store.claim([claim({ receivedAt: 2_000 })]), [pending(1_000)])
      })
    },
    {
      name: 'refuses claims that are none, and keeps nothing of the call',
      run: exam(async ({ store, claim }) => {
        const wrong: readonly Partial<DedupClaim>[] = [
          { tenant: '' },
          { subscription: ' ' },
          { transactionId: 'x'.repeat(256) },
          { transactionId: '\ud800' },
          { payloadHash: 'short' },
          { payloadHash: PAYLOAD.toUpperCase() },
          { receivedAt: -1 },
          { receivedAt: 0.5 },
          { receivedAt: Number.NaN },
          { receivedAt: 253_402_300_800_000 }
        ]
        for (const changed of wrong) {
          const claims = [claim(), claim({ transactionId: 'wrong', ...changed })]
          await refuses(store.claim(claims), 'INVALID_OPTIONS')
          await refuses(store.settle(claims), 'INVALID_OPTIONS')
          await refuses(store.release(claims), 'INVALID_OPTIONS')
        }
        const many = Array.from({ length: 1_001 }, () => claim())
        await refuses(store.claim(many), 'INVALID_OPTIONS')
        assert.deepEqual(await store.claim([claim()]), [NEW])
      })
    },
    {
      name: 'does nothing for who has given up',
      run: exam(async ({ store, claim }) => {
        const reason = new Error('enough')
        const options = { signal: AbortSignal.abort(reason) }
        await assert.rejects(store.claim([claim()], options), reason)
        await assert.rejects(store.settle([claim()], options), reason)
        assert.deepEqual(await store.claim([claim()]), [NEW])
        await assert.rejects(store.release([claim()], options), reason)
        assert.deepEqual(await store.claim([claim()]), [pending(1_000)])
      })
    }
  ]
}
