import assert from 'node:assert/strict'
import { isSuiteError } from '../failure/suite-error.ts'
import type { LeaseClaim, LeaseGrant, LockStore } from '../lock/lock-store.ts'
import type { ConformanceKit } from './conformance.ts'

/** A fresh lock store under examination. */
export interface LockStoreSubject extends AsyncDisposable {
  readonly store: LockStore
  /** Another client of the same locks, over a connection of its own where the store has connections. */
  another(): Promise<LockStore>
  /** The store's own clock, which stands until it is set. */
  readonly clock: {
    now(): number
    /** Sets the clock, either way. */
    jumpWallTo(epochMs: number): void
  }
  /** A name that no lock of this store has, nor begins with, so that subjects may share a server. */
  readonly name: string
}

/** Makes a subject. */
export type CreateLockStore = () => Promise<LockStoreSubject>

/** Above this year's instants, so that a server which drops keys by its real clock keeps these. */
const START_AT = Date.UTC(2040, 0, 1)
const TTL_MS = 60_000

/** Clients that race: enough to meet in every window between two statements. */
const CLIENTS = 8
/** Times that each racing client gets the lock. */
const ROUNDS = 6
/** Far more than a client needs: a store on which a lock is stuck must fail, not hang. */
const ATTEMPTS_MAX = 5_000

interface Bench extends LockStoreSubject {
  /** Claims for `owner`, the subject's name for a minute unless told otherwise. */
  acquire(owner: string, claim?: Partial<LeaseClaim>): Promise<LeaseGrant>
  extend(owner: string, claim?: Partial<LeaseClaim>): Promise<'extended' | 'lost'>
  release(owner: string, claim?: { readonly name?: string }): Promise<'released' | 'lost'>
  /** The fence of a claim that must be granted. */
  fenceOf(owner: string, claim?: Partial<LeaseClaim>): Promise<number>
  /** How long others are told that the lock is taken, asking as nobody else does. */
  takenMs(name?: string): Promise<number>
  pass(durationMs: number): void
}

/** Runs `body` on a fresh subject whose clock shows `START_AT`. */
function exam(body: (bench: Bench) => Promise<void>): (create: CreateLockStore) => Promise<void> {
  return async (create) => {
    await using subject = await create()
    const { store, clock, name } = subject
    clock.jumpWallTo(START_AT)
    const acquire: Bench['acquire'] = (owner, claim) => store.acquire({ name, owner, ttlMs: TTL_MS, ...claim })
    await body({
      store,
      clock,
      name,
      another: () => subject.another(),
      acquire,
      extend: (owner, claim) => store.extend({ name, owner, ttlMs: TTL_MS, ...claim }),
      release: (owner, claim) => store.release({ name, owner, ...claim }),
      fenceOf: async (owner, claim) => fenceIn(await acquire(owner, claim)),
      async takenMs(taken = name) {
        const answer = await acquire('onlooker', { name: taken })
        assert.equal(answer.outcome, 'busy', 'the lock should be taken')
        return answer.outcome === 'busy' ? answer.remainingMs : 0
      },
      pass: (durationMs) => clock.jumpWallTo(clock.now() + durationMs),
      [Symbol.asyncDispose]: async () => {}
    })
  }
}

function fenceIn(answer: LeaseGrant): number {
  assert.equal(answer.outcome, 'granted', 'the lock should be free')
  const fence = answer.outcome === 'granted' ? answer.fence : 0
  assert.ok(Number.isSafeInteger(fence) && fence > 0, `a fence is a positive safe integer, not ${fence}`)
  return fence
}

function growing(fences: readonly number[]): void {
  for (const [at, fence] of fences.entries()) {
    if (at > 0)
      assert.ok(fence > (fences[at - 1] as number), `fence ${at + 1} is not above the one before: ${fences.join()}`)
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Names that a careless store would confuse, cut, fold or fail on. */
const NAMES: readonly string[] = [
  'a',
  'A',
  'a ',
  ' a',
  'a:b',
  'a%3Ab',
  '{a}',
  '{a',
  'a}',
  '%',
  "'",
  '"',
  '\\',
  '?',
  '$1',
  '\u00e9',
  'e\u0301',
  '\u{1f512}',
  '\n',
  '__proto__',
  'x'.repeat(256 - 64)
]

/** Claims that no store may take, with the path that the error names. */
const REFUSED: readonly (readonly [Partial<LeaseClaim>, string])[] = [
  [{ ttlMs: 0 }, 'ttlMs'],
  [{ ttlMs: -1 }, 'ttlMs'],
  [{ ttlMs: 49 }, 'ttlMs'],
  [{ ttlMs: 86_400_001 }, 'ttlMs'],
  [{ ttlMs: 1_000.5 }, 'ttlMs'],
  [{ ttlMs: Number.NaN }, 'ttlMs'],
  [{ ttlMs: Number.POSITIVE_INFINITY }, 'ttlMs'],
  [{ name: '' }, 'name'],
  [{ name: 'a\0b' }, 'name'],
  [{ name: '\ud800' }, 'name'],
  [{ name: 'x'.repeat(257) }, 'name'],
  [{ owner: '' }, 'owner'],
  [{ owner: 'x'.repeat(129) }, 'owner']
]

/** The exam of a `LockStore`. */
export const lockStoreConformance: ConformanceKit<CreateLockStore, never> = {
  name: 'LockStore',
  needs: [],
  cases: [
    {
      name: 'grants a free lock to one owner and tells the others until when it is taken',
      run: exam(async ({ acquire, fenceOf, pass }) => {
        await fenceOf('one')
        pass(1_000)
        assert.deepEqual(await acquire('two'), { outcome: 'busy', until: START_AT + TTL_MS, remainingMs: 59_000 })
      })
    },
    {
      name: 'changes nothing when it is busy',
      run: exam(async ({ acquire, extend, takenMs, fenceOf, release }) => {
        const fence = await fenceOf('one')
        for (let at = 0; at < 20; at++) await acquire('two', { ttlMs: 86_400_000 })
        assert.equal(await takenMs(), TTL_MS)
        assert.equal(await extend('one'), 'extended')
        await release('one')
        growing([fence, await fenceOf('two')])
      })
    },
    {
      name: 'keeps a lease to its last millisecond and not beyond',
      run: exam(async ({ acquire, fenceOf, pass, takenMs }) => {
        await fenceOf('one')
        pass(TTL_MS - 1)
        assert.equal(await takenMs(), 1)
        pass(1)
        assert.equal((await acquire('two')).outcome, 'granted')
      })
    },
    {
      name: 'keeps leases of the shortest and the longest duration',
      run: exam(async ({ fenceOf, takenMs, name }) => {
        await fenceOf('one', { ttlMs: 50 })
        assert.equal(await takenMs(), 50)
        await fenceOf('one', { name: `${name}-day`, ttlMs: 86_400_000 })
        assert.equal(await takenMs(`${name}-day`), 86_400_000)
      })
    },
    {
      name: 'gives fences that grow after a release',
      run: exam(async ({ fenceOf, release }) => {
        const fences: number[] = []
        for (let at = 0; at < 10; at++) {
          fences.push(await fenceOf(`owner-${at}`))
          await release(`owner-${at}`)
        }
        growing(fences)
      })
    },
    {
      name: 'gives fences that grow after an expiry',
      run: exam(async ({ fenceOf, pass }) => {
        const fences: number[] = []
        for (let at = 0; at < 10; at++) {
          fences.push(await fenceOf(`owner-${at}`, { ttlMs: 50 }))
          pass(50)
        }
        growing(fences)
      })
    },
    {
      name: 'gives fences that grow when its clock is set back',
      run: exam(async ({ fenceOf, release, clock }) => {
        const fences: number[] = []
        for (let at = 0; at < 5; at++) {
          fences.push(await fenceOf(`owner-${at}`))
          await release(`owner-${at}`)
          clock.jumpWallTo(START_AT - at * 86_400_000)
        }
        growing(fences)
      })
    },
    {
      name: 'gives fences of at least its clock in microseconds, so that they grow when it has forgotten the lock',
      run: exam(async ({ fenceOf, release, pass, clock }) => {
        assert.ok((await fenceOf('one')) >= START_AT * 1_000)
        await release('one')
        pass(3_600_000)
        assert.ok((await fenceOf('two')) >= clock.now() * 1_000)
      })
    },
    {
      name: 'gives its owner the same fence again, and the whole duration',
      run: exam(async ({ fenceOf, pass, takenMs }) => {
        const fence = await fenceOf('one')
        pass(TTL_MS - 1)
        assert.equal(await fenceOf('one'), fence)
        assert.equal(await takenMs(), TTL_MS)
      })
    },
    {
      name: 'shortens no lease that its owner claims again for less',
      run: exam(async ({ fenceOf, takenMs }) => {
        const fence = await fenceOf('one')
        assert.equal(await fenceOf('one', { ttlMs: 1_000 }), fence)
        assert.equal(await takenMs(), TTL_MS)
      })
    },
    {
      name: 'gives a claim that is sent twice at once one fence',
      run: exam(async ({ store, another, name }) => {
        const claim = { name, owner: 'one', ttlMs: TTL_MS }
        const other = await another()
        const [first, second] = await Promise.all([store.acquire(claim), other.acquire(claim)])
        assert.equal(fenceIn(first), fenceIn(second))
      })
    },
    {
      name: 'gives the owner of an expired lease a new fence',
      run: exam(async ({ fenceOf, pass }) => {
        const fence = await fenceOf('one')
        pass(TTL_MS)
        growing([fence, await fenceOf('one')])
      })
    },
    {
      name: 'extends a lease from now',
      run: exam(async ({ fenceOf, extend, pass, takenMs }) => {
        await fenceOf('one')
        pass(TTL_MS - 1)
        assert.equal(await extend('one'), 'extended')
        assert.equal(await takenMs(), TTL_MS)
        assert.equal(await extend('one', { ttlMs: 2 * TTL_MS }), 'extended')
        assert.equal(await takenMs(), 2 * TTL_MS)
      })
    },
    {
      name: 'never shortens a lease by extending it',
      run: exam(async ({ fenceOf, extend, takenMs }) => {
        await fenceOf('one')
        assert.equal(await extend('one', { ttlMs: 1_000 }), 'extended')
        assert.equal(await takenMs(), TTL_MS)
      })
    },
    {
      name: 'extends nothing for anybody but its owner',
      run: exam(async ({ fenceOf, extend, takenMs }) => {
        assert.equal(await extend('two'), 'lost')
        await fenceOf('one', { ttlMs: 1_000 })
        assert.equal(await extend('two'), 'lost')
        assert.equal(await takenMs(), 1_000)
      })
    },
    {
      name: 'extends no lease that has expired, taken since or not',
      run: exam(async ({ fenceOf, extend, pass, takenMs }) => {
        await fenceOf('one')
        pass(TTL_MS)
        assert.equal(await extend('one'), 'lost')
        await fenceOf('two', { ttlMs: 1_000 })
        assert.equal(await extend('one'), 'lost')
        assert.equal(await takenMs(), 1_000)
      })
    },
    {
      name: 'extends no lease that was released',
      run: exam(async ({ acquire, fenceOf, extend, release }) => {
        await fenceOf('one')
        await release('one')
        assert.equal(await extend('one'), 'lost')
        assert.equal((await acquire('two')).outcome, 'granted')
      })
    },
    {
      name: 'lets one in at the instant of expiry, who is not the late holder',
      run: exam(async ({ store, another, name, fenceOf, pass, takenMs }) => {
        await fenceOf('one')
        pass(TTL_MS)
        const other = await another()
        const [extended, taken] = await Promise.all([
          store.extend({ name, owner: 'one', ttlMs: 2 * TTL_MS }),
          other.acquire({ name, owner: 'two', ttlMs: TTL_MS })
        ])
        assert.deepEqual([extended, taken.outcome], ['lost', 'granted'])
        assert.equal(await takenMs(), TTL_MS)
      })
    },
    {
      name: 'frees a released lock at once',
      run: exam(async ({ acquire, fenceOf, release }) => {
        await fenceOf('one')
        assert.equal(await release('one'), 'released')
        assert.equal((await acquire('two')).outcome, 'granted')
      })
    },
    {
      name: 'answers a repeated release as it did the first',
      run: exam(async ({ fenceOf, release }) => {
        await fenceOf('one')
        assert.deepEqual([await release('one'), await release('one')], ['released', 'released'])
      })
    },
    {
      name: 'releases nothing for anybody but its owner',
      run: exam(async ({ fenceOf, release, takenMs, name }) => {
        assert.equal(await release('two'), 'lost')
        await fenceOf('one')
        assert.equal(await release('two'), 'lost')
        assert.equal(await release('one', { name: `${name}-other` }), 'lost')
        assert.equal(await takenMs(), TTL_MS)
      })
    },
    {
      name: 'says of a late release whether anybody else has had the lock since',
      run: exam(async ({ fenceOf, release, pass, takenMs }) => {
        await fenceOf('one')
        pass(2 * TTL_MS)
        assert.equal(await release('one'), 'released')
        await fenceOf('two')
        assert.equal(await release('one'), 'lost')
        assert.equal(await takenMs(), TTL_MS)
      })
    },
    {
      name: 'keeps a lease when its clock is set back, and ends it when that is set forward',
      run: exam(async ({ acquire, fenceOf, clock }) => {
        await fenceOf('one')
        clock.jumpWallTo(START_AT - 3_600_000)
        assert.equal((await acquire('two')).outcome, 'busy')
        clock.jumpWallTo(START_AT + TTL_MS)
        assert.equal((await acquire('two')).outcome, 'granted')
      })
    },
    {
      name: 'keeps locks apart, whatever their names',
      run: exam(async ({ acquire, takenMs, name, release }) => {
        const names = NAMES.map((one) => `${name}${one}`.slice(0, 256))
        for (const [at, one] of names.entries()) {
          const claim = { name: one, ttlMs: 1_000 + at }
          assert.equal((await acquire(`owner-${at}`, claim)).outcome, 'granted', JSON.stringify(one))
        }
        for (const [at, one] of names.entries()) assert.equal(await takenMs(one), 1_000 + at, JSON.stringify(one))
        for (const [at, one] of names.entries()) assert.equal(await release(`owner-${at}`, { name: one }), 'released')
      })
    },
    {
      name: 'refuses a claim that is not one, with its path, and changes nothing',
      run: exam(async ({ acquire, extend, fenceOf, takenMs }) => {
        await fenceOf('one')
        for (const [claim, path] of REFUSED) {
          for (const attempt of [async () => acquire('one', claim), async () => extend('one', claim)]) {
            await assert.rejects(attempt, (error) => {
              const isRefusal = isSuiteError(error, 'INVALID_OPTIONS')
              assert.ok(isRefusal, `${path} should be refused with INVALID_OPTIONS`)
              const { issues } = error.detail as { issues: readonly { path: string }[] }
              assert.deepEqual([...new Set(issues.map((issue) => issue.path))], [path])
              return true
            })
          }
        }
        assert.equal(await takenMs(), TTL_MS)
      })
    },
    {
      name: 'takes nothing under a signal that has aborted',
      run: exam(async ({ store, name, acquire }) => {
        const reason = new Error('no longer wanted')
        const claim = { name, owner: 'one', ttlMs: TTL_MS }
        const signal = AbortSignal.abort(reason)
        await assert.rejects(
          async () => store.acquire(claim, { signal }),
          (error) => error === reason
        )
        assert.equal((await acquire('two')).outcome, 'granted')
      })
    },
    {
      name: 'grants one of eight first claims that come at once',
      run: exam(async ({ another, name }) => {
        const stores = await Promise.all(Array.from({ length: CLIENTS }, another))
        for (let round = 0; round < 10; round++) {
          const answers = await Promise.all(
            stores.map((store, at) => store.acquire({ name: `${name}-${round}`, owner: `owner-${at}`, ttlMs: TTL_MS }))
          )
          const granted = answers.filter(({ outcome }) => outcome === 'granted')
          assert.equal(granted.length, 1, `${granted.length} of ${CLIENTS} claims were granted`)
        }
      })
    },
    {
      name: 'lets eight racing clients in one at a time, each with a higher fence',
      run: exam(async ({ another, name }) => {
        const fences: number[] = []
        let inside = 0
        const race = async (store: LockStore, client: number): Promise<void> => {
          let attempts = 0
          for (let round = 0; round < ROUNDS; attempts++) {
            assert.ok(attempts < ATTEMPTS_MAX, `a client got the lock ${round} times in ${attempts} attempts`)
            const owner = `client-${client}-${round}`
            const answer = await store.acquire({ name, owner, ttlMs: TTL_MS })
            if (answer.outcome === 'granted') {
              inside += 1
              assert.equal(inside, 1, 'two clients hold the lock')
              fences.push(answer.fence)
              await turn()
              inside -= 1
              assert.equal(await store.release({ name, owner }), 'released')
              round += 1
            }
            await turn()
          }
        }
        const stores = await Promise.all(Array.from({ length: CLIENTS }, another))
        await Promise.all(stores.map(race))
        assert.equal(fences.length, CLIENTS * ROUNDS)
        growing(fences)
      })
    }
  ]
}
