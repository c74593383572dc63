import {
  type Backoff,
  backoffMs,
  hours,
  minutes,
  type Platform,
  parseOptions,
  reporter,
  seconds
} from '@enablement/core'
import { createDueClaims, type Duty, type DutyRun, type HeldRow } from '@enablement/core/schedule'
import type { Sql, SqlDatabase } from '@enablement/core/sql'
import { z } from 'zod'
import { MeteringError, storeFailure } from '../metering-error.ts'
import { storeNow } from '../store-clock.ts'
import type { RecordedUsage, UsageFeed } from '../usage/usage-feed.ts'
import type { ExportEvent } from './export-event.ts'
import {
  countRefusals,
  deleteRefusal,
  type ExportPlace,
  insertExport,
  insertRefusals,
  movePlace,
  placeOf,
  type RefusedUsage,
  readPlace,
  readRefusals
} from './export-rows.ts'
import { POISON_ATTEMPTS, type SendOutcome, type UsageSink } from './usage-sink.ts'

/** An export of recorded usage. */
export interface UsageExport {
  /** Sends what was recorded; for core's `startWorker`. Any number of processes may: one at a time does. */
  readonly duties: readonly Duty[]
  /** How far it has come. Throws `STORE_FAILED`. */
  state(): Promise<{
    /** All up to here is there, or set aside. */
    readonly position: number
    /** The last position of the ledger that can be read. */
    readonly end: number
    /** Counted up to 10,000. */
    readonly setAside: number
  }>
  /** What the target does not take, by position; 100 unless given, at most 1,000. Throws `STORE_FAILED`. */
  setAside(options?: { readonly after?: number; readonly limit?: number }): Promise<readonly RefusedUsage[]>
  /**
   * Sends one that is set aside again, now. Where it is `maybe-exported`, see first whether the target has it: it may count
   * it twice. Throws `EXPORT_FAILED`, `EXPORT_UNAUTHORIZED` and `STORE_FAILED`.
   */
  resend(
    position: number
  ): Promise<{ readonly outcome: 'sent' | 'absent' } | { readonly outcome: 'refused'; readonly reason: string }>
  /** Forgets one that is set aside. Throws `STORE_FAILED`. */
  drop(position: number): Promise<{ readonly outcome: 'dropped' | 'absent' }>
}

/** What an export is made of. */
export interface UsageExportParts {
  readonly db: SqlDatabase
  readonly feed: UsageFeed
  readonly name: string
  readonly begin: 'with-all' | 'with-new'
  readonly sink: UsageSink
  /** Events that are sent before the place is stored. */
  readonly batchMax: number
  /** For how long the target knows an identifier again. */
  readonly identifierMs: number
  readonly observe: ((event: ExportEvent) => void) | undefined
  readonly platform: Platform
}

/** No batch is larger: one that was begun is read again as a whole, however large batches are by then. */
const BATCH_MAX = 1_000

/** How often the ledger is looked at when there was nothing new. */
const POLL_MS = seconds(5)

/** For how long sends are begun in one run, and until when another worker may take over. */
const BUDGET_MS = seconds(60)
const LEASE_MS = minutes(3)

const BACKOFF: Backoff = { jitter: 'equal', baseMs: 1_000, maxMs: 300_000 }
const RETRY_AFTER_MAX_MS = hours(1)

/** Events set aside. More of them is no poison but a wrong key or name, which would set aside all there is. */
const REFUSALS_MAX = 10_000

const listSchema: z.ZodType<{ readonly after?: number; readonly limit?: number }> = z.strictObject({
  after: z.int().min(0).exactOptional(),
  limit: z.int().min(1).max(1_000).exactOptional()
})

/** How a batch ended. */
interface Ending {
  readonly through: number
  readonly refused: readonly { readonly usage: RecordedUsage; readonly reason: string }[]
  readonly sent: number
  readonly failure: Extract<SendOutcome, { outcome: 'failed' }> | undefined
  /** Whether what is left may be there in part. */
  readonly mayBeThere: boolean
}

/**
 * Exports usage in the order of recording, at least once each, under one identifier: the place is stored after the target
 * has taken what lies before it. What is sent again is known there by its identifier; when that may be forgotten by then,
 * it is set aside as `maybe-exported`, because nobody could tell whether it is there.
 */
export function createUsageExport(parts: UsageExportParts): UsageExport {
  const { db, feed, name, begin, sink, batchMax, identifierMs, platform } = parts
  const report = reporter(parts.observe)
  const claims = createDueClaims(db.dialect, {
    table: 'metering_exports',
    key: 'name',
    columns: ['position', 'up_to', 'begun_at'],
    where: 'name = ?'
  })
  let isKnown = false

  async function guarded<T>(operation: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (error instanceof MeteringError) throw error
      throw storeFailure(operation, error, undefined) ?? error
    }
  }

  async function ensure(): Promise<void> {
    if (isKnown) return
    const place = await db.run(() => readPlace(name))
    if (place === undefined) {
      const position = begin === 'with-all' ? 0 : await feed.end()
      await db.run(() => insertExport(name, position, db.dialect.now))
    }
    isKnown = true
  }

  const nowOf = (): Sql<number> => storeNow(db.dialect)

  async function run({ signal }: { readonly signal: AbortSignal }): Promise<DutyRun> {
    await ensure()
    const { held, row, attempt, at, nextDueInMs } = await db.run(function* () {
      const now = yield* nowOf()
      const [claimed] = yield* claims.claim({ limit: 1, leaseMs: LEASE_MS, values: [name] })
      if (claimed !== undefined) {
        const { key, fence } = claimed
        return { held: { key, fence }, row: claimed.row, attempt: claimed.attempt, at: claimed.claimedAt }
      }
      const outlook = yield* claims.outlook({ at: now, values: [name] })
      return { at: now, nextDueInMs: outlook.nextDueInMs }
    })
    if (held === undefined || row === undefined) return { handled: 0, nextDueInMs }
    try {
      return await exportNext(held, placeOf(row), attempt, at, signal)
    } catch (error) {
      // The ledger or this table did not answer; the lease would end by itself, only later.
      const delayMs = delayOf(attempt, undefined)
      await db.run(() => claims.release([{ ...held, delayMs }])).catch(() => undefined)
      throw error
    }
  }

  async function exportNext(
    held: HeldRow,
    place: ExportPlace,
    attempt: number,
    at: number,
    signal: AbortSignal
  ): Promise<DutyRun> {
    const { position, upTo } = place
    const range = upTo === undefined ? { limit: batchMax } : { limit: BATCH_MAX, upTo }
    const events = await feed.read({ after: position, ...range }, { signal })
    const last = events.at(-1)
    if (last === undefined) {
      const next = upTo ?? position
      await db.run(function* () {
        if (next !== position)
          yield* movePlace(name, held.fence, { position: next, upTo: undefined, begunAt: undefined })
        yield* claims.advance([{ ...held, nextDueAt: at + POLL_MS }])
      })
      return { handled: 0, nextDueInMs: POLL_MS }
    }
    if (place.begunAt !== undefined && at - place.begunAt >= identifierMs) {
      const refused = events.map((usage) => ({ usage, reason: 'maybe-exported' }))
      const ending = { through: last.position, refused, sent: 0, failure: undefined, mayBeThere: false }
      return settle(held, place, attempt, events, ending)
    }
    // On record before the first send: after a crash nobody else could know that some may be there.
    const begun: ExportPlace = { position, upTo: last.position, begunAt: place.begunAt ?? at }
    if (!(await db.run(() => movePlace(name, held.fence, begun)))) return { handled: 0 }
    const outcomes = await sendWithin(events, attempt, signal)
    return settle(held, begun, attempt, events, endingOf(position, events, outcomes, attempt))
  }

  /** Sends until the budget is used up; the rest is for the next run. */
  async function sendWithin(
    events: readonly RecordedUsage[],
    attempt: number,
    signal: AbortSignal
  ): Promise<readonly SendOutcome[]> {
    const budget = new AbortController()
    const stop = (): void => budget.abort(signal.reason)
    const timer = platform.clock.startTimer(BUDGET_MS, () => budget.abort(), { background: true })
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
    try {
      return await sink.send(events, { signal: budget.signal, attempt })
    } finally {
      timer.cancel()
      signal.removeEventListener('abort', stop)
    }
  }

  async function settle(
    held: HeldRow,
    place: ExportPlace,
    attempt: number,
    events: readonly RecordedUsage[],
    ending: Ending
  ): Promise<DutyRun> {
    const { through, refused, sent, failure, mayBeThere } = ending
    const isWhole = through === events.at(-1)?.position
    const delayMs = failure === undefined ? 0 : delayOf(attempt, failure.retryAfterMs)
    const stored = await db.run(function* () {
      if (refused.length > 0) {
        const before = yield* countRefusals(name, REFUSALS_MAX)
        if (before + refused.length > REFUSALS_MAX) {
          yield* claims.release([{ ...held, delayMs: minutes(1), uncounted: true }])
          return { outcome: 'stopped', setAside: before } as const
        }
      }
      const moved = yield* movePlace(name, held.fence, {
        position: through,
        upTo: isWhole ? undefined : place.upTo,
        begunAt: isWhole || !mayBeThere ? undefined : place.begunAt
      })
      if (!moved) return { outcome: 'lost' } as const
      if (refused.length > 0) yield* insertRefusals(db.dialect, name, refused)
      // Attempts are counted for the first event that is left: with progress it is another one.
      if (failure !== undefined && through === place.position) yield* claims.release([{ ...held, delayMs }])
      else yield* claims.advance([{ ...held, nextDueAt: (yield* nowOf()) + delayMs }])
      return { outcome: 'moved' } as const
    })
    if (stored.outcome === 'stopped') {
      report({ type: 'export.stopped', exporter: name, setAside: stored.setAside })
      return { handled: 0, nextDueInMs: minutes(1) }
    }
    if (stored.outcome === 'lost') return { handled: 0 }
    if (sent > 0) report({ type: 'export.sent', exporter: name, events: sent, position: through })
    for (const { usage, reason } of refused) {
      const { tenant, subscription, transactionId } = usage
      report({ type: 'export.refused', exporter: name, tenant, subscription, transactionId, reason })
    }
    if (failure === undefined) return { handled: events.length }
    report({ type: 'export.failed', exporter: name, attempt, retryInMs: delayMs, error: failure.error })
    return { handled: 0, nextDueInMs: delayMs }
  }

  const delayOf = (attempt: number, retryAfterMs: number | undefined): number => {
    const asked = Math.min(retryAfterMs ?? 0, RETRY_AFTER_MAX_MS)
    return Math.ceil(asked + backoffMs(BACKOFF, attempt, BACKOFF.baseMs, platform.random))
  }

  const positionSchema: z.ZodType<{ readonly position: number }> = z.strictObject({ position: z.int().min(1) })

  return {
    duties: [{ name: `metering.export.${name}`, run }],
    state: () =>
      guarded('read the state of an export', async () => {
        const [place, setAside] = await db.run(function* () {
          return [yield* readPlace(name), yield* countRefusals(name, REFUSALS_MAX)] as const
        })
        return { position: place?.position ?? 0, end: await feed.end(), setAside }
      }),
    async setAside(given = {}) {
      const { after = 0, limit = 100 } = parseOptions(listSchema, 'export.setAside', given)
      return guarded('list what is set aside', () => db.run(() => readRefusals(name, after, limit)))
    },
    async resend(given) {
      const { position } = parseOptions(positionSchema, 'export.resend', { position: given })
      return guarded('send what was set aside', async () => {
        const [refused] = await db.run(() => readRefusals(name, position - 1, 1))
        if (refused?.position !== position) return { outcome: 'absent' }
        const [usage] = await feed.read({ after: position - 1, upTo: position, limit: 1 })
        if (usage === undefined) return { outcome: 'absent' }
        const [ended] = await sendWithin([usage], 1, new AbortController().signal)
        if (ended?.outcome === 'refused') return { outcome: 'refused', reason: ended.reason }
        if (ended?.outcome === 'failed') throw ended.error
        if (ended?.outcome === 'unsent' || ended === undefined) {
          const message = `${name} did not take usage in time`
          throw new MeteringError('EXPORT_FAILED', message, {
            target: name,
            reason: 'too-slow',
            retryAfterMs: undefined
          })
        }
        await db.run(() => deleteRefusal(name, position))
        return { outcome: 'sent' }
      })
    },
    async drop(given) {
      const { position } = parseOptions(positionSchema, 'export.drop', { position: given })
      const isGone = await guarded('forget what was set aside', () => db.run(() => deleteRefusal(name, position)))
      return { outcome: isGone ? 'dropped' : 'absent' }
    }
  }
}

/**
 * How far a batch has come: up to the first event that failed. One that goes on to fail while others get through is set
 * aside, or it would hold up all that come after it for ever.
 */
function endingOf(
  position: number,
  events: readonly RecordedUsage[],
  outcomes: readonly SendOutcome[],
  attempt: number
): Ending {
  const othersGetThrough = outcomes.some(({ outcome }) => outcome === 'accepted')
  const refused: { usage: RecordedUsage; reason: string }[] = []
  let through = position
  let sent = 0
  for (const [at, usage] of events.entries()) {
    const ended: SendOutcome = outcomes[at] ?? { outcome: 'unsent' }
    const isPoison = ended.outcome === 'failed' && attempt >= POISON_ATTEMPTS && othersGetThrough
    if (ended.outcome === 'refused') refused.push({ usage, reason: ended.reason })
    else if (isPoison) refused.push({ usage, reason: 'failing' })
    else if (ended.outcome === 'failed' || ended.outcome === 'unsent') {
      const left = outcomes.slice(at)
      const failure = left.find((one) => one.outcome === 'failed')
      const mayBeThere = left.some((one) => one.outcome === 'accepted' || (one.outcome === 'failed' && one.mayBeThere))
      return { through, refused, sent, failure, mayBeThere }
    } else sent += 1
    through = usage.position
  }
  return { through, refused, sent, failure: undefined, mayBeThere: false }
}
