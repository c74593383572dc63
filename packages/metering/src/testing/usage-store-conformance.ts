import assert from 'node:assert/strict'
import type { ConformanceKit } from '@enablement/core/testing'
import type { DedupVerdict } from '../dedup/repeat.ts'
import { parseUsageEvent } from '../event/parse-usage-event.ts'
import { payloadHash } from '../event/payload-hash.ts'
import { propertiesText } from '../event/properties.ts'
import { QUANTITY_MAX, type UsageEvent } from '../event/usage-event.ts'
import type { MetricDefinition } from '../usage/rollup.ts'
import type { SetAside, SetAsideDecision } from '../usage/set-aside.ts'
import type { LateUsage, TotalsQuery, UsageTotal } from '../usage/totals.ts'
import type { UsageEntry, UsageStore } from '../usage/usage-store.ts'
import { widestIdentifier } from './widest-identifier.ts'

/** A fresh usage store under examination. */
export interface UsageStoreSubject extends AsyncDisposable {
  readonly store: UsageStore
  /** A tenant of whom the store knows nothing, so that subjects may share a server. */
  readonly tenant: string
}

/** Makes a subject. */
export type CreateUsageStore = () => Promise<UsageStoreSubject>

const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000
const AT = Date.UTC(2026, 0, 15, 10, 30)

/** What of an entry is no part of the event that was sent. */
type EntryFacts = Pick<UsageEntry, 'receivedAt' | 'countedAt' | 'lateness' | 'latePeriodAt' | 'latePeriodEndsAt'> &
  Pick<UsageEntry, 'reportedAt' | 'unconfirmed' | 'rollup' | 'setAside'>

interface Exam extends UsageStoreSubject {
  readonly entry: (event: Partial<UsageEvent> & Partial<EntryFacts>) => UsageEntry
  readonly record: (...entries: readonly UsageEntry[]) => Promise<readonly DedupVerdict[]>
  readonly totals: (
    from: number,
    to: number,
    metric?: string,
    late?: TotalsQuery['late']
  ) => Promise<readonly UsageTotal[]>
  readonly adjustments: (receivedFrom: number, receivedTo: number) => Promise<readonly LateUsage[]>
  readonly decide: (
    transactionId: string,
    reason: SetAside,
    choice: Choice
  ) => Promise<'decided' | 'decided-before' | 'unknown'>
}

type Choice = { readonly as: 'discarded' } | Omit<Extract<SetAsideDecision, { as: 'counted' }>, keyof Undecided>
type Undecided = Pick<SetAsideDecision, 'tenant' | 'subscription' | 'transactionId' | 'reason' | 'by' | 'decidedAt'>

function exam(body: (exam: Exam) => Promise<void>): (create: CreateUsageStore) => Promise<void> {
  return async (create) => {
    await using subject = await create()
    const { store, tenant } = subject
    await body({
      ...subject,
      [Symbol.asyncDispose]: async () => {},
      entry(given) {
        const { receivedAt = AT + 5, lateness = 'on-time', rollup = { rollup: 'sum' }, ...rest } = given
        const { countedAt, latePeriodAt, latePeriodEndsAt, reportedAt, unconfirmed, setAside, ...event } = rest
        const parsed = parseUsageEvent({
          tenant,
          subscription: 'sub',
          transactionId: 't1',
          metric: 'tokens',
          quantity: 1,
          at: AT,
          ...event
        })
        assert.equal(parsed.outcome, 'accepted')
        const { properties, ...usage } = (parsed as typeof parsed & { outcome: 'accepted' }).usage
        const propertiesJson = propertiesText(properties)
        const facts = { countedAt, latePeriodAt, latePeriodEndsAt, reportedAt, unconfirmed, setAside }
        return {
          ...usage,
          propertiesJson,
          payloadHash: payloadHash({ ...usage, at: reportedAt ?? usage.at, propertiesJson }),
          receivedAt,
          lateness,
          rollup,
          ...(Object.fromEntries(Object.entries(facts).filter(([, fact]) => fact !== undefined)) as Partial<UsageEntry>)
        }
      },
      record: (...entries) => store.record(entries),
      totals: (from, to, metric, late = 'included') =>
        store.totals({ tenant, subscription: 'sub', from, to, late, ...(metric === undefined ? {} : { metric }) }),
      adjustments: (receivedFrom, receivedTo) =>
        store.adjustments({ tenant, subscription: 'sub', receivedFrom, receivedTo }),
      decide: (transactionId, reason, choice) =>
        store.decide({
          tenant,
          subscription: 'sub',
          transactionId,
          reason,
          by: 'operator:bo',
          decidedAt: AT + DAY_MS,
          ...choice
        })
    })
  }
}

const fresh: DedupVerdict = { outcome: 'new' }
const duplicate = (firstReceivedAt: number): DedupVerdict => ({ outcome: 'duplicate', firstReceivedAt })
const conflict = (firstReceivedAt: number): DedupVerdict => ({ outcome: 'conflict', firstReceivedAt })

/** The exam of a `UsageStore`. */
export const usageStoreConformance: ConformanceKit<CreateUsageStore, never> = {
  name: 'UsageStore',
  needs: [],
  cases: [
    {
      name: 'counts an event once and tells a repetition from a contradiction',
      run: exam(async ({ entry, record, totals }) => {
        assert.deepEqual(await record(entry({ quantity: 5, receivedAt: 100 })), [fresh])
        assert.deepEqual(await record(entry({ quantity: 5, receivedAt: 200 })), [duplicate(100)])
        assert.deepEqual(await record(entry({ quantity: 6, receivedAt: 300 })), [conflict(100)])
        assert.deepEqual(await record(entry({ quantity: 5, at: AT + 1, receivedAt: 300 })), [conflict(100)])
        assert.deepEqual(await record(entry({ quantity: 5, properties: { model: 'x' } })), [conflict(100)])
        assert.deepEqual(await totals(AT, AT + 2), [{ metric: 'tokens', rollup: 'sum', quantity: 5n, events: 1 }])
      })
    },
    {
      name: 'judges events of one call in their order',
      run: exam(async ({ entry, record, totals }) => {
        await record(entry({ transactionId: 'old', quantity: 1, receivedAt: 50 }))
        assert.deepEqual(
          await record(
            entry({ transactionId: 'b', quantity: 2, receivedAt: 100 }),
            entry({ transactionId: 'a', quantity: 3, receivedAt: 101 }),
            entry({ transactionId: 'b', quantity: 2, receivedAt: 102 }),
            entry({ transactionId: 'b', quantity: 9, receivedAt: 103 }),
            entry({ transactionId: 'old', quantity: 1, receivedAt: 104 }),
            entry({ transactionId: 'old', quantity: 7, receivedAt: 105 })
          ),
          [fresh, fresh, duplicate(100), conflict(100), duplicate(50), conflict(50)]
        )
        assert.deepEqual(await totals(AT, AT + 1), [{ metric: 'tokens', rollup: 'sum', quantity: 6n, events: 3 }])
      })
    },
    {
      name: 'takes calls of any size up to 256',
      run: exam(async ({ entry, record, totals }) => {
        let known = 0
        for (const size of [0, 1, 3, 5, 63, 85, 256]) {
          const entries = Array.from({ length: size }, (_, at) =>
            entry({ transactionId: `t${at}`, metric: `m${at % 3}` })
          )
          const verdicts = await record(...entries)
          assert.deepEqual(
            verdicts.map(({ outcome }) => outcome),
            entries.map((_, at) => (at < known ? 'duplicate' : 'new'))
          )
          known = Math.max(known, size)
        }
        assert.deepEqual(await totals(AT, AT + 1), [
          { metric: 'm0', rollup: 'sum', quantity: 86n, events: 86 },
          { metric: 'm1', rollup: 'sum', quantity: 85n, events: 85 },
          { metric: 'm2', rollup: 'sum', quantity: 85n, events: 85 }
        ])
      })
    },
    {
      name: 'takes the whole identity, whatever its parts are called',
      run: exam(async ({ entry, record, tenant }) => {
        const names = ['a', 'b', '","', '"]', "'; drop table", 'ä', 'a\u0308', '💶', '%', 'x'.repeat(255)]
        const entries = names.flatMap((one) => [
          entry({ tenant: `${tenant}${one}`.slice(-255) }),
          ...names.map((other) => entry({ subscription: one, transactionId: other }))
        ])
        // Pairs that are one text when the parts are joined, whatever joins them.
        for (const joint of [':', '/', ',', '","', '|', '%3A']) {
          entries.push(
            entry({ subscription: `a${joint}b`, transactionId: 'c' }),
            entry({ subscription: 'a', transactionId: `b${joint}c` })
          )
        }
        assert.deepEqual(
          await record(...entries),
          entries.map(() => fresh)
        )
      })
    },
    {
      name: 'takes identifiers of the greatest length and width together',
      run: exam(async ({ entry, record, store, tenant: own }) => {
        const tenant = widestIdentifier(7, own)
        const [subscription, transactionId, metric] = [11, 13, 17].map((seed) => widestIdentifier(seed)) as [
          string,
          string,
          string
        ]
        const long = entry({ tenant, subscription, transactionId, metric, quantity: 3 })
        assert.deepEqual((await record(long, entry({}))).length, 2)
        assert.deepEqual(await store.totals({ tenant, subscription, from: AT, to: AT + 1 }), [
          { metric, rollup: 'sum', quantity: 3n, events: 1 }
        ])
      })
    },
    {
      name: 'adds up a half-open range, by time of use, to the millisecond',
      run: exam(async ({ entry, record, totals }) => {
        const offsets = [-HOUR_MS * 3, -HOUR_MS, -1, 0, 1, HOUR_MS / 2 - 1, HOUR_MS / 2, HOUR_MS, HOUR_MS * 5 + 7]
        await record(
          ...offsets.map((offset, at) => entry({ transactionId: `t${at}`, quantity: 10 ** at, at: AT + offset }))
        )
        for (const from of offsets) {
          for (const to of offsets.filter((offset) => offset >= from)) {
            const within = offsets.map((offset, at) => (offset >= from && offset < to ? 10 ** at : 0))
            const quantity = BigInt(within.reduce((sum, next) => sum + next, 0))
            const events = within.filter((next) => next > 0).length
            const expected = events === 0 ? [] : [{ metric: 'tokens', rollup: 'sum', quantity, events }]
            assert.deepEqual(await totals(AT + from, AT + to), expected, `[${from}, ${to})`)
          }
        }
      })
    },
    {
      name: 'adds up each metric and subscription for itself',
      run: exam(async ({ entry, record, totals }) => {
        await record(
          entry({ transactionId: '1', metric: 'tokens', quantity: 2 }),
          entry({ transactionId: '2', metric: 'calls', quantity: 1 }),
          entry({ transactionId: '3', metric: 'Tokens', quantity: 4 }),
          entry({ transactionId: '4', metric: 'nothing', quantity: 0 }),
          entry({ transactionId: '1', subscription: 'other', quantity: 8 })
        )
        assert.deepEqual(await totals(AT, AT + 1), [
          { metric: 'Tokens', rollup: 'sum', quantity: 4n, events: 1 },
          { metric: 'calls', rollup: 'sum', quantity: 1n, events: 1 },
          { metric: 'nothing', rollup: 'sum', quantity: 0n, events: 1 },
          { metric: 'tokens', rollup: 'sum', quantity: 2n, events: 1 }
        ])
        assert.deepEqual(await totals(AT, AT + 1, 'calls'), [
          { metric: 'calls', rollup: 'sum', quantity: 1n, events: 1 }
        ])
        assert.deepEqual(await totals(AT, AT + 1, 'absent'), [])
      })
    },
    {
      name: 'is exact for sums that do not fit 64 bits',
      run: exam(async ({ entry, record, totals }) => {
        const calls = Array.from({ length: 5 }, (_, call) =>
          Array.from({ length: 210 }, (_, at) => entry({ transactionId: `${call}-${at}`, quantity: QUANTITY_MAX - 1 }))
        )
        for (const entries of calls) await record(...entries)
        const quantity = 1_050n * BigInt(QUANTITY_MAX - 1)
        const hour = Math.floor(AT / HOUR_MS) * HOUR_MS
        assert.deepEqual(await totals(hour, hour + HOUR_MS), [
          { metric: 'tokens', rollup: 'sum', quantity, events: 1_050 }
        ])
        assert.deepEqual(await totals(AT, AT + 1), [{ metric: 'tokens', rollup: 'sum', quantity, events: 1_050 }])
      })
    },
    {
      name: 'counts once what comes from many at the same time, in any order',
      run: exam(async ({ entry, record, totals }) => {
        const entries = Array.from({ length: 20 }, (_, at) => entry({ transactionId: `t${at}`, metric: `m${at % 2}` }))
        const calls = await Promise.all(
          Array.from({ length: 16 }, (_, at) => {
            const turned = [...entries.slice(at), ...entries.slice(0, at)]
            return record(...(at % 2 === 0 ? turned : turned.reverse()))
          })
        )
        const outcomes = calls.flat().map(({ outcome }) => outcome)
        assert.equal(outcomes.filter((outcome) => outcome === 'new').length, 20)
        assert.equal(outcomes.filter((outcome) => outcome === 'duplicate').length, 15 * 20)
        const hour = Math.floor(AT / HOUR_MS) * HOUR_MS
        for (const [from, to] of [
          [AT, AT + 1],
          [hour, hour + HOUR_MS]
        ] as const) {
          assert.deepEqual(await totals(from, to), [
            { metric: 'm0', rollup: 'sum', quantity: 10n, events: 10 },
            { metric: 'm1', rollup: 'sum', quantity: 10n, events: 10 }
          ])
        }
      })
    },
    {
      name: 'adds up under each rollup, whole hours and ragged ends alike',
      run: exam(async ({ entry, record, totals }) => {
        const uses = [
          { at: AT - HOUR_MS, quantity: 7 },
          { at: AT, quantity: 9 },
          { at: AT + 1, quantity: 2 },
          { at: AT + HOUR_MS, quantity: 4 },
          { at: AT + 2 * HOUR_MS, quantity: 3 }
        ]
        for (const rollup of ['max', 'latest'] as const) {
          for (const [place, use] of uses.entries()) {
            // The last ones first: what counts is when it was used.
            await record(
              entry({ ...use, transactionId: `${rollup}-${9 - place}`, metric: rollup, rollup: { rollup } }),
              entry({ ...use, transactionId: `${rollup}-sum-${place}`, metric: 'total' })
            )
          }
        }
        for (const [from, to] of [
          [AT - HOUR_MS, AT + 2 * HOUR_MS + 1],
          [AT, AT + 2],
          [AT + 1, AT + HOUR_MS + 1],
          [AT - 2 * DAY_MS, AT + 2 * DAY_MS]
        ] as const) {
          const within = uses.filter(({ at }) => at >= from && at < to)
          const events = within.length
          const sum = within.reduce((all, { quantity }) => all + quantity, 0)
          assert.deepEqual(await totals(from, to), [
            { metric: 'latest', rollup: 'latest', quantity: BigInt(within.at(-1)?.quantity ?? 0), events },
            {
              metric: 'max',
              rollup: 'max',
              quantity: BigInt(Math.max(...within.map(({ quantity }) => quantity))),
              events
            },
            { metric: 'total', rollup: 'sum', quantity: BigInt(2 * sum), events: 2 * events }
          ])
        }
      })
    },
    {
      name: 'takes of what was used last at one instant the one received last, then the larger one',
      run: exam(async ({ entry, record, totals }) => {
        const latest: MetricDefinition = { rollup: 'latest' }
        const use = (transactionId: string, quantity: number, receivedAt: number) =>
          entry({ transactionId, quantity, receivedAt, rollup: latest, metric: 'seats' })
        const hour = Math.floor(AT / HOUR_MS) * HOUR_MS
        const now = async (): Promise<bigint[]> => {
          const both = [await totals(hour, hour + HOUR_MS), await totals(AT, AT + 1)]
          return both.map(([total]) => total?.quantity ?? -1n)
        }
        await record(use('1', 5, 100))
        assert.deepEqual(await now(), [5n, 5n])
        await record(use('2', 9, 99))
        assert.deepEqual(await now(), [5n, 5n])
        await record(use('3', 4, 101), use('4', 6, 100))
        assert.deepEqual(await now(), [4n, 4n])
        await record(use('5', 3, 101))
        assert.deepEqual(await now(), [4n, 4n])
        await record(use('6', 8, 101), use('7', 7, 101))
        assert.deepEqual(await now(), [8n, 8n])
      })
    },
    {
      name: 'counts the different values of a property, over any range, and not the events without it',
      run: exam(async ({ entry, record, totals }) => {
        const rollup: MetricDefinition = { rollup: 'unique', property: 'user' }
        const values = ['a', 'b', 'a', 1, '1', true, null, { x: 1, y: 2 }, { y: 2, x: 1 }, ['a'], 'a ']
        const entries = values.map((user, at) =>
          entry({ transactionId: `t${at}`, at: AT + at * HOUR_MS, rollup, metric: 'users', properties: { user, at } })
        )
        await record(
          ...entries,
          entry({ transactionId: 'none', rollup, metric: 'users' }),
          entry({ transactionId: 'other', rollup, metric: 'users', properties: { User: 'z' } })
        )
        const counted = async (from: number, to: number) => {
          const [total] = await totals(AT + from * HOUR_MS, AT + to * HOUR_MS)
          return [total?.quantity, total?.events]
        }
        assert.deepEqual(await counted(0, 11), [9n, 11])
        assert.deepEqual(await counted(0, 3), [2n, 3])
        assert.deepEqual(await counted(7, 9), [1n, 2])
        assert.deepEqual(await counted(11, 12), [undefined, undefined])
      })
    },
    {
      name: 'keeps apart what was recorded under different rollups of a metric',
      run: exam(async ({ entry, record, totals }) => {
        await record(
          entry({ transactionId: '1', quantity: 5 }),
          entry({ transactionId: '2', quantity: 4, rollup: { rollup: 'max' } }),
          entry({ transactionId: '3', quantity: 3, rollup: { rollup: 'max' } })
        )
        assert.deepEqual(await totals(AT, AT + 1), [
          { metric: 'tokens', rollup: 'max', quantity: 4n, events: 2 },
          { metric: 'tokens', rollup: 'sum', quantity: 5n, events: 1 }
        ])
      })
    },
    {
      name: 'tells late usage from the rest, and what each range of receipts adds to its period',
      run: exam(async ({ entry, record, totals, adjustments }) => {
        const from = AT - 10 * DAY_MS
        const period = { latePeriodAt: from, latePeriodEndsAt: from + DAY_MS }
        const uses = { sum: [5, 3, 4, 2], max: [3, 5, 9, 7], latest: [5, 3, 9, 1], unique: [1, 1, 2, 1] } as const
        const expected = { sum: [5n, 7n, 2n], max: [5n, 4n, 0n], latest: [5n, 4n, -8n], unique: [1n, 1n, 0n] } as const
        for (const [name, [onTime, grace, first, second]] of Object.entries(uses)) {
          const rollup = (name === 'unique' ? { rollup: name, property: 'v' } : { rollup: name }) as MetricDefinition
          const use = (quantity: number, place: number, late: Partial<EntryFacts>) => {
            const at = from + place * HOUR_MS
            const transactionId = `${name}-${place}`
            return entry({ ...late, metric: name, rollup, transactionId, quantity, at, properties: { v: quantity } })
          }
          await record(
            use(onTime, name === 'latest' ? 1 : 0, { lateness: 'on-time', receivedAt: from }),
            use(grace, name === 'latest' ? 0 : 1, { lateness: 'grace', receivedAt: from, countedAt: AT + 9 }),
            use(first, 2, { lateness: 'adjustment', ...period, receivedAt: from, countedAt: AT }),
            use(second, 3, { lateness: 'adjustment', ...period, receivedAt: AT + 1 })
          )
        }
        const all = await totals(from, from + DAY_MS)
        const onBill = await totals(from, from + DAY_MS, undefined, 'excluded')
        const [early, late] = [await adjustments(AT, AT + 1), await adjustments(AT + 1, AT + 2)]
        for (const name of ['sum', 'max', 'latest', 'unique'] as const) {
          const of = <T extends { readonly metric: string }>(found: readonly T[]) =>
            found.filter(({ metric }) => metric === name)
          const [base, first, second] = expected[name]
          const onTime = name === 'sum' ? base + 3n : base
          assert.equal(of(onBill)[0]?.quantity, onTime, name)
          const line = { periodAt: from, metric: name, rollup: name, events: 1 }
          assert.deepEqual(of(early), [{ ...line, quantity: name === 'sum' ? 4n : first }], name)
          assert.deepEqual(of(late), [{ ...line, quantity: second }], name)
          const raised = [...of(early), ...of(late)].reduce((sum, { quantity }) => sum + quantity, onTime)
          assert.equal(of(all)[0]?.quantity, raised, name)
        }
        assert.deepEqual(await adjustments(AT + 2, AT + DAY_MS), [])
        const together = await adjustments(from, AT + DAY_MS)
        assert.deepEqual(
          together.map(({ metric, events }) => [metric, events]),
          [
            ['latest', 2],
            ['max', 2],
            ['sum', 2],
            ['unique', 2]
          ]
        )
      })
    },
    {
      name: 'takes an identity once, set aside or not, and counts it when somebody decides so',
      run: exam(async ({ entry, record, totals, decide, store, tenant, adjustments }) => {
        const ahead = entry({ transactionId: 'ahead', quantity: 7, setAside: 'quarantine', source: 'host-1' })
        const period = { from: AT - DAY_MS, to: AT }
        const old = entry({
          transactionId: 'old',
          quantity: 5,
          at: AT - 1,
          setAside: 'review',
          latePeriodAt: period.from,
          latePeriodEndsAt: period.to,
          properties: { model: 'small' }
        })
        assert.deepEqual(await record(ahead, old, ahead), [fresh, fresh, duplicate(AT + 5)])
        assert.deepEqual(await record({ ...ahead, payloadHash: 'other' }), [conflict(AT + 5)])
        assert.deepEqual(await totals(AT - DAY_MS, AT + DAY_MS), [])
        const page = { tenant, limit: 10 }
        const usage = { tenant, subscription: 'sub', metric: 'tokens', receivedAt: AT + 5 }
        assert.deepEqual(await store.setAside({ ...page, reason: 'quarantine' }), [
          {
            ...usage,
            transactionId: 'ahead',
            reason: 'quarantine',
            source: 'host-1',
            quantity: 7,
            at: AT,
            properties: {}
          }
        ])
        assert.deepEqual(await store.setAside({ ...page, reason: 'review' }), [
          {
            ...usage,
            transactionId: 'old',
            reason: 'review',
            quantity: 5,
            at: AT - 1,
            properties: { model: 'small' },
            period
          }
        ])
        assert.equal(await decide('ahead', 'review', { as: 'discarded' }), 'decided-before')
        assert.equal(await decide('absent', 'review', { as: 'discarded' }), 'unknown')
        const count: Choice = { as: 'counted', at: AT + 3, lateness: 'on-time' }
        assert.equal(await decide('ahead', 'quarantine', count), 'decided')
        assert.equal(await decide('ahead', 'quarantine', count), 'decided-before')
        assert.deepEqual(await totals(AT + 3, AT + 4), [{ metric: 'tokens', rollup: 'sum', quantity: 7n, events: 1 }])
        assert.equal(
          await decide('old', 'review', { as: 'counted', at: AT - 1, lateness: 'adjustment', period }),
          'decided'
        )
        assert.deepEqual(await adjustments(AT + DAY_MS, AT + DAY_MS + 1), [
          { periodAt: period.from, metric: 'tokens', rollup: 'sum', quantity: 5n, events: 1 }
        ])
        assert.deepEqual(await adjustments(AT, AT + DAY_MS), [])
        // Its payload is what was sent, whatever it is counted under.
        assert.deepEqual(await record(ahead, old), [duplicate(AT + 5), duplicate(AT + 5)])
        assert.deepEqual(await store.setAside({ ...page, reason: 'quarantine' }), [])
        const whole = await totals(AT - DAY_MS, AT + DAY_MS)
        assert.deepEqual(whole, [{ metric: 'tokens', rollup: 'sum', quantity: 12n, events: 2 }])
      })
    },
    {
      name: 'keeps what is discarded out of every total, and its identity taken',
      run: exam(async ({ entry, record, totals, decide, store, tenant }) => {
        const aside = entry({ setAside: 'quarantine', receivedAt: 9 })
        await record(aside)
        assert.equal(await decide('t1', 'quarantine', { as: 'discarded' }), 'decided')
        const identity = { tenant, subscription: 'sub', transactionId: 't1' }
        assert.deepEqual(await store.find(identity), { state: 'discarded' })
        assert.deepEqual(await store.find({ ...identity, transactionId: 't2' }), { state: 'unknown' })
        assert.deepEqual(await record(aside), [duplicate(9)])
        assert.deepEqual(await totals(AT, AT + 1), [])
        await record(entry({ transactionId: 't2' }))
        assert.deepEqual(await store.find({ ...identity, transactionId: 't2' }), { state: 'counted' })
      })
    },
    {
      name: 'carries one decision out, of any number at the same time',
      run: exam(async ({ entry, record, totals, decide }) => {
        await record(entry({ setAside: 'review' }))
        const choices: readonly Choice[] = [
          { as: 'counted', at: AT, lateness: 'grace' },
          { as: 'discarded' },
          { as: 'counted', at: AT, lateness: 'on-time' }
        ]
        const answers = await Promise.all(
          Array.from({ length: 12 }, (_, at) => decide('t1', 'review', choices[at % 3] as Choice))
        )
        assert.equal(answers.filter((answer) => answer === 'decided').length, 1)
        assert.equal(answers.filter((answer) => answer === 'decided-before').length, 11)
        const winner = choices[answers.indexOf('decided') % 3]
        assert.equal((await totals(AT, AT + 1)).length, winner?.as === 'counted' ? 1 : 0)
      })
    },
    {
      name: 'lists what is set aside page by page, in the order of receipt',
      run: exam(async ({ entry, record, store, tenant }) => {
        const entries = Array.from({ length: 7 }, (_, at) =>
          entry({ transactionId: `t${at}`, receivedAt: 100 + Math.floor(at / 3), setAside: 'quarantine' })
        )
        await record(...[...entries].reverse(), entry({ transactionId: 'r', setAside: 'review' }))
        const listed: string[] = []
        let after: { receivedAt: number; subscription: string; transactionId: string } | undefined
        for (;;) {
          const page = await store.setAside({
            tenant,
            reason: 'quarantine',
            limit: 2,
            ...(after === undefined ? {} : { after })
          })
          if (page.length === 0) break
          listed.push(...page.map(({ transactionId }) => transactionId))
          after = page.at(-1)
        }
        assert.deepEqual(
          listed,
          entries.map(({ transactionId }) => transactionId)
        )
      })
    }
  ]
}
