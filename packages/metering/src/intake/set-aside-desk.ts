import { CoreError, parseOptions } from '@enablement/core'
import { z } from 'zod'
import { judgeTime } from '../clock-skew/skew.ts'
import type { UsageIdentity } from '../event/usage-event.ts'
import { identifierSchema, usedAtSchema } from '../event/usage-event-schema.ts'
import type { SetAside, SetAsideDecision, SetAsidePlace, SetAsideUsage } from '../usage/set-aside.ts'
import type { UsageStore } from '../usage/usage-store.ts'
import type { UsageJudge } from './judgement.ts'

/** One page of events that are set aside, the oldest receipt first. */
export interface SetAsidePage {
  readonly events: readonly SetAsideUsage[]
  /** Give it as `after` for the next page; absent on the last one. */
  readonly next?: string
}

/** Which page. */
export interface SetAsidePageQuery {
  readonly tenant: string
  readonly after?: string
  /** 100 unless given, 1,000 at most. */
  readonly limit?: number
}

/** Whom it is decided about, and by whom, such as `operator:bo`. */
export interface SetAsideSettlement extends UsageIdentity {
  readonly by: string
}

/** What became of a decision. All but the first change nothing. */
export type SettlementOutcome =
  /** It is counted, under `at`, or discarded, or waits for a review now. */
  | {
      readonly outcome: 'settled'
      readonly as: 'counted'
      readonly at: number
      readonly lateness: 'on-time' | 'grace' | 'adjustment'
    }
  | { readonly outcome: 'settled'; readonly as: 'discarded' | 'review' }
  /** Its time is still further ahead than clocks may differ: wait, or say the time. */
  | { readonly outcome: 'still-ahead'; readonly driftMs: number }
  /** It is not set aside there: it was decided before, or never set aside. */
  | { readonly outcome: 'settled-before' }
  | { readonly outcome: 'unknown' }

/** Events whose time is too far ahead. */
export interface Quarantine {
  list(query: SetAsidePageQuery, options?: { readonly signal?: AbortSignal }): Promise<SetAsidePage>
  /**
   * Counts one as if it came now: under its own time once that has come, under the present where it is ahead by no more
   * than clocks may differ, or under `at` (epoch milliseconds, not ahead of the present) if somebody knows better. What
   * is too late by now goes to review.
   */
  release(
    settlement: SetAsideSettlement & { readonly at?: number },
    options?: { readonly signal?: AbortSignal }
  ): Promise<SettlementOutcome>
  /** It is never counted. Its identity stays taken. */
  discard(settlement: SetAsideSettlement, options?: { readonly signal?: AbortSignal }): Promise<SettlementOutcome>
}

/** Events that came too late for any bill. */
export interface Reviews {
  list(query: SetAsidePageQuery, options?: { readonly signal?: AbortSignal }): Promise<SetAsidePage>
  /**
   * `adjustment`: counted, and on the next invoice; `original-period`: counted in its period as if it had come in time, for
   * an invoice that is not closed or will be made again; `discard`: never counted.
   */
  resolve(
    settlement: SetAsideSettlement & { readonly as: 'adjustment' | 'original-period' | 'discard' },
    options?: { readonly signal?: AbortSignal }
  ): Promise<SettlementOutcome>
}

const PAGE_LIMIT = 100
const PAGE_LIMIT_MAX = 1_000

const pageSchema: z.ZodType<SetAsidePageQuery> = z.strictObject({
  tenant: identifierSchema,
  after: z.string().max(2_000).exactOptional(),
  limit: z.int().min(1).max(PAGE_LIMIT_MAX).exactOptional()
})

const settlement = {
  tenant: identifierSchema,
  subscription: identifierSchema,
  transactionId: identifierSchema,
  by: identifierSchema
}
const releaseSchema: z.ZodType<SetAsideSettlement & { readonly at?: number }> = z.strictObject({
  ...settlement,
  at: usedAtSchema.exactOptional()
})
const discardSchema: z.ZodType<SetAsideSettlement> = z.strictObject(settlement)
const resolveSchema: z.ZodType<SetAsideSettlement & { readonly as: 'adjustment' | 'original-period' | 'discard' }> =
  z.strictObject({ ...settlement, as: z.enum(['adjustment', 'original-period', 'discard']) })

const placeSchema = z.tuple([z.int().min(0), identifierSchema, identifierSchema])

type CallOptions = { readonly signal?: AbortSignal } | undefined

/** The two places where events wait for somebody, over one store. `ask` puts a store's failure into metering's terms. */
export function setAsideDesk(options: {
  readonly store: UsageStore
  readonly judge: UsageJudge
  readonly now: () => number
  readonly ask: <T>(operation: string, work: () => Promise<T>, options: CallOptions) => Promise<T>
  readonly onSettled: (usage: SetAsideUsage, outcome: SettlementOutcome) => void
}): { readonly quarantine: Quarantine; readonly reviews: Reviews } {
  const { store, judge, now, ask, onSettled } = options

  const list = async (reason: SetAside, query: SetAsidePageQuery, call: CallOptions): Promise<SetAsidePage> => {
    const { tenant, after, limit = PAGE_LIMIT } = parseOptions(pageSchema, `meter.${ROOMS[reason]}.list`, query)
    const place = after === undefined ? {} : { after: placeOf(reason, after) }
    // One more than asked for tells whether there is a next page.
    const found = await ask(
      'list usage',
      () => store.setAside({ tenant, reason, limit: limit + 1, ...place }, call),
      call
    )
    const events = found.slice(0, limit)
    const last = events.at(-1)
    return found.length > limit && last !== undefined ? { events, next: cursorOf(last) } : { events }
  }

  const settle = async (
    reason: SetAside,
    { tenant, subscription, transactionId, by }: SetAsideSettlement,
    call: CallOptions,
    choose: (usage: SetAsideUsage, decidedAt: number) => Choice
  ): Promise<SettlementOutcome> => {
    const identity = { tenant, subscription, transactionId }
    const found = await ask('find usage', () => store.find(identity, call), call)
    if (found.state === 'unknown') return { outcome: 'unknown' }
    if (found.state !== 'set-aside' || found.usage.reason !== reason) return { outcome: 'settled-before' }
    const decidedAt = now()
    const choice = choose(found.usage, decidedAt)
    if ('outcome' in choice) return choice
    const decision = { ...identity, reason, by, decidedAt, ...choice }
    const decided = await ask('settle usage', () => store.decide(decision, call), call)
    if (decided !== 'decided') return { outcome: decided === 'unknown' ? 'unknown' : 'settled-before' }
    const outcome: SettlementOutcome =
      choice.as === 'counted'
        ? { outcome: 'settled', as: 'counted', at: choice.at, lateness: choice.lateness }
        : { outcome: 'settled', as: choice.as }
    onSettled(found.usage, outcome)
    return outcome
  }

  /** As if it came now: judged by its time, and by the bill that it can still be part of. */
  const asOfNow = (usage: SetAsideUsage, given: number | undefined, decidedAt: number): Choice => {
    const time = judgeTime({ at: given ?? usage.at, receivedAt: decidedAt, consensusAt: decidedAt })
    if (time.outcome === 'quarantined') return { outcome: 'still-ahead', driftMs: time.driftMs }
    const { lateness, late } = judge.lateness({ ...usage, at: time.at }, decidedAt)
    if (late === undefined) return { as: 'counted', at: time.at, lateness: 'on-time' }
    const { period } = late
    if (lateness === 'manual-review') return { as: 'review', period }
    return { as: 'counted', at: time.at, lateness, period }
  }

  return {
    quarantine: {
      list: (query, call) => list('quarantine', query, call),
      async release(given, call) {
        const { at, ...checked } = parseOptions(releaseSchema, 'meter.quarantine.release', given)
        return settle('quarantine', checked, call, (usage, decidedAt) => asOfNow(usage, at, decidedAt))
      },
      async discard(given, call) {
        const checked = parseOptions(discardSchema, 'meter.quarantine.discard', given)
        return settle('quarantine', checked, call, () => ({ as: 'discarded' }))
      }
    },
    reviews: {
      list: (query, call) => list('review', query, call),
      async resolve(given, call) {
        const { as, ...checked } = parseOptions(resolveSchema, 'meter.reviews.resolve', given)
        return settle('review', checked, call, ({ at, period }) => {
          if (as === 'discard') return { as: 'discarded' }
          const lateness = as === 'adjustment' ? 'adjustment' : 'grace'
          return { as: 'counted', at, lateness, ...(period === undefined ? {} : { period }) }
        })
      }
    }
  }
}

const ROOMS = { quarantine: 'quarantine', review: 'reviews' } as const

type Distributed<T> = T extends unknown
  ? Omit<T, 'tenant' | 'subscription' | 'transactionId' | 'reason' | 'by' | 'decidedAt'>
  : never
type Choice = Distributed<SetAsideDecision> | { readonly outcome: 'still-ahead'; readonly driftMs: number }

function cursorOf({ receivedAt, subscription, transactionId }: SetAsidePlace): string {
  return JSON.stringify([receivedAt, subscription, transactionId])
}

function placeOf(reason: SetAside, cursor: string): SetAsidePlace {
  try {
    const [receivedAt, subscription, transactionId] = placeSchema.parse(JSON.parse(cursor))
    return { receivedAt, subscription, transactionId }
  } catch {
    const subject = `meter.${ROOMS[reason]}.list`
    const issue = { path: 'after', message: 'must be the `next` of a page' }
    throw new CoreError('INVALID_OPTIONS', `${subject} refused its options: after: ${issue.message}`, {
      subject,
      issues: [issue]
    })
  }
}
