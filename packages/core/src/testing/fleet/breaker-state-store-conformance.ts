import assert from 'node:assert/strict'
import { isSuiteError } from '../../failure/suite-error.ts'
import type {
  BreakerStateStore,
  ProbeAnswer,
  ProbeClaim,
  SharedBreak,
  SharedStanding
} from '../../fleet/breaker-state-store.ts'
import type { ConformanceKit } from '../conformance.ts'

/** A fresh store of shared breakers under examination. */
export interface BreakerStateStoreSubject extends AsyncDisposable {
  readonly store: BreakerStateStore
  /** Another client of the same breakers, over a connection of its own where the store has connections. */
  another(): Promise<BreakerStateStore>
  /** The store's own clock, which stands until it is set. */
  readonly clock: {
    now(): number
    /** Sets the clock, either way. */
    jumpWallTo(epochMs: number): void
  }
  /** A name that no breaker of this store has, nor begins with, so that subjects may share a server. */
  readonly name: string
}

/** Makes a subject. */
export type CreateBreakerStateStore = () => Promise<BreakerStateStoreSubject>

/** Above this year's instants, so that a server which drops keys by its real clock keeps these. */
const START_AT = Date.UTC(2040, 0, 1)
const BREAK_MS = 5_000
const LEASE_MS = 3_000

/** Clients that race: enough to meet in every window between two statements. */
const CLIENTS = 8

interface Bench extends Pick<BreakerStateStoreSubject, 'store' | 'clock' | 'name' | 'another'> {
  read(): Promise<SharedStanding>
  /** Opens a first break of `BREAK_MS` on what stands, unless told otherwise. */
  open(next?: Partial<SharedBreak>): Promise<SharedStanding>
  claim(owner: string, claim?: Partial<ProbeClaim>): Promise<ProbeAnswer>
  /** Opens, waits the break out, and lets `owner` claim the probe. */
  probing(owner: string): Promise<SharedStanding>
  pass(durationMs: number): void
}

/** Runs `body` on a fresh subject whose clock shows `START_AT`. */
function exam(body: (bench: Bench) => Promise<void>): (create: CreateBreakerStateStore) => Promise<void> {
  return async (create) => {
    await using subject = await create()
    const { store, clock, name } = subject
    clock.jumpWallTo(START_AT)
    const read = (): Promise<SharedStanding> => store.read(name)
    const open: Bench['open'] = async (next = {}) => {
      const { generation = (await read()).generation, breakMs = BREAK_MS } = next
      return store.open(name, { breaks: 1, breakLeftMs: breakMs, ...next, breakMs, generation })
    }
    const claim: Bench['claim'] = async (owner, given = {}) => {
      const { generation = (await read()).generation } = given
      return store.claimProbe(name, { owner, leaseMs: LEASE_MS, ...given, generation })
    }
    const pass = (durationMs: number): void => clock.jumpWallTo(clock.now() + durationMs)
    await body({
      store,
      clock,
      name,
      another: () => subject.another(),
      read,
      open,
      claim,
      async probing(owner) {
        await open()
        pass(BREAK_MS)
        return granted(await claim(owner))
      },
      pass
    })
  }
}

function granted(answer: ProbeAnswer): SharedStanding {
  assert.equal(answer.outcome, 'granted', 'the claim should be granted')
  return answer.standing
}

function refused(answer: ProbeAnswer): SharedStanding {
  assert.equal(answer.outcome, 'refused', 'the claim should be refused')
  return answer.standing
}

function isOpen(standing: SharedStanding): SharedStanding & { state: 'open' } {
  assert.equal(standing.state, 'open', 'the breaker should be open')
  return standing
}

function growing(...standings: readonly SharedStanding[]): void {
  const generations = standings.map(({ generation }) => generation)
  for (const [at, generation] of generations.entries()) {
    assert.ok(Number.isSafeInteger(generation) && generation > 0, `a generation is a safe integer, not ${generation}`)
    if (at > 0)
      assert.ok(generation > (generations[at - 1] as number), `generations do not grow: ${generations.join()}`)
  }
}

const UNKNOWN: SharedStanding = { generation: 0, state: 'closed', breaks: 0, breakMs: 0, closedForMs: 0 }

/** Names that a careless store would confuse, cut, fold or fail on. */
const NAMES: readonly string[] = ['a', 'A', 'a ', 'a:b', '{a}', 'a}', '%', "'", '\u00e9', 'e\u0301', '__proto__']

/** What no store may take, with the path that the error names. */
const REFUSED: readonly (readonly [Partial<SharedBreak>, string])[] = [
  [{ generation: -1 }, 'generation'],
  [{ generation: 0.5 }, 'generation'],
  [{ breaks: 0 }, 'breaks'],
  [{ breakMs: 0, breakLeftMs: 0 }, 'breakMs'],
  [{ breakMs: Number.NaN, breakLeftMs: 0 }, 'breakMs'],
  [{ breakMs: Number.POSITIVE_INFINITY, breakLeftMs: 0 }, 'breakMs'],
  [{ breakMs: 86_400_001, breakLeftMs: 0 }, 'breakMs'],
  [{ breakLeftMs: -1 }, 'breakLeftMs'],
  [{ breakLeftMs: BREAK_MS + 1 }, 'breakLeftMs']
]

const REFUSED_CLAIMS: readonly (readonly [Partial<ProbeClaim>, string])[] = [
  [{ owner: '' }, 'owner'],
  [{ owner: 'x'.repeat(129) }, 'owner'],
  [{ leaseMs: 0 }, 'leaseMs'],
  [{ leaseMs: 1.5 }, 'leaseMs'],
  [{ leaseMs: Number.NaN }, 'leaseMs']
]

/** The exam of a `BreakerStateStore`. */
export const breakerStateStoreConformance: ConformanceKit<CreateBreakerStateStore, never> = {
  name: 'BreakerStateStore',
  needs: [],
  cases: [
    {
      name: 'knows nothing of a breaker at first, and closes and claims nothing then',
      run: exam(async ({ read, store, name, claim }) => {
        assert.deepEqual(await read(), UNKNOWN)
        assert.deepEqual(await store.close(name, { generation: 0 }), UNKNOWN)
        assert.deepEqual(await store.reset(name), UNKNOWN)
        assert.deepEqual(refused(await claim('one')), UNKNOWN)
        assert.deepEqual(await read(), UNKNOWN)
      })
    },
    {
      name: 'opens for as long as the break has left, by its own clock, and tells the others',
      run: exam(async ({ open, another, name, pass }) => {
        const { generation } = await open({ breaks: 3, breakLeftMs: 4_000 })
        growing({ ...UNKNOWN, generation })
        const other = await another()
        const standing = { generation, state: 'open', breaks: 3, breakMs: BREAK_MS, breakLeftMs: 4_000, probeLeftMs: 0 }
        assert.deepEqual(await other.read(name), standing)
        pass(3_999)
        assert.deepEqual(await other.read(name), { ...standing, breakLeftMs: 1 })
        pass(1)
        assert.deepEqual(await other.read(name), { ...standing, breakLeftMs: 0 })
        pass(86_400_000)
        assert.deepEqual(await other.read(name), { ...standing, breakLeftMs: 0 })
      })
    },
    {
      name: 'takes the break of the first of two that saw the same, and tells the second of it',
      run: exam(async ({ open, read }) => {
        const first = await open({ generation: 0 })
        assert.deepEqual(await open({ generation: 0, breaks: 9, breakMs: 60_000 }), first)
        assert.deepEqual(await read(), first)
      })
    },
    {
      name: 'does not prolong a break that is sent twice',
      run: exam(async ({ open, pass }) => {
        await open({ generation: 0 })
        pass(1_000)
        assert.equal(isOpen(await open({ generation: 0 })).breakLeftMs, BREAK_MS - 1_000)
      })
    },
    {
      name: 'takes one of eight first breaks that come at once',
      run: exam(async ({ another, name }) => {
        const stores = await Promise.all(Array.from({ length: CLIENTS }, another))
        const answers = await Promise.all(
          stores.map((store, at) =>
            store.open(name, { generation: 0, breaks: at + 1, breakMs: BREAK_MS, breakLeftMs: BREAK_MS })
          )
        )
        assert.deepEqual(
          answers.map(({ generation, breaks }) => ({ generation, breaks })),
          answers.map(() => ({ generation: answers[0]?.generation, breaks: answers[0]?.breaks }))
        )
      })
    },
    {
      name: 'gives no probe during a break, and says what is left of it',
      run: exam(async ({ open, claim, pass }) => {
        await open()
        pass(BREAK_MS - 1)
        assert.equal(isOpen(refused(await claim('one'))).breakLeftMs, 1)
        pass(1)
        granted(await claim('one'))
      })
    },
    {
      name: 'gives the probe to one owner, under a new generation, until its lease ends',
      run: exam(async ({ open, claim, pass, read }) => {
        const opened = await open()
        pass(BREAK_MS)
        const first = isOpen(granted(await claim('one')))
        growing(opened, first)
        assert.equal(first.probeLeftMs, LEASE_MS)
        pass(LEASE_MS - 1)
        assert.deepEqual(refused(await claim('two')), await read())
        assert.equal(isOpen(await read()).probeLeftMs, 1)
        pass(1)
        assert.equal(isOpen(await read()).probeLeftMs, 0)
        growing(first, granted(await claim('two')))
      })
    },
    {
      name: 'gives exactly one of eight that claim at once the probe',
      run: exam(async ({ another, name, open, pass, read }) => {
        const stores = await Promise.all(Array.from({ length: CLIENTS }, another))
        await open()
        pass(BREAK_MS)
        const { generation } = await read()
        const answers = await Promise.all(
          stores.map((store, at) => store.claimProbe(name, { generation, owner: `owner-${at}`, leaseMs: LEASE_MS }))
        )
        const winners = answers.filter(({ outcome }) => outcome === 'granted')
        assert.equal(winners.length, 1, `${winners.length} of ${CLIENTS} claims were granted`)
      })
    },
    {
      name: 'gives its owner the same probe again, with its whole lease, also to a claim that is sent twice',
      run: exam(async ({ probing, claim, pass, name, store }) => {
        const opened = await store.read(name)
        const first = await probing('one')
        pass(LEASE_MS - 1)
        assert.deepEqual(granted(await claim('one', { generation: opened.generation })), first)
        pass(LEASE_MS - 1)
        assert.deepEqual(granted(await claim('one')), first)
      })
    },
    {
      name: 'gives the owner whose lease has ended a new generation',
      run: exam(async ({ probing, claim, pass }) => {
        const first = await probing('one')
        pass(LEASE_MS)
        growing(first, granted(await claim('one')))
      })
    },
    {
      name: 'gives no probe for a generation that has passed',
      run: exam(async ({ open, store, name, pass, claim }) => {
        const { generation } = await open()
        await store.close(name, { generation })
        await open()
        pass(BREAK_MS)
        refused(await claim('one', { generation }))
        granted(await claim('one'))
      })
    },
    {
      name: 'closes by the probe, for all, and says for how long it has been closed',
      run: exam(async ({ probing, store, another, name, pass }) => {
        const probe = await probing('one')
        const closed = await store.close(name, probe)
        growing(probe, closed)
        pass(1_500)
        const { generation } = closed
        assert.deepEqual(await (await another()).read(name), {
          generation,
          state: 'closed',
          breaks: 1,
          breakMs: BREAK_MS,
          closedForMs: 1_500
        })
        assert.equal((await store.close(name, probe)).generation, generation)
      })
    },
    {
      name: 'changes nothing for a probe whose place another has taken',
      run: exam(async ({ probing, claim, store, name, pass, read, open }) => {
        const late = await probing('one')
        pass(LEASE_MS)
        granted(await claim('two'))
        const standing = await read()
        assert.deepEqual(await store.close(name, late), standing)
        assert.deepEqual(await open({ generation: late.generation, breaks: 2 }), standing)
        assert.deepEqual(await read(), standing)
      })
    },
    {
      name: 'opens anew when the probe failed, with a break of its own, and nobody probes during it',
      run: exam(async ({ probing, open, claim, pass }) => {
        const probe = await probing('one')
        pass(10)
        const again = isOpen(await open({ breaks: 2, breakMs: 10_000 }))
        growing(probe, again)
        assert.deepEqual([again.breaks, again.breakMs, again.breakLeftMs, again.probeLeftMs], [2, 10_000, 10_000, 0])
        refused(await claim('one'))
        pass(10_000)
        granted(await claim('two'))
      })
    },
    {
      name: 'opens nothing on evidence from before the breaker closed',
      run: exam(async ({ open, store, name, read }) => {
        const early = await open()
        await store.close(name, early)
        const standing = await read()
        assert.deepEqual(await open({ generation: 0 }), standing)
        assert.deepEqual(await open({ generation: early.generation }), standing)
      })
    },
    {
      name: 'closes whatever stands by a reset, and forgets how often it broke',
      run: exam(async ({ probing, store, name, open }) => {
        const probe = await probing('one')
        const reset = await store.reset(name)
        growing(probe, reset)
        const { generation } = reset
        assert.deepEqual(reset, { generation, state: 'closed', breaks: 0, breakMs: 0, closedForMs: 0 })
        assert.equal((await store.close(name, probe)).generation, generation)
        isOpen(await open())
      })
    },
    {
      name: 'gives generations that grow when its clock is set back',
      run: exam(async ({ open, store, name, clock }) => {
        const standings: SharedStanding[] = []
        for (let at = 0; at < 5; at++) {
          const opened = await open()
          standings.push(opened, await store.close(name, opened))
          clock.jumpWallTo(START_AT - at * 86_400_000)
        }
        growing(...standings)
      })
    },
    {
      name: 'gives generations of at least its clock in microseconds, so that they grow when it has forgotten the breaker',
      run: exam(async ({ open }) => {
        assert.ok((await open()).generation >= START_AT * 1_000)
      })
    },
    {
      name: 'ends breaks and leases when its clock is set back to before they began, rather than prolong them',
      run: exam(async ({ open, claim, clock }) => {
        await open()
        clock.jumpWallTo(START_AT - 3_600_000)
        granted(await claim('one'))
        clock.jumpWallTo(START_AT - 7_200_000)
        granted(await claim('two'))
      })
    },
    {
      name: 'keeps breakers apart, whatever their names',
      run: exam(async ({ store, name }) => {
        for (const [at, one] of NAMES.entries()) {
          await store.open(`${name}${one}`, { generation: 0, breaks: at + 1, breakMs: BREAK_MS, breakLeftMs: 0 })
        }
        for (const [at, one] of NAMES.entries()) {
          assert.equal((await store.read(`${name}${one}`)).breaks, at + 1, JSON.stringify(one))
        }
      })
    },
    {
      name: 'keeps the largest numbers that it takes',
      run: exam(async ({ open, claim, pass }) => {
        const opened = isOpen(await open({ breaks: 1_000_000_000, breakMs: 86_400_000 }))
        assert.deepEqual([opened.breaks, opened.breakLeftMs], [1_000_000_000, 86_400_000])
        pass(86_400_000)
        assert.equal(isOpen(granted(await claim('one', { leaseMs: 172_800_000 }))).probeLeftMs, 172_800_000)
      })
    },
    {
      name: 'refuses what is not a break or a claim, with its path, and changes nothing',
      run: exam(async ({ open, claim, store, name, read }) => {
        await open()
        const standing = await read()
        const wrong = async (attempt: () => Promise<unknown>, path: string): Promise<void> =>
          assert.rejects(attempt, (error) => {
            assert.ok(isSuiteError(error, 'INVALID_OPTIONS'), `${path} should be refused with INVALID_OPTIONS`)
            const { issues } = error.detail as { issues: readonly { path: string }[] }
            assert.deepEqual([...new Set(issues.map((issue) => issue.path))], [path])
            return true
          })
        for (const [next, path] of REFUSED) await wrong(async () => open(next), path)
        for (const [given, path] of REFUSED_CLAIMS) await wrong(async () => claim('one', given), path)
        for (const bad of ['', 'x'.repeat(257), 'a\0b', '\ud800']) {
          await wrong(async () => store.read(bad), 'name')
          await wrong(async () => store.reset(bad), 'name')
        }
        await wrong(async () => store.close(name, { generation: Number.NaN }), 'generation')
        assert.deepEqual(await read(), standing)
      })
    }
  ]
}
