import assert from 'node:assert/strict'
import type { ClaimOptions, DueClaim, HeldRow } from '../../schedule/due-claims.ts'
import type { ConformanceKit } from '../conformance.ts'
import type { DueRowStore } from './due-row-store.ts'

/** A table of due rows under examination, empty. */
export interface DueClaimsSubject extends AsyncDisposable {
  readonly store: DueRowStore
  /** Another client of the same table, over a connection of its own where there are connections. */
  another(): Promise<DueRowStore>
  /** Adds rows as the table's owner would. `dueAt` of undefined is due never. */
  add(rows: readonly { readonly key: string; readonly dueAt: number | undefined }[]): Promise<void>
  /** The store's own clock, which stands until it is set. */
  readonly clock: {
    now(): number
    /** Sets the clock, either way. */
    jumpWallTo(epochMs: number): void
  }
}

/** Makes a subject. */
export type CreateDueClaims = () => Promise<DueClaimsSubject>

/** Years from this machine's clock, which must not matter. */
const START_AT = Date.UTC(2040, 0, 1)
const LEASE_MS = 60_000
/** Above what 32 bits hold. */
const FAR_MS = 2 ** 31 + 7

/** Clients that race: enough to meet in every window between two statements. */
const CLIENTS = 8
const ROWS = 96

interface Bench extends DueClaimsSubject {
  claim(options?: Partial<ClaimOptions>): Promise<DueClaim[]>
  /** The keys of a claim, sorted. */
  keys(options?: Partial<ClaimOptions>): Promise<string[]>
  /** Claims the one row that must be due. */
  one(options?: Partial<ClaimOptions>): Promise<DueClaim>
  pass(durationMs: number): void
}

function exam(body: (bench: Bench) => Promise<void>): (create: CreateDueClaims) => Promise<void> {
  return async (create) => {
    await using subject = await create()
    const { clock, store } = subject
    clock.jumpWallTo(START_AT)
    const claim: Bench['claim'] = (options) => store.claim({ limit: 100, leaseMs: LEASE_MS, ...options })
    await body({
      store,
      clock,
      another: () => subject.another(),
      add: (rows) => subject.add(rows),
      claim,
      keys: async (options) => keysOf(await claim(options)),
      async one(options) {
        const claims = await claim(options)
        assert.equal(claims.length, 1, `one row should be due, not ${claims.length}`)
        return claims[0] as DueClaim
      },
      pass: (durationMs) => clock.jumpWallTo(clock.now() + durationMs),
      [Symbol.asyncDispose]: async () => {}
    })
  }
}

const keysOf = (rows: Iterable<HeldRow | string>): string[] =>
  [...rows].map((row) => (typeof row === 'string' ? row : row.key)).sort()

const due = (key: string, dueAt = START_AT) => ({ key, dueAt })

/** Each kind of answer, as one that must not be heard when its claim is stale. */
const ANSWERS: readonly (readonly [string, (store: DueRowStore, held: HeldRow) => Promise<Set<string>>])[] = [
  ['extend', (store, held) => store.extend([held], 10 * LEASE_MS)],
  ['finish', (store, held) => store.finish([held])],
  ['advance', (store, held) => store.advance([{ ...held, nextDueAt: START_AT }])],
  ['release', (store, held) => store.release([{ ...held, delayMs: 0 }])]
]

/** Keys that a careless store would confuse, cut, fold or fail on. */
const KEYS: readonly string[] = [
  'a',
  'A',
  'a ',
  '1',
  '01',
  '1.0',
  'null',
  '"',
  "'",
  '\\',
  '?',
  '$1',
  'a/b@c',
  '\u00e9',
  'e\u0301',
  '\u{1f512}',
  '\n',
  '__proto__',
  'x'.repeat(200)
]

/** The exam of claims on due rows: of `createDueClaims` on a table of one's own, or of statements in its place. */
export const dueClaimsConformance: ConformanceKit<CreateDueClaims, never> = {
  name: 'DueClaims',
  needs: [],
  cases: [
    {
      name: 'claims a row at its instant by the clock of the store, and not a millisecond before',
      run: exam(async ({ add, keys, pass }) => {
        await add([
          due('now'),
          due('soon', START_AT + 1),
          due('far', START_AT + FAR_MS),
          { key: 'never', dueAt: undefined }
        ])
        assert.deepEqual(await keys(), ['now'])
        pass(1)
        assert.deepEqual(await keys(), ['soon'])
        pass(FAR_MS - 2)
        assert.deepEqual(await keys({ only: 'fresh' }), [])
        pass(1)
        assert.deepEqual(await keys({ only: 'fresh' }), ['far'])
      })
    },
    {
      name: 'claims no more than the limit, the longest due first',
      run: exam(async ({ add, keys }) => {
        await add(['c', 'a', 'd', 'b'].map((key) => due(key, START_AT - 'dcba'.indexOf(key) - 1)))
        assert.deepEqual(await keys({ limit: 1 }), ['a'])
        assert.deepEqual(await keys({ limit: 2 }), ['b', 'c'])
        assert.deepEqual(await keys({ limit: 2 }), ['d'])
      })
    },
    {
      name: 'says when it claimed, and counts attempts and deaths',
      run: exam(async ({ add, one, pass, store }) => {
        await add([due('a')])
        pass(5)
        const first = await one()
        assert.deepEqual(
          { attempt: first.attempt, deaths: first.deaths, claimedAt: first.claimedAt },
          { attempt: 1, deaths: 0, claimedAt: START_AT + 5 }
        )
        pass(LEASE_MS)
        const second = await one()
        assert.deepEqual({ attempt: second.attempt, deaths: second.deaths }, { attempt: 2, deaths: 1 })
        await store.release([{ ...second, delayMs: 0 }])
        const third = await one()
        assert.deepEqual({ attempt: third.attempt, deaths: third.deaths }, { attempt: 3, deaths: 0 })
      })
    },
    {
      name: 'leaves a row to its holder until the lease ends, and not a millisecond longer',
      run: exam(async ({ add, one, keys, pass, another }) => {
        const other = await another()
        await add([due('a')])
        await one()
        pass(LEASE_MS - 1)
        assert.deepEqual(await keys(), [])
        assert.deepEqual(await other.claim({ limit: 1, leaseMs: LEASE_MS }), [])
        pass(1)
        assert.deepEqual(keysOf(await other.claim({ limit: 1, leaseMs: LEASE_MS })), ['a'])
      })
    },
    {
      name: 'gives fences that grow over leases, answers, deletions, and a clock that goes back',
      run: exam(async ({ add, one, pass, store, clock }) => {
        const fences: number[] = []
        const claimOne = async (): Promise<DueClaim> => {
          const claimed = await one()
          assert.ok(Number.isSafeInteger(claimed.fence) && claimed.fence > 0, `${claimed.fence} is no fence`)
          fences.push(claimed.fence)
          return claimed
        }
        await add([due('a', 1)])
        await claimOne()
        pass(LEASE_MS)
        await store.release([{ ...(await claimOne()), delayMs: 0 }])
        await store.advance([{ ...(await claimOne()), nextDueAt: 1 }])
        await store.release([{ ...(await claimOne()), delayMs: -10_000 }])
        clock.jumpWallTo(START_AT + LEASE_MS - 5_000)
        await store.release([{ ...(await claimOne()), delayMs: 0 }])
        clock.jumpWallTo(START_AT + 2 * LEASE_MS)
        await store.finish([await claimOne()])
        pass(1)
        await add([due('a', 1)])
        await claimOne()
        const sorted = fences.toSorted((first, second) => first - second)
        assert.deepEqual(fences, sorted)
        assert.equal(new Set(fences).size, 7)
      })
    },
    ...ANSWERS.map(([name, answer]) => ({
      name: `hears no ${name} under a stale fence, and changes nothing`,
      run: exam(async ({ add, one, keys, pass, store }) => {
        await add([due('a')])
        const stale = await one()
        pass(LEASE_MS)
        const current = await one()
        assert.deepEqual(await answer(store, stale), new Set())
        assert.deepEqual(await answer(store, { ...current, fence: current.fence + 1 }), new Set())
        assert.deepEqual(await keys(), [], 'the holder still holds it')
        pass(LEASE_MS - 1)
        assert.deepEqual(await keys(), [])
        pass(1)
        const third = await one()
        assert.equal(third.attempt, 3)
        assert.equal(third.deaths, 2)
      })
    })),
    ...ANSWERS.filter(([name]) => name !== 'extend').map(([name, answer]) => ({
      name: `hears ${name} once: the claim is over with it`,
      run: exam(async ({ add, one, store }) => {
        await add([due('a')])
        const held = await one()
        assert.deepEqual(await answer(store, held), new Set(['a']))
        for (const [, again] of ANSWERS) assert.deepEqual(await again(store, held), new Set())
      })
    })),
    {
      name: 'hears a holder that is late, as long as nobody else has claimed',
      run: exam(async ({ add, claim, keys, pass, store }) => {
        await add(['a', 'b', 'c', 'd'].map((key) => due(key)))
        const held = new Map((await claim()).map((one) => [one.key, one]))
        const of = (key: string): DueClaim => held.get(key) as DueClaim
        pass(LEASE_MS)
        assert.deepEqual(await store.finish([of('a')]), new Set(['a']))
        assert.deepEqual(await store.extend([of('b')], LEASE_MS), new Set(['b']))
        assert.deepEqual(await store.advance([{ ...of('c'), nextDueAt: undefined }]), new Set(['c']))
        assert.deepEqual(await store.release([{ ...of('d'), delayMs: 1 }]), new Set(['d']))
        assert.deepEqual(await keys(), [])
        pass(1)
        assert.deepEqual(await keys(), ['d'])
      })
    },
    {
      name: 'extends a lease from now on, and never shortens it',
      run: exam(async ({ add, one, keys, pass, store }) => {
        await add([due('a')])
        const held = await one()
        pass(LEASE_MS / 2)
        assert.deepEqual(await store.extend([held], LEASE_MS), new Set(['a']))
        await store.extend([held], 1)
        pass(LEASE_MS - 1)
        assert.deepEqual(await keys(), [])
        pass(1)
        assert.deepEqual(await keys(), ['a'])
      })
    },
    {
      name: 'finishes a row for good',
      run: exam(async ({ add, one, keys, pass, store }) => {
        await add([due('a')])
        await store.finish([await one()])
        pass(FAR_MS)
        assert.deepEqual(await keys(), [])
      })
    },
    {
      name: 'advances a row to its next instant, or to none, and counts its attempts anew',
      run: exam(async ({ add, one, claim, keys, pass, store }) => {
        await add([due('a'), due('b')])
        const held = await claim()
        await store.advance(held.map((one) => ({ ...one, nextDueAt: one.key === 'a' ? START_AT + FAR_MS : undefined })))
        pass(FAR_MS - 1)
        assert.deepEqual(await keys(), [])
        pass(1)
        const again = await one()
        assert.deepEqual(
          { key: again.key, attempt: again.attempt, deaths: again.deaths },
          { key: 'a', attempt: 1, deaths: 0 }
        )
        pass(LEASE_MS - 1)
        assert.deepEqual(await keys(), [])
      })
    },
    {
      name: 'releases a row for later, and counts the attempt unless told not to',
      run: exam(async ({ add, one, keys, pass, store }) => {
        await add([due('a')])
        await store.release([{ ...(await one()), delayMs: 500 }])
        pass(499)
        assert.deepEqual(await keys(), [])
        pass(1)
        const second = await one()
        assert.equal(second.attempt, 2)
        await store.release([{ ...second, delayMs: 0, uncounted: true }])
        assert.equal((await one()).attempt, 2)
      })
    },
    {
      name: 'tells fresh rows from those whose holders died',
      run: exam(async ({ add, one, keys, pass, store }) => {
        await add([due('a')])
        await one()
        pass(LEASE_MS)
        await add([due('b')])
        assert.deepEqual(await keys({ only: 'fresh' }), ['b'])
        const suspect = await one({ only: 'suspect' })
        assert.equal(suspect.key, 'a')
        await store.release([{ ...suspect, delayMs: 0 }])
        assert.deepEqual(await keys({ only: 'suspect' }), [])
        assert.deepEqual(await keys({ only: 'fresh' }), ['a'])
      })
    },
    {
      name: 'takes fresh due rows for good, no more than the limit, the longest due first',
      run: exam(async ({ add, one, keys, pass, store, clock }) => {
        await add([due('dead')])
        const held = await one()
        pass(LEASE_MS)
        await add([due('b', START_AT + 2), due('a', START_AT + 1), due('later', clock.now() + 1)])
        const [first, ...more] = await store.take({ limit: 1 })
        assert.deepEqual(more, [])
        assert.deepEqual(
          { key: first?.key, attempt: first?.attempt, deaths: first?.deaths, claimedAt: first?.claimedAt },
          { key: 'a', attempt: 1, deaths: 0, claimedAt: clock.now() }
        )
        assert.ok((first as DueClaim).fence > held.fence)
        assert.deepEqual(keysOf(await store.take({ limit: 10 })), ['b'])
        pass(FAR_MS)
        assert.deepEqual(await keys(), ['dead', 'later'])
      })
    },
    {
      name: 'answers for many at once, each by its own fence',
      run: exam(async ({ add, claim, keys, pass, store }) => {
        await add(['a', 'b', 'c'].map((key) => due(key)))
        const held = await claim()
        await store.finish(held.filter(({ key }) => key === 'b'))
        pass(1)
        await add([due('b')])
        await claim()
        assert.deepEqual(keysOf(await store.extend(held, 2 * LEASE_MS)), ['a', 'c'])
        pass(LEASE_MS)
        assert.deepEqual(await keys(), ['b'])
        assert.deepEqual(keysOf(await store.finish(held)), ['a', 'c'])
        assert.deepEqual(await store.finish([]), new Set())
      })
    },
    {
      name: 'keeps keys apart, whatever is in them',
      run: exam(async ({ add, claim, store }) => {
        await add(KEYS.map((key) => due(key)))
        const held = await claim()
        assert.deepEqual(keysOf(held), [...KEYS].sort())
        assert.deepEqual(keysOf(await store.extend(held, LEASE_MS)), [...KEYS].sort())
        for (const one of held) {
          assert.deepEqual(await store.extend([one], LEASE_MS), new Set([one.key]))
        }
        for (const one of held) assert.deepEqual(await store.finish([one]), new Set([one.key]))
      })
    },
    {
      name: 'looks ahead: what waits for how long, and when the next one is due',
      run: exam(async ({ add, one, pass, store, clock }) => {
        const outlook = () => store.outlook({ at: clock.now() })
        assert.deepEqual(await outlook(), { lagMs: 0, nextDueInMs: undefined })
        await add([due('a'), due('far', START_AT + FAR_MS), { key: 'never', dueAt: undefined }])
        pass(7)
        assert.deepEqual(await outlook(), { lagMs: 7, nextDueInMs: FAR_MS - 7 })
        await one()
        assert.deepEqual(await outlook(), { lagMs: 0, nextDueInMs: LEASE_MS })
      })
    },
    {
      name: 'gives no row to two of eight racing clients, and loses none',
      run: exam(async ({ add, another, store }) => {
        const keys = Array.from({ length: ROWS }, (_, at) => `row-${at}`)
        await add(keys.map((key) => due(key)))
        const clients = [store, ...(await Promise.all(Array.from({ length: CLIENTS - 1 }, another)))]
        const claimed: string[] = []
        const client = async (one: DueRowStore, number: number): Promise<void> => {
          const limit = 1 + (number % 5)
          // A claim that meets others may come back with less than there is, so it asks once more.
          for (let empty = 0; empty < 3 && claimed.length <= ROWS; ) {
            const held = number % 2 === 0 ? await one.claim({ limit, leaseMs: LEASE_MS }) : await one.take({ limit })
            assert.ok(held.length <= limit, `${held.length} rows for a limit of ${limit}`)
            empty = held.length === 0 ? empty + 1 : 0
            claimed.push(...held.map(({ key }) => key))
          }
        }
        await Promise.all(clients.map(client))
        assert.deepEqual(claimed.sort(), keys.sort())
      })
    }
  ]
}
