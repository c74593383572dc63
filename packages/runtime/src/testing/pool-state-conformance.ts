import assert from 'node:assert/strict'
import type { ConformanceKit } from '@enablement/core/testing'
import type {
  ClaimDraft,
  PoolCommand,
  PoolExchange,
  PoolRules,
  PoolStateStore,
  PoolView
} from '../pool/pool-state-store.ts'

/** A fresh store of pool state under examination. */
export interface PoolStateSubject extends AsyncDisposable {
  readonly store: PoolStateStore
  /** Another client of the same pools, over a connection of its own where the store has connections. */
  another(): Promise<PoolStateStore>
  /** Moves the store's own clock, which stands still otherwise. */
  pass(durationMs: number): void
  /** A name that no pool of this store has, so that subjects may share a server. */
  readonly pool: string
}

/** Makes a subject. */
export type CreatePoolState = () => Promise<PoolStateSubject>

type Exchanged = Extract<PoolView, { outcome: 'exchanged' }>

const LEASE_MS = 10_000
const RULES: PoolRules = {
  capacity: 2,
  coldMax: 1,
  tenantMax: 10,
  queueMax: 5,
  agingMs: 1_000,
  preemptionsPerMinute: 2,
  cooldownMs: 5_000
}

/** A process of the pool that keeps to the protocol. */
interface Member {
  say(commands?: readonly PoolCommand[], how?: Partial<PoolExchange>): Promise<PoolView>
  /** As `say`, of a member that the store knows. */
  exchange(commands?: readonly PoolCommand[], how?: Partial<PoolExchange>): Promise<Exchanged>
  /** Sends the last exchange again, as it was. */
  again(): Promise<PoolView>
}

interface Bench extends PoolStateSubject {
  /** Joins. Of `ids` the letter is the order. */
  member(id: string, store?: PoolStateStore, rules?: Partial<PoolRules>): Promise<Member>
}

const enter = (claim: string, draft: Partial<ClaimDraft> = {}): PoolCommand => ({
  type: 'enter',
  claim,
  tenant: 'acme',
  priority: 1,
  creditMs: 0,
  preemptible: true,
  shieldMs: 0,
  ...draft
})
const end = (claim: string): PoolCommand => ({ type: 'end', claim })
const none = { ready: 0, starting: 0, closing: 0 }
const stock = (ready: number, starting = 0, closing = 0): Partial<PoolExchange> => ({
  stock: { ready, starting, closing }
})
const statesOf = (view: Exchanged): Record<string, string> =>
  Object.fromEntries(view.held.map(({ claim, state }) => [claim, state]))
const placesOf = (view: Exchanged): Record<string, number> =>
  Object.fromEntries(view.waiting.map(({ claim, position }) => [claim, position]))
const fenceOf = (view: Exchanged, claim: string): number => {
  const found = view.held.find((one) => one.claim === claim)
  assert.ok(found !== undefined, `${claim} is held`)
  return found.fence
}

function exam(body: (bench: Bench) => Promise<void>): (create: CreatePoolState) => Promise<void> {
  return async (create) => {
    await using subject = await create()
    const member: Bench['member'] = async (id, store = subject.store, rules = {}) => {
      let last: PoolExchange = {
        member: `member-${id}`,
        sequence: 0,
        leaseMs: LEASE_MS,
        kind: 'join',
        rules: { ...RULES, ...rules },
        stock: none,
        wanted: 0,
        commands: []
      }
      const say: Member['say'] = (commands = [], how = {}) => {
        last = { ...last, kind: 'stay', wanted: 0, ...how, commands, sequence: last.sequence + 1 }
        return store.exchange(subject.pool, last)
      }
      const exchange: Member['exchange'] = async (commands, how) => {
        const view = await say(commands, how)
        assert.ok(view.outcome === 'exchanged', `member ${id} is known`)
        return view
      }
      await exchange([], { kind: 'join' })
      return { say, exchange, again: () => store.exchange(subject.pool, last) }
    }
    await body({
      store: subject.store,
      pool: subject.pool,
      member,
      another: () => subject.another(),
      pass: (durationMs) => subject.pass(durationMs),
      [Symbol.asyncDispose]: async () => undefined
    })
  }
}

/** The exam of a `PoolStateStore`. */
export const poolStateConformance: ConformanceKit<CreatePoolState, never> = {
  name: 'PoolStateStore',
  needs: [],
  cases: [
    {
      name: 'gives a claim a sandbox that is ready, or under way, or room for one, and each place once',
      run: exam(async ({ member }) => {
        const a = await member('a', undefined, { capacity: 3 })
        const first = await a.exchange([enter('1')], stock(1, 1))
        assert.deepEqual([first.ready, first.starting, statesOf(first)], [0, 1, { 1: 'held' }])
        const second = await a.exchange([enter('2')], stock(0, 1))
        assert.deepEqual([second.ready, second.starting, statesOf(second)], [0, 0, { 1: 'held', 2: 'held' }])
        const more = await a.exchange([enter('3'), enter('4')], stock(0))
        assert.deepEqual(statesOf(more), { 1: 'held', 2: 'held', 3: 'held' })
        assert.deepEqual(placesOf(more), { 4: 1 })
        assert.deepEqual(more.pool, { members: 1, stock: 0, held: 3, cold: 0, queued: 1, oldestWaitMs: 0 })
      })
    },
    {
      name: 'gives fences that grow over all members and claims, also after a claim has ended',
      run: exam(async ({ member, another }) => {
        const a = await member('a')
        const b = await member('b', await another())
        const fences: number[] = []
        for (let round = 0; round < 3; round++) {
          fences.push(fenceOf(await a.exchange([enter(`a${round}`)]), `a${round}`))
          fences.push(fenceOf(await b.exchange([enter(`b${round}`)]), `b${round}`))
          await a.exchange([end(`a${round}`)])
          await b.exchange([end(`b${round}`)])
        }
        assert.deepEqual(
          fences,
          [...new Set(fences)].sort((one, other) => one - other)
        )
      })
    },
    {
      name: 'does an exchange that is sent again once, and answers it as it stands',
      run: exam(async ({ member }) => {
        const a = await member('a')
        const first = await a.exchange([enter('1')], { ...stock(1), wanted: 5 })
        assert.equal(first.starting, 0 + RULES.capacity - 1)
        assert.deepEqual(await a.again(), first)
        const gone = await a.exchange([end('1')], stock(0, 1))
        assert.deepEqual(await a.again(), gone)
        assert.equal(gone.pool.held, 0)
      })
    },
    {
      name: 'lets members start no more than the capacity, all of them together',
      run: exam(async ({ member, another }) => {
        const a = await member('a')
        const b = await member('b', await another())
        assert.equal((await a.exchange([], { wanted: 1 })).starting, 1)
        assert.equal((await b.exchange([], { wanted: 5 })).starting, 1)
        assert.equal((await a.exchange([], { ...stock(1), wanted: 5 })).starting, 0)
        // What is closing has its place until it is gone.
        assert.equal((await b.exchange([], { ...stock(0, 0, 1), wanted: 1 })).starting, 0)
        assert.equal((await b.exchange([], { ...stock(0), wanted: 1 })).starting, 1)
      })
    },
    {
      name: 'grants a place that becomes free to the head of the queue, wherever that waits',
      run: exam(async ({ member, another }) => {
        const a = await member('a')
        const b = await member('b', await another())
        await a.exchange([enter('1'), enter('2')])
        assert.deepEqual(placesOf(await b.exchange([enter('3')])), { 3: 1 })
        assert.deepEqual(placesOf(await a.exchange([enter('4')])), { 4: 2 })
        await a.exchange([end('1')])
        const granted = await b.exchange()
        assert.deepEqual([statesOf(granted), granted.waiting], [{ 3: 'held' }, []])
        assert.deepEqual(placesOf(await a.exchange()), { 4: 1 })
      })
    },
    {
      name: 'orders by priority, then by coming, and lets waiting raise a claim a step each agingMs',
      run: exam(async ({ member, pass }) => {
        const a = await member('a')
        await a.exchange([enter('h1', { preemptible: false }), enter('h2', { preemptible: false })])
        await a.exchange([enter('old', { priority: 0 })])
        pass(RULES.agingMs - 1)
        await a.exchange([enter('new', { priority: 1 }), enter('newer', { priority: 1 })])
        assert.deepEqual(placesOf(await a.exchange()), { new: 1, newer: 2, old: 3 })
        pass(2)
        const later = await a.exchange([enter('latest', { priority: 1 }), enter('credited', { creditMs: 5_000 })])
        assert.deepEqual(placesOf(later), { credited: 1, new: 2, newer: 3, old: 4, latest: 5 })
        assert.equal(later.pool.oldestWaitMs, 5_000)
      })
    },
    {
      name: 'refuses what is beyond the queue, and beyond the tenant’s share of it, by not showing it',
      run: exam(async ({ member }) => {
        const a = await member('a', undefined, { capacity: 1, queueMax: 3, tenantMax: 2 })
        await a.exchange([enter('1', { tenant: 'one' })])
        const view = await a.exchange(
          ['2', '3', '4', '5', '6'].map((claim) => enter(claim, { tenant: claim < '5' ? 'one' : 'two' }))
        )
        assert.deepEqual(placesOf(view), { 2: 1, 3: 2, 5: 3 })
      })
    },
    {
      name: 'takes as many beyond the queue as it has places for',
      run: exam(async ({ member }) => {
        const a = await member('a', undefined, { capacity: 3, queueMax: 0 })
        const view = await a.exchange(['1', '2', '3', '4', '5'].map((claim) => enter(claim)))
        assert.deepEqual(statesOf(view), { 1: 'held', 2: 'held', 3: 'held' })
        assert.deepEqual(placesOf(view), {})
      })
    },
    {
      name: 'passes by those whose tenant has all that it may have, who take no place in the queue',
      run: exam(async ({ member }) => {
        const a = await member('a', undefined, { tenantMax: 1, preemptionsPerMinute: 0 })
        await a.exchange([enter('1', { tenant: 'one' })])
        const view = await a.exchange([enter('2', { tenant: 'one', priority: 5 }), enter('3', { tenant: 'two' })])
        assert.deepEqual(statesOf(view), { 1: 'held', 3: 'held' })
        assert.deepEqual(view.waiting, [{ claim: '2', position: 1, isCapped: true }])
        const behind = await a.exchange([enter('4', { tenant: 'three' })])
        assert.deepEqual(placesOf(behind), { 2: 1, 4: 1 })
        assert.deepEqual(statesOf(await a.exchange([end('1')])), { 2: 'held', 3: 'held' })
      })
    },
    {
      name: 'gives so many claims a sandbox beyond the capacity, whose places go to nobody',
      run: exam(async ({ member }) => {
        const a = await member('a', undefined, { preemptionsPerMinute: 0 })
        await a.exchange([enter('1'), enter('2'), enter('3'), enter('4')])
        const view = await a.exchange([
          { type: 'go-cold', claim: '4' },
          { type: 'go-cold', claim: '3' }
        ])
        assert.deepEqual(statesOf(view), { 1: 'held', 2: 'held', 4: 'cold' })
        assert.deepEqual(placesOf(view), { 3: 1 })
        assert.deepEqual([view.pool.held, view.pool.cold], [2, 1])
        assert.deepEqual(placesOf(await a.exchange([end('4')])), { 3: 1 })
      })
    },
    {
      name: 'recalls what another member keeps ready before it takes anybody’s sandbox',
      run: exam(async ({ member, another }) => {
        const a = await member('a')
        const b = await member('b', await another())
        await a.exchange([enter('low', { priority: 0 })])
        await b.exchange([], { wanted: 1 })
        await b.exchange([], stock(1))
        assert.deepEqual(placesOf(await a.exchange([enter('high', { priority: 3 })])), { high: 1 })
        const recalled = await b.exchange([], stock(1))
        assert.equal(recalled.recalled, 1)
        // It is on its way, so that nobody of b's gets it.
        assert.deepEqual(placesOf(await b.exchange([enter('mine', { priority: 0 })], stock(0, 0, 1))), { mine: 2 })
        await b.exchange([], stock(0))
        assert.deepEqual(statesOf(await a.exchange()), { low: 'held', high: 'held' })
      })
    },
    {
      name: 'wants the place of the claim of lowest standing, of strictly lower priority, that was idle for longest',
      run: exam(async ({ member, another, pass }) => {
        const a = await member('a', undefined, { capacity: 4 })
        const b = await member('b', await another(), { capacity: 4 })
        await a.exchange([enter('same'), enter('idle', { priority: 0 }), enter('busy', { priority: 0 })])
        await a.exchange([enter('never', { priority: 0, preemptible: false })])
        pass(1)
        await a.exchange([{ type: 'use', claim: 'busy' }])
        await b.exchange([enter('wants')])
        assert.deepEqual(statesOf(await a.exchange()), { same: 'held', idle: 'wanted', busy: 'held', never: 'held' })
        // It waits for that one, and takes no other.
        assert.deepEqual(placesOf(await b.exchange()), { wants: 1 })
        assert.equal(statesOf(await a.exchange())['busy'], 'held')
        await a.exchange([enter('again', { priority: 0, creditMs: 60_000 }), end('idle')])
        assert.deepEqual(statesOf(await b.exchange()), { wants: 'held' })
        assert.deepEqual(placesOf(await a.exchange()), { again: 1 })
      })
    },
    {
      name: 'takes no claim of the same priority, however long another has waited',
      run: exam(async ({ member, pass }) => {
        const a = await member('a')
        await a.exchange([enter('1'), enter('2')])
        await a.exchange([enter('3')])
        pass(3_600_000)
        assert.deepEqual(statesOf(await a.exchange()), { 1: 'held', 2: 'held' })
      })
    },
    {
      name: 'lets one that cannot be saved go on, in peace for a while, and tries the next, within the budget of a minute',
      run: exam(async ({ member, pass }) => {
        const a = await member('a', undefined, { capacity: 3 })
        await a.exchange(['1', '2', '3'].map((claim) => enter(claim, { priority: 0 })))
        assert.deepEqual(statesOf(await a.exchange([enter('wants')])), { 1: 'wanted', 2: 'held', 3: 'held' })
        assert.deepEqual(statesOf(await a.exchange([{ type: 'keep', claim: '1' }])), {
          1: 'held',
          2: 'wanted',
          3: 'held'
        })
        // The budget is spent.
        assert.deepEqual(statesOf(await a.exchange([{ type: 'keep', claim: '2' }])), {
          1: 'held',
          2: 'held',
          3: 'held'
        })
        pass(RULES.cooldownMs)
        assert.deepEqual(statesOf(await a.exchange()), { 1: 'held', 2: 'held', 3: 'held' })
        for (let passed = 0; passed < 60_000; passed += LEASE_MS / 2) {
          pass(LEASE_MS / 2)
          await a.exchange([{ type: 'use', claim: '1' }])
        }
        // Both have had their peace: it is the turn of the one that was idle for longest.
        assert.deepEqual(statesOf(await a.exchange()), { 1: 'held', 2: 'wanted', 3: 'held' })
      })
    },
    {
      name: 'leaves a claim alone after its grant for as long as it asked',
      run: exam(async ({ member, pass }) => {
        const a = await member('a', undefined, { capacity: 1 })
        await a.exchange([enter('1', { priority: 0, shieldMs: 2_000 })])
        pass(1_999)
        assert.deepEqual(statesOf(await a.exchange([enter('2')])), { 1: 'held' })
        pass(1)
        assert.deepEqual(statesOf(await a.exchange()), { 1: 'wanted' })
      })
    },
    {
      name: 'gives up a member at the end of its lease, with all that it has, and not before',
      run: exam(async ({ member, another, pass }) => {
        const a = await member('a')
        const b = await member('b', await another())
        await a.exchange([enter('1'), enter('2'), enter('3')])
        pass(1)
        assert.deepEqual(placesOf(await b.exchange([enter('4')])), { 4: 2 })
        pass(LEASE_MS - 2)
        assert.deepEqual(placesOf(await b.exchange()), { 4: 2 })
        pass(1)
        const view = await b.exchange([enter('5')])
        assert.deepEqual([statesOf(view), view.pool.members], [{ 4: 'held', 5: 'held' }, 1])
        assert.deepEqual(await a.say(), { outcome: 'lapsed' })
      })
    },
    {
      name: 'takes up what a member holds that was given up, though it be beyond the capacity, and grants nothing then',
      run: exam(async ({ member, another, pass }) => {
        const a = await member('a')
        const b = await member('b', await another())
        const fence = fenceOf(await a.exchange([enter('1')]), '1')
        pass(LEASE_MS)
        await b.exchange([enter('2'), enter('3')])
        const { type: _, ...draft } = enter('1') as ClaimDraft & { readonly type: 'enter' }
        const back = await a.exchange([{ type: 'adopt', ...draft, fence, cold: false }, enter('4')], { kind: 'join' })
        assert.deepEqual(back.held, [{ claim: '1', fence, state: 'held' }])
        assert.deepEqual([back.pool.held, placesOf(back)], [3, { 4: 1 }])
        await b.exchange([end('2')])
        assert.deepEqual(placesOf(await a.exchange()), { 4: 1 })
        await b.exchange([end('3')])
        assert.deepEqual(statesOf(await a.exchange()), { 1: 'held', 4: 'held' })
      })
    },
    {
      name: 'forgets a member that leaves, and one that joins again',
      run: exam(async ({ member, another }) => {
        const a = await member('a')
        const b = await member('b', await another())
        await a.exchange([enter('1'), enter('2')])
        await b.exchange([enter('3'), enter('4')])
        assert.deepEqual((await a.exchange([], { kind: 'join' })).held, [])
        assert.deepEqual(statesOf(await b.exchange()), { 3: 'held', 4: 'held' })
        assert.deepEqual(await b.say([], { kind: 'leave' }), { outcome: 'lapsed' })
        assert.deepEqual((await a.exchange()).pool, {
          members: 1,
          stock: 0,
          held: 0,
          cold: 0,
          queued: 0,
          oldestWaitMs: 0
        })
      })
    },
    {
      name: 'gives a place that is wanted to the one who wanted it, though others are ahead by waiting',
      run: exam(async ({ member }) => {
        const a = await member('a', undefined, { capacity: 1 })
        await a.exchange([enter('victim')])
        await a.exchange([enter('patient', { creditMs: 60_000 })])
        assert.deepEqual(statesOf(await a.exchange([enter('high', { priority: 2 })])), { victim: 'wanted' })
        assert.deepEqual(statesOf(await a.exchange([end('victim')])), { high: 'held' })
      })
    },
    {
      name: 'does nothing to the claims of another member',
      run: exam(async ({ member, another }) => {
        const a = await member('a')
        const b = await member('b', await another())
        await a.exchange([enter('1'), enter('2'), enter('3')])
        await b.exchange([end('1'), end('3'), { type: 'go-cold', claim: '3' }, enter('1')])
        const view = await a.exchange()
        assert.deepEqual([statesOf(view), placesOf(view)], [{ 1: 'held', 2: 'held' }, { 3: 1 }])
      })
    },
    {
      name: 'keeps pools and hostile names apart',
      run: exam(async ({ store, pool, member }) => {
        const a = await member('a')
        await a.exchange([enter('1', { tenant: 'a:b{c}%|,' }), enter('2')])
        const other: PoolExchange = {
          member: 'm:x',
          sequence: 1,
          leaseMs: LEASE_MS,
          kind: 'join',
          rules: RULES,
          stock: none,
          wanted: 0,
          commands: [enter('q:1', { tenant: '' })]
        }
        await assert.rejects(store.exchange(`${pool}}:x`, other), { code: 'INVALID_OPTIONS' })
        const view = await store.exchange(`${pool}}:x`, { ...other, commands: [enter('q:1')] })
        assert.ok(view.outcome === 'exchanged')
        assert.deepEqual(statesOf(view), { 'q:1': 'held' })
      })
    },
    {
      name: 'refuses what is not an exchange, and changes nothing',
      run: exam(async ({ store, pool, member }) => {
        const a = await member('a')
        const before = await a.exchange([enter('1')])
        const good: PoolExchange = {
          member: 'x',
          sequence: 1,
          leaseMs: LEASE_MS,
          kind: 'join',
          rules: RULES,
          stock: none,
          wanted: 0,
          commands: []
        }
        const bad: readonly object[] = [
          { member: 'line\nfeed' },
          { sequence: 0 },
          { rules: { ...RULES, capacity: 1_001 } },
          { stock: { ...none, ready: -1 } },
          { commands: [{ type: 'end', claim: 'c\u0000' }] },
          { commands: [{ ...enter('c'), priority: 10 }] },
          { commands: Array.from({ length: 501 }, () => end('c')) },
          { extra: 1 }
        ]
        for (const wrong of bad) {
          await assert.rejects(store.exchange(pool, { ...good, ...wrong }), { code: 'INVALID_OPTIONS' })
        }
        assert.deepEqual(await a.exchange(), before)
      })
    }
  ]
}
