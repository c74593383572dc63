import assert from 'node:assert/strict'
import { isSuiteError } from '../../failure/suite-error.ts'
import type { BucketAnswer, BucketClaim, TokenBucketStore } from '../../fleet/token-bucket-store.ts'
import type { BucketRule } from '../../resilience/bucket-level.ts'
import type { ConformanceKit } from '../conformance.ts'

/** A fresh store of token buckets under examination. */
export interface TokenBucketStoreSubject extends AsyncDisposable {
  readonly store: TokenBucketStore
  /** Another client of the same buckets, over a connection of its own where the store has connections. */
  another(): Promise<TokenBucketStore>
  /** The store's own clock, which stands until it is set. */
  readonly clock: {
    now(): number
    /** Sets the clock, either way. */
    jumpWallTo(epochMs: number): void
  }
  /** A name that no bucket of this store has, nor begins with, so that subjects may share a server. */
  readonly name: string
}

/** Makes a subject. */
export type CreateTokenBucketStore = () => Promise<TokenBucketStoreSubject>

/** Above this year's instants, so that a server which drops keys by its real clock keeps these. */
const START_AT = Date.UTC(2040, 0, 1)

/** The tables of `golang.org/x/time/rate` count in steps of this, at 10 tokens a second unless told otherwise. */
const STEP_MS = 100
const DAY_MS = 86_400_000

const CLIENTS = 8

interface Bench extends Pick<TokenBucketStoreSubject, 'store' | 'clock' | 'name' | 'another'> {
  /** Claims one token of a bucket of 10 a second and 2 at most, under a key of its own, unless told otherwise. */
  claim(claim?: Partial<Omit<BucketClaim, 'rule'>> & Partial<BucketRule>): Promise<BucketAnswer>
  cancel(idempotencyKey: string): Promise<number>
  /** Under the rule of 10 a second and 2 at most. */
  pause(durationMs: number): Promise<void>
  /** Sets the clock to a step of the table. */
  at(step: number): void
  pass(durationMs: number): void
}

let keys = 0

function exam(body: (bench: Bench) => Promise<void>): (create: CreateTokenBucketStore) => Promise<void> {
  return async (create) => {
    await using subject = await create()
    const { store, clock, name } = subject
    clock.jumpWallTo(START_AT)
    await body({
      store,
      clock,
      name,
      another: () => subject.another(),
      async claim(given = {}) {
        keys += 1
        const { perSecond = 10, burst = 2, tokens = 1, waitMaxMs = 0, idempotencyKey = `key-${keys}` } = given
        return store.reserve(name, { rule: { perSecond, burst }, tokens, waitMaxMs, idempotencyKey })
      },
      cancel: (idempotencyKey) => store.cancel(name, idempotencyKey),
      pause: (durationMs) => store.pause(name, { rule: TEN_2, durationMs }),
      at: (step) => clock.jumpWallTo(START_AT + step * STEP_MS),
      pass: (durationMs) => clock.jumpWallTo(clock.now() + durationMs)
    })
  }
}

type TakeRow = readonly [step: number, tokens: number, taken: boolean]
type ReserveRow =
  /** Reserves tokens at a step, usable from another, or never. */
  | readonly ['reserve', step: number, tokens: number, usableAtStep: number | undefined, waitMaxMs?: number]
  /** Takes back the n-th reservation at a step. */
  | readonly ['cancel', step: number, reservation: number]
  | readonly ['rule', rule: BucketRule]

function takes(rule: BucketRule, table: readonly TakeRow[]): (create: CreateTokenBucketStore) => Promise<void> {
  return exam(async ({ at, claim }) => {
    for (const [row, [step, tokens, taken]] of table.entries()) {
      at(step)
      const { outcome } = await claim({ ...rule, tokens })
      assert.equal(outcome === 'reserved', taken, `row ${row}: ${outcome}`)
    }
  })
}

function reserves(rule: BucketRule, table: readonly ReserveRow[]): (create: CreateTokenBucketStore) => Promise<void> {
  return exam(async ({ at, claim, cancel }) => {
    let current = rule
    const reserved: string[] = []
    for (const [row, one] of table.entries()) {
      if (one[0] === 'rule') {
        current = one[1]
      } else if (one[0] === 'cancel') {
        at(one[1])
        await cancel(reserved[one[2]] ?? 'none')
      } else {
        const [, step, tokens, usable, waitMaxMs = DAY_MS] = one
        at(step)
        keys += 1
        const idempotencyKey = `row-${keys}`
        reserved.push(idempotencyKey)
        const answer = await claim({ ...current, tokens, waitMaxMs, idempotencyKey })
        const found = answer.outcome === 'reserved' ? Math.round(step + answer.waitMs / STEP_MS) : undefined
        assert.equal(found, usable, `row ${row}: ${answer.outcome}`)
      }
    }
  })
}

const TEN_2: BucketRule = { perSecond: 10, burst: 2 }
const FIVE_2: BucketRule = { perSecond: 5, burst: 2 }

/** What no store may take, with the path that the error names. */
const REFUSED: readonly (readonly [Parameters<Bench['claim']>[0], string])[] = [
  [{ tokens: -1 }, 'tokens'],
  [{ tokens: 1.5 }, 'tokens'],
  [{ tokens: Number.NaN }, 'tokens'],
  [{ waitMaxMs: -1 }, 'waitMaxMs'],
  [{ waitMaxMs: Number.POSITIVE_INFINITY }, 'waitMaxMs'],
  [{ perSecond: 0 }, 'rule.perSecond'],
  [{ perSecond: Number.NaN }, 'rule.perSecond'],
  [{ perSecond: 1e-9 }, 'rule.perSecond'],
  [{ burst: 0 }, 'rule.burst'],
  [{ burst: 1.5 }, 'rule.burst'],
  [{ idempotencyKey: '' }, 'idempotencyKey'],
  [{ idempotencyKey: 'x'.repeat(129) }, 'idempotencyKey']
]

/** The exam of a `TokenBucketStore`. The tables are those of `golang.org/x/time/rate`, by their names there. */
export const tokenBucketStoreConformance: ConformanceKit<CreateTokenBucketStore, never> = {
  name: 'TokenBucketStore',
  needs: [],
  cases: [
    {
      name: 'TestLimiterBurst1',
      run: takes({ perSecond: 10, burst: 1 }, [
        [0, 1, true],
        [0, 1, false],
        [0, 1, false],
        [1, 1, true],
        [1, 1, false],
        [1, 1, false],
        [2, 2, false],
        [2, 1, true],
        [2, 1, false]
      ])
    },
    {
      name: 'TestLimiterBurst3',
      run: takes({ perSecond: 10, burst: 3 }, [
        [0, 2, true],
        [0, 2, false],
        [0, 1, true],
        [0, 1, false],
        [1, 4, false],
        [2, 1, true],
        [3, 1, true],
        [4, 1, true],
        [4, 1, true],
        [4, 1, false],
        [4, 1, false],
        [9, 3, true],
        [9, 0, true]
      ])
    },
    {
      name: 'TestLimiterJumpBackwards',
      run: takes({ perSecond: 10, burst: 3 }, [
        [1, 1, true],
        [0, 1, true],
        [0, 1, true],
        [0, 1, false],
        [0, 1, false],
        [1, 1, true],
        [1, 1, false],
        [1, 1, false],
        [2, 1, true],
        [2, 1, false],
        [2, 1, false]
      ])
    },
    { name: 'TestLimiter_noTruncationErrors', run: takes({ perSecond: 0.7692307692307693, burst: 1 }, [[0, 1, true]]) },
    {
      name: 'TestSimpleReserve',
      run: reserves(TEN_2, [
        ['reserve', 0, 2, 0],
        ['reserve', 0, 2, 2],
        ['reserve', 3, 2, 4]
      ])
    },
    {
      name: 'TestMix',
      run: reserves(TEN_2, [
        ['reserve', 0, 3, undefined],
        ['reserve', 0, 2, 0],
        ['reserve', 1, 2, undefined, 0],
        ['reserve', 1, 2, 2],
        ['reserve', 1, 1, undefined, 0],
        ['reserve', 3, 1, 3, 0]
      ])
    },
    {
      name: 'TestCancelInvalid',
      run: reserves(TEN_2, [
        ['reserve', 0, 2, 0],
        ['reserve', 0, 3, undefined],
        ['cancel', 0, 1],
        ['reserve', 0, 2, 2]
      ])
    },
    {
      name: 'TestCancelLast',
      run: reserves(TEN_2, [
        ['reserve', 0, 2, 0],
        ['reserve', 0, 2, 2],
        ['cancel', 1, 1],
        ['reserve', 1, 2, 2]
      ])
    },
    {
      name: 'TestCancelTooLate',
      run: reserves(TEN_2, [
        ['reserve', 0, 2, 0],
        ['reserve', 0, 2, 2],
        ['cancel', 3, 1],
        ['reserve', 3, 2, 4]
      ])
    },
    {
      name: 'TestCancel0Tokens',
      run: reserves(TEN_2, [
        ['reserve', 0, 2, 0],
        ['reserve', 0, 1, 1],
        ['reserve', 0, 1, 2],
        ['cancel', 0, 1],
        ['reserve', 0, 1, 3]
      ])
    },
    {
      name: 'TestCancel1Token',
      run: reserves(TEN_2, [
        ['reserve', 0, 2, 0],
        ['reserve', 0, 2, 2],
        ['reserve', 0, 1, 3],
        ['cancel', 2, 1],
        ['reserve', 2, 2, 4]
      ])
    },
    {
      name: 'TestCancelMulti',
      run: reserves({ perSecond: 10, burst: 4 }, [
        ['reserve', 0, 4, 0],
        ['reserve', 0, 3, 3],
        ['reserve', 0, 1, 4],
        ['reserve', 0, 1, 5],
        ['cancel', 1, 3],
        ['cancel', 1, 1],
        ['reserve', 1, 3, 5]
      ])
    },
    {
      name: 'TestReserveJumpBack',
      run: reserves(TEN_2, [
        ['reserve', 1, 2, 1],
        ['reserve', 0, 1, 1],
        ['reserve', 2, 2, 3]
      ])
    },
    {
      name: 'TestReserveJumpBackCancel',
      run: reserves(TEN_2, [
        ['reserve', 1, 2, 1],
        ['reserve', 1, 2, 3],
        ['reserve', 1, 1, 4],
        ['cancel', 0, 1],
        ['reserve', 1, 2, 4]
      ])
    },
    {
      // A claim brings the new rule, which `SetLimit` and `SetBurst` do there; where it must not take, it is refused.
      name: 'TestReserveSetLimit',
      run: reserves(FIVE_2, [
        ['reserve', 0, 2, 0],
        ['reserve', 0, 2, 4],
        ['rule', { perSecond: 10, burst: 2 }],
        ['reserve', 2, 1, 4]
      ])
    },
    {
      name: 'TestReserveSetBurst',
      run: reserves(FIVE_2, [
        ['reserve', 0, 2, 0],
        ['reserve', 0, 2, 4],
        ['rule', { perSecond: 5, burst: 4 }],
        ['reserve', 3, 1, undefined, 0],
        ['reserve', 0, 4, 9]
      ])
    },
    {
      name: 'TestReserveSetLimitCancel',
      run: reserves(FIVE_2, [
        ['reserve', 0, 2, 0],
        ['reserve', 0, 2, 4],
        ['rule', { perSecond: 10, burst: 2 }],
        ['reserve', 2, 1, undefined, 0],
        ['cancel', 2, 1],
        ['reserve', 2, 2, 3]
      ])
    },
    {
      name: 'TestReserveMax',
      run: reserves(TEN_2, [
        ['reserve', 0, 2, 0, STEP_MS],
        ['reserve', 0, 1, 1, STEP_MS],
        ['reserve', 0, 1, undefined, STEP_MS]
      ])
    },
    {
      name: 'tells when there will be enough, and when there never will be, and takes nothing',
      run: exam(async ({ claim }) => {
        const rule = { perSecond: 4, burst: 8 }
        await claim({ ...rule, tokens: 8 })
        for (let time = 0; time < 3; time++) {
          assert.deepEqual(await claim({ ...rule, tokens: 2 }), { outcome: 'throttled', retryAfterMs: 500 })
          assert.deepEqual(await claim({ ...rule, tokens: 2, waitMaxMs: 400 }), {
            outcome: 'throttled',
            retryAfterMs: 100
          })
          assert.deepEqual(await claim({ ...rule, tokens: 9, waitMaxMs: DAY_MS }), {
            outcome: 'exceeds-burst',
            burst: 8
          })
        }
        assert.deepEqual(await claim({ ...rule, tokens: 2, waitMaxMs: 500 }), { outcome: 'reserved', waitMs: 500 })
      })
    },
    {
      name: 'counts from a new rule on, also when the first claim under it is refused',
      run: exam(async ({ claim, pass }) => {
        await claim({ perSecond: 1, burst: 100, tokens: 100 })
        const { outcome } = await claim({ perSecond: 100, burst: 100, tokens: 50 })
        assert.equal(outcome, 'throttled')
        pass(500)
        assert.deepEqual(await claim({ perSecond: 100, burst: 100, tokens: 50 }), { outcome: 'reserved', waitMs: 0 })
      })
    },
    {
      name: 'holds no more than a smaller burst',
      run: exam(async ({ claim }) => {
        await claim({ burst: 100, tokens: 1 })
        await claim({ burst: 5, tokens: 5 })
        assert.equal((await claim({ burst: 5, tokens: 1 })).outcome, 'throttled')
      })
    },
    {
      name: 'loses no fraction of a token on the way',
      run: exam(async ({ claim, pass }) => {
        const rule = { perSecond: 1 / 3, burst: 1 }
        await claim(rule)
        // 3 s in steps of 1 ms, each of which brings a third of a thousandth.
        for (let at = 0; at < 29; at++) {
          pass(100)
          assert.equal((await claim({ ...rule, waitMaxMs: 0 })).outcome, 'throttled')
        }
        pass(100)
        assert.equal((await claim(rule)).outcome, 'reserved')
      })
    },
    {
      name: 'takes once for a claim that is sent twice, and says what is left of the wait',
      run: exam(async ({ claim, pass }) => {
        await claim({ tokens: 2 })
        const twice = { tokens: 1, waitMaxMs: DAY_MS, idempotencyKey: 'twice' }
        assert.deepEqual(await claim(twice), { outcome: 'reserved', waitMs: 100 })
        pass(60)
        assert.deepEqual(await claim(twice), { outcome: 'reserved', waitMs: 40 })
        pass(40)
        assert.deepEqual(await claim(twice), { outcome: 'reserved', waitMs: 0 })
        pass(100)
        assert.deepEqual(await claim(), { outcome: 'reserved', waitMs: 0 })
        assert.equal((await claim()).outcome, 'throttled')
      })
    },
    {
      name: 'takes once for a claim that is sent twice at once',
      run: exam(async ({ another, store, name, claim }) => {
        const twice = { rule: TEN_2, tokens: 1, waitMaxMs: 0, idempotencyKey: 'twice' }
        const other = await another()
        const answers = await Promise.all([store.reserve(name, twice), other.reserve(name, twice)])
        assert.deepEqual(answers, [
          { outcome: 'reserved', waitMs: 0 },
          { outcome: 'reserved', waitMs: 0 }
        ])
        assert.equal((await claim()).outcome, 'reserved')
        assert.equal((await claim()).outcome, 'throttled')
      })
    },
    {
      name: 'remembers a claim for 30 s after its tokens may be used, and no longer',
      run: exam(async ({ claim, pass }) => {
        await claim({ tokens: 2 })
        const key = { waitMaxMs: DAY_MS, idempotencyKey: 'kept' }
        assert.deepEqual(await claim(key), { outcome: 'reserved', waitMs: 100 })
        pass(30_099)
        await claim({ ...key, tokens: 2 })
        assert.equal((await claim({ tokens: 2 })).outcome, 'reserved', 'it was the claim of before')
        pass(200)
        await claim({ ...key, tokens: 2 })
        assert.equal((await claim()).outcome, 'throttled', 'it should have taken anew')
      })
    },
    {
      name: 'decides a refused claim anew when it is sent again',
      run: exam(async ({ claim, pass }) => {
        await claim({ tokens: 2 })
        assert.equal((await claim({ idempotencyKey: 'again' })).outcome, 'throttled')
        pass(100)
        assert.equal((await claim({ idempotencyKey: 'again' })).outcome, 'reserved')
      })
    },
    {
      name: 'puts a reservation back once, and says how much that is',
      run: exam(async ({ claim, cancel }) => {
        await claim({ tokens: 2 })
        await claim({ tokens: 2, waitMaxMs: DAY_MS, idempotencyKey: 'back' })
        assert.deepEqual([await cancel('back'), await cancel('back'), await cancel('unknown')], [2, 0, 0])
        assert.deepEqual(await claim({ waitMaxMs: DAY_MS }), { outcome: 'reserved', waitMs: 100 })
      })
    },
    {
      name: 'never puts back more than a reservation took, whatever was cancelled before and wherever its clock is set',
      run: exam(async ({ claim, cancel, pass }) => {
        const rule = { perSecond: 1, burst: 20, waitMaxMs: DAY_MS }
        await claim({ ...rule, tokens: 20 })
        await claim({ ...rule, tokens: 10, idempotencyKey: 'first' })
        await claim({ ...rule, tokens: 1, idempotencyKey: 'second' })
        assert.equal(await cancel('first'), 9)
        await claim({ ...rule, tokens: 9, idempotencyKey: 'third' })
        assert.deepEqual([await cancel('third'), await cancel('second')], [9, 1])
        await claim({ ...rule, tokens: 1, idempotencyKey: 'before' })
        pass(-3_600_000)
        await claim({ ...rule, tokens: 1 })
        assert.equal(await cancel('before'), 1)
        assert.equal((await claim({ ...rule, waitMaxMs: 0 })).outcome, 'throttled')
      })
    },
    {
      name: 'keeps what a rule of a billion times its rate has reserved',
      run: exam(async ({ claim }) => {
        const fast = { perSecond: 1e9, burst: 1e9, waitMaxMs: DAY_MS }
        for (let at = 0; at < 4; at++) await claim({ ...fast, tokens: 1e9 })
        const slow = { perSecond: 1 / 2_592_000, burst: 1 }
        assert.equal((await claim(slow)).outcome, 'throttled')
        assert.equal((await claim(slow)).outcome, 'throttled')
        assert.deepEqual(await claim({ ...fast, tokens: 1e9 }), { outcome: 'reserved', waitMs: 4_000 })
      })
    },
    {
      name: 'gives nothing to a claim that arrives after its cancellation was done',
      run: exam(async ({ claim, cancel }) => {
        await claim({ tokens: 2 })
        await claim({ tokens: 2, waitMaxMs: DAY_MS, idempotencyKey: 'back' })
        await cancel('back')
        assert.deepEqual(await claim({ tokens: 2, waitMaxMs: DAY_MS, idempotencyKey: 'back' }), {
          outcome: 'cancelled'
        })
        assert.deepEqual(await claim({ waitMaxMs: DAY_MS }), { outcome: 'reserved', waitMs: 100 })
      })
    },
    {
      name: 'gives eight clients that come at once no more than the burst',
      run: exam(async ({ another, name }) => {
        const stores = await Promise.all(Array.from({ length: CLIENTS }, another))
        const answers = await Promise.all(
          stores.flatMap((store, client) =>
            Array.from({ length: 5 }, (_, at) =>
              store.reserve(name, {
                rule: { perSecond: 1, burst: 13 },
                tokens: 1,
                waitMaxMs: 0,
                idempotencyKey: `client-${client}-${at}`
              })
            )
          )
        )
        assert.equal(answers.filter(({ outcome }) => outcome === 'reserved').length, 13)
      })
    },
    {
      name: 'fills a bucket that nobody uses to its burst, and no further',
      run: exam(async ({ claim, pass }) => {
        await claim({ tokens: 2 })
        pass(30 * DAY_MS)
        assert.deepEqual(await claim({ tokens: 2 }), { outcome: 'reserved', waitMs: 0 })
        assert.equal((await claim()).outcome, 'throttled')
      })
    },
    {
      name: 'fills on from where its clock is set back to, also while it refuses what is claimed',
      run: exam(async ({ claim, pass }) => {
        await claim({ tokens: 2 })
        pass(-3_600_000)
        for (let time = 0; time < 2; time++) {
          assert.equal((await claim()).outcome, 'throttled')
          pass(50)
        }
        assert.deepEqual(await claim(), { outcome: 'reserved', waitMs: 0 })
      })
    },
    {
      name: 'does not forget a bucket before it is full',
      run: exam(async ({ claim, pass }) => {
        const slow = { perSecond: 1 / 86_400, burst: 30 }
        await claim({ ...slow, tokens: 30 })
        pass(29 * DAY_MS)
        assert.equal((await claim({ ...slow, tokens: 30 })).outcome, 'throttled')
        assert.equal((await claim({ ...slow, tokens: 29 })).outcome, 'reserved')
      })
    },
    {
      name: 'gives nothing while it pauses, and then comes in at the rate, without a burst',
      run: exam(async ({ claim, pause, pass }) => {
        await pause(1_000)
        assert.deepEqual(await claim(), { outcome: 'throttled', retryAfterMs: 1_000 })
        pass(500)
        assert.deepEqual(await claim(), { outcome: 'throttled', retryAfterMs: 500 })
        pass(499)
        assert.equal((await claim()).outcome, 'throttled')
        pass(1)
        assert.deepEqual(await claim(), { outcome: 'reserved', waitMs: 0 })
        assert.equal((await claim({ waitMaxMs: 99 })).outcome, 'throttled')
      })
    },
    {
      name: 'pauses for whoever claims, and tells who waits how long',
      run: exam(async ({ pause, another, name }) => {
        await pause(1_000)
        const other = await another()
        const wait = { rule: TEN_2, tokens: 1, waitMaxMs: 1_000, idempotencyKey: 'other' }
        assert.deepEqual(await other.reserve(name, wait), { outcome: 'reserved', waitMs: 1_000 })
      })
    },
    {
      name: 'ends a pause with the later end of two, whichever came first',
      run: exam(async ({ claim, pause, pass }) => {
        await pause(1_000)
        await pause(100)
        pass(500)
        await pause(500)
        assert.deepEqual(await claim(), { outcome: 'throttled', retryAfterMs: 500 })
        await pause(2_000)
        assert.deepEqual(await claim(), { outcome: 'throttled', retryAfterMs: 2_000 })
      })
    },
    {
      name: 'puts nothing back into a pause of what was reserved before, which keeps its time',
      run: exam(async ({ claim, cancel, pause }) => {
        for (let time = 0; time < 4; time++) await claim({ tokens: 2, waitMaxMs: DAY_MS })
        const before = { tokens: 2, waitMaxMs: DAY_MS, idempotencyKey: 'before' }
        await claim(before)
        await pause(1_000)
        const within = { waitMaxMs: DAY_MS, idempotencyKey: 'within' }
        assert.deepEqual(await claim(within), { outcome: 'reserved', waitMs: 1_000 })
        assert.equal(await cancel('within'), 1)
        assert.deepEqual(await claim(before), { outcome: 'reserved', waitMs: 800 })
        assert.equal(await cancel('before'), 0)
        assert.deepEqual(await claim(), { outcome: 'throttled', retryAfterMs: 1_000 })
      })
    },
    {
      name: 'pauses on for as long when its clock is set back, and does not forget a pause before it ends',
      run: exam(async ({ claim, pause, pass }) => {
        await pause(DAY_MS)
        pass(-3_600_000)
        assert.deepEqual(await claim(), { outcome: 'throttled', retryAfterMs: DAY_MS })
        pass(DAY_MS - 1)
        assert.equal((await claim()).outcome, 'throttled')
        pass(1)
        assert.equal((await claim()).outcome, 'reserved')
      })
    },
    {
      name: 'keeps buckets and the keys of their claims apart',
      run: exam(async ({ store, name }) => {
        const claim = { rule: { perSecond: 1, burst: 1 }, tokens: 1, waitMaxMs: 0, idempotencyKey: 'a:b' }
        for (const bucket of [name, `${name}:a`, `${name}:A`, `${name}{`, `${name}\u00e9`, `${name}e\u0301`]) {
          assert.equal((await store.reserve(bucket, claim)).outcome, 'reserved', JSON.stringify(bucket))
        }
        const joined = await store.reserve(`${name}:a`, { ...claim, idempotencyKey: 'b' })
        assert.equal(joined.outcome, 'throttled')
        const other = await store.reserve(name, { ...claim, idempotencyKey: 'a', waitMaxMs: 5_000 })
        assert.deepEqual(other, { outcome: 'reserved', waitMs: 1_000 })
      })
    },
    {
      name: 'refuses what is not a claim, with its path, and takes nothing',
      run: exam(async ({ claim, cancel, pause, store, name }) => {
        const wrong = async (attempt: () => Promise<unknown>, path: string): Promise<void> =>
          assert.rejects(attempt, (error) => {
            assert.ok(isSuiteError(error, 'INVALID_OPTIONS'), `${path} should be refused with INVALID_OPTIONS`)
            const { issues } = error.detail as { issues: readonly { path: string }[] }
            assert.deepEqual([...new Set(issues.map((issue) => issue.path))], [path])
            return true
          })
        for (const [given, path] of REFUSED) await wrong(async () => claim(given), path)
        await wrong(async () => cancel('\ud800'), 'idempotencyKey')
        for (const bad of [-1, Number.NaN, DAY_MS + 1]) await wrong(async () => pause(bad), 'durationMs')
        const sound = { rule: TEN_2, tokens: 1, waitMaxMs: 0, idempotencyKey: 'k' }
        for (const bad of ['', 'x'.repeat(257), 'a\0b']) await wrong(async () => store.reserve(bad, sound), 'bucket')
        await wrong(async () => store.reserve(name, { ...sound, token: 1 } as never), 'token')
        assert.equal((await claim({ tokens: 2 })).outcome, 'reserved')
      })
    }
  ]
}
