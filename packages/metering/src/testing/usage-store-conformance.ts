import assert from 'node:assert/strict'
import type { ConformanceKit } from '@enablement/core/testing'
import type { DedupVerdict } from '../dedup/dedup.ts'
import { parseUsageEvent } from '../event/parse-usage-event.ts'
import { payloadHash } from '../event/payload-hash.ts'
import { QUANTITY_MAX, type UsageEvent } from '../event/usage-event.ts'
import type { UsageTotal } from '../usage/totals.ts'
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
const AT = Date.UTC(2026, 0, 15, 10, 30)

interface Exam extends UsageStoreSubject {
  readonly entry: (event: Partial<UsageEvent> & { readonly receivedAt?: number }) => UsageEntry
  readonly record: (...entries: readonly UsageEntry[]) => Promise<readonly DedupVerdict[]>
  readonly totals: (from: number, to: number, metric?: string) => Promise<readonly UsageTotal[]>
}

function exam(body: (exam: Exam) => Promise<void>): (create: CreateUsageStore) => Promise<void> {
  return async (create) => {
    await using subject = await create()
    const { store, tenant } = subject
    await body({
      ...subject,
      [Symbol.asyncDispose]: async () => {},
      entry({ receivedAt = AT + 5, ...event }) {
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
        const usage = (parsed as typeof parsed & { outcome: 'accepted' }).usage
        return { ...usage, payloadHash: payloadHash(usage), receivedAt }
      },
      record: (...entries) => store.record(entries),
      totals: (from, to, metric) =>
        store.totals({ tenant, subscription: 'sub', from, to, ...(metric === undefined ? {} : { metric }) })
    })
  }
}

const LONGEST = {
  tenant: widestIdentifier(7),
  subscription: widestIdentifier(11),
  transactionId: widestIdentifier(13),
  metric: widestIdentifier(17)
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
        assert.deepEqual(await totals(AT, AT + 2), [{ metric: 'tokens', quantity: 5n, events: 1 }])
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
        assert.deepEqual(await totals(AT, AT + 1), [{ metric: 'tokens', quantity: 6n, events: 3 }])
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
          { metric: 'm0', quantity: 86n, events: 86 },
          { metric: 'm1', quantity: 85n, events: 85 },
          { metric: 'm2', quantity: 85n, events: 85 }
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
        const { subscription, transactionId, metric } = LONGEST
        const tenant = `${own}${LONGEST.tenant}`.slice(0, 255)
        const long = entry({ tenant, subscription, transactionId, metric, quantity: 3 })
        assert.deepEqual((await record(long, entry({}))).length, 2)
        assert.deepEqual(await store.totals({ tenant, subscription, from: AT, to: AT + 1 }), [
          { metric, quantity: 3n, events: 1 }
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
            const expected = events === 0 ? [] : [{ metric: 'tokens', quantity, events }]
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
          { metric: 'Tokens', quantity: 4n, events: 1 },
          { metric: 'calls', quantity: 1n, events: 1 },
          { metric: 'nothing', quantity: 0n, events: 1 },
          { metric: 'tokens', quantity: 2n, events: 1 }
        ])
        assert.deepEqual(await totals(AT, AT + 1, 'calls'), [{ metric: 'calls', quantity: 1n, events: 1 }])
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
        assert.deepEqual(await totals(hour, hour + HOUR_MS), [{ metric: 'tokens', quantity, events: 1_050 }])
        assert.deepEqual(await totals(AT, AT + 1), [{ metric: 'tokens', quantity, events: 1_050 }])
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
            { metric: 'm0', quantity: 10n, events: 10 },
            { metric: 'm1', quantity: 10n, events: 10 }
          ])
        }
      })
    }
  ]
}
