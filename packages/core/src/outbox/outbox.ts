import { z } from 'zod'
import { createIdSource } from '../chance/uuid-v7.ts'
import { parseOptions } from '../failure/options.ts'
import { reporter } from '../failure/reporter.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import { type Backoff, backoffSchema } from '../resilience/backoff.ts'
import type { Duty } from '../schedule/duty.ts'
import type { Sql, SqlDatabase } from '../sql/sql-database.ts'
import { backlogOf } from './backlog.ts'
import { deadLettersOf, type OutboxEntry, type Removal, type Revival } from './dead-letters.ts'
import { deliveryDuty } from './delivery-duty.ts'
import { type DestinationBreaker, destinationBreakerSchema, destinationsOf } from './destinations.ts'
import { messageTable } from './message-table.ts'
import type { OutboxEvent } from './outbox-event.ts'
import { type OutboxHealth, outboxHealth } from './outbox-health.ts'
import { draftChecks, nameSchema, type OutboxDraft, type OutboxMessage, type OutboxRef } from './outbox-message.ts'
import { purgeDuty } from './purge-duty.ts'
import type { Settlement } from './settlement.ts'
import type { DeliveryOutcome } from './verdict.ts'

export interface OutboxOptions {
  /** A database that has taken `outboxSchema`. */
  readonly db: SqlDatabase
  /** Several outboxes may share a database, under different names of at most 200 characters. */
  readonly name: string
  /**
   * Hands a message to its receiver: at least once, with the same id in every attempt, outside of any transaction. What
   * it throws counts as `failed`, with the error's code as the reason, and a `Retry-After` that the error carries is
   * honoured. It must end soon after its signal aborts: nobody waits for it then, and the message may be attempted again.
   */
  readonly deliver: (message: OutboxMessage, options: { readonly signal: AbortSignal }) => Promise<DeliveryOutcome>
  /**
   * What hangs on settlements, as a part of the unit that settles the messages, a `function*` as any unit: receipts,
   * records. It hears, once committed, of each message that was delivered or dead-lettered exactly once for each time that
   * it was, and not of what another worker had taken over. As any unit it may be called again, and must touch nothing but
   * its statements.
   *
   * When it throws, nothing of the unit is written, and its messages are settled one by one. For which it throws five times
   * more, over some seconds, is dead-lettered without it, with the error's code as the reason; it was delivered, and
   * `revive` delivers it again.
   */
  readonly settled?: (settlements: readonly Settlement[]) => Sql<void>
  /** How long one attempt may take; 10,000 ms unless given, 1 ms to a day. */
  readonly attemptMs?: number
  /** Attempts in all, those whose worker died included; 20 unless given, at most 1,000. */
  readonly attemptsMax?: number
  /** No attempt begins later than this after the first could; a day unless given. The first one always does. */
  readonly ageMaxMs?: number
  /** Equal jitter from 1 s to an hour unless given. `decorrelated` is not for it: waits outlive processes. */
  readonly backoff?: Backoff
  /**
   * What a dead message does to the later ones of its key. `hold`, the default: they wait until it is revived or dropped,
   * since whoever gives a key is promised the order, and a message that was overtaken cannot be put back before the
   * others, while one that was held can be let go. `continue`: they go on without it.
   */
  readonly onDead?: 'hold' | 'continue'
  /** Deliveries at a time in this process; 64 unless given, at most 1,024. */
  readonly concurrency?: number
  /** Those to one destination, so that one that hangs leaves room for the others; half of `concurrency` unless given. */
  readonly destinationConcurrency?: number
  /** The circuit breaker of each destination. What it keeps back is not an attempt. */
  readonly breaker?: DestinationBreaker | 'off'
  /** A dead worker's messages are taken over after this; 30,000 ms unless given, 100 ms to a day. Extended while they run. */
  readonly leaseMs?: number
  /** Messages that wait or are dead, at most; beyond it puts throw `OVERLOADED`. 100,000 unless given. */
  readonly backlogMax?: number
  /** The largest payload; 262,144 bytes unless given, at most 16 MiB. */
  readonly payloadMaxBytes?: number
  /** How long delivered messages are kept, whole; 0 unless given, which removes them at once. At most a year. */
  readonly retentionMs?: number
  readonly platform?: Platform
  /** What it throws is dropped. */
  readonly observe?: (event: OutboxEvent) => void
}

/** Messages that are sent if, and only if, what they tell of was committed. */
export interface Outbox {
  readonly name: string
  /**
   * Puts a message as a part of the caller's unit: `yield* outbox.put(…)`. Call `worker.wake()` after the commit, or it is
   * delivered at the worker's next poll. Throws `INVALID_OPTIONS` when called, and `OVERLOADED` in the unit, before
   * anything is written, when the outbox is full.
   */
  put(draft: OutboxDraft): Sql<OutboxRef>
  /**
   * As `put` for one after the other, in one statement: up to 1,000 drafts with payloads of 16 MiB together. Answers in
   * the order of the drafts, which is that of their keys' messages. Where there is no room for all, none is put.
   */
  putAll(drafts: readonly OutboxDraft[]): Sql<readonly OutboxRef[]>
  /** For `startWorker`: delivers what is due, and removes what was kept for long enough. In any number of processes. */
  readonly duties: readonly Duty[]
  /**
   * Messages in a state, in the order they were put: 100 unless told otherwise, at most 1,000, after the sequence
   * `after`. Never payloads. Throws `INVALID_OPTIONS` and what the database throws.
   */
  list(page: {
    readonly state: OutboxEntry['state']
    readonly after?: number
    readonly limit?: number
  }): Promise<readonly OutboxEntry[]>
  /**
   * Lets a dead message be attempted again, as a part of a unit. One that holds its key keeps its place; one that others
   * of its key have gone past (`onDead: 'continue'`) comes after them, as if it had been put again under its id.
   */
  revive(id: string): Sql<Revival>
  /** Removes a message that is not being delivered, as a part of a unit; those that waited for it go on. */
  drop(id: string): Sql<Removal>
  /** Asks the store. It looks at every message that waits, so it is for once in some seconds. */
  health(): Promise<OutboxHealth>
}

const ATTEMPT_MS = 10_000
const ATTEMPTS_MAX = 20
const AGE_MAX_MS = 86_400_000
const BACKOFF: Backoff = { jitter: 'equal', baseMs: 1_000, maxMs: 3_600_000 }
const CONCURRENCY = 64
const LEASE_MS = 30_000
/** With the largest payloads 25 GB; a count of them takes some 10 ms. */
const BACKLOG_MAX = 100_000
/** As in Amazon SQS. What is larger belongs into a blob store, with a reference here. */
const PAYLOAD_MAX_BYTES = 262_144
const DAY_MS = 86_400_000
const YEAR_MS = 365 * DAY_MS
const LIST_DEFAULT = 100
const LIST_MAX = 1_000

const isFunction = (value: unknown): boolean => typeof value === 'function'
const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null

const outboxOptions: z.ZodType<OutboxOptions> = z
  .strictObject({
    db: z.custom<SqlDatabase>((value) => isObject(value) && 'run' in (value as object)),
    name: nameSchema,
    deliver: z.custom<OutboxOptions['deliver']>(isFunction, 'must be a function'),
    settled: z.custom<NonNullable<OutboxOptions['settled']>>(isFunction, 'must be a function').exactOptional(),
    attemptMs: z.number().min(1).max(DAY_MS).exactOptional(),
    attemptsMax: z.int().min(1).max(1_000).exactOptional(),
    ageMaxMs: z.number().min(1).max(YEAR_MS).exactOptional(),
    backoff: backoffSchema
      .refine(({ jitter }) => jitter !== 'decorrelated', { path: ['jitter'], message: 'must not be decorrelated' })
      .exactOptional(),
    onDead: z.enum(['hold', 'continue']).exactOptional(),
    concurrency: z.int().min(1).max(1_024).exactOptional(),
    destinationConcurrency: z.int().min(1).max(1_024).exactOptional(),
    breaker: destinationBreakerSchema.exactOptional(),
    leaseMs: z.int().min(100).max(DAY_MS).exactOptional(),
    backlogMax: z.int().min(1).max(10_000_000).exactOptional(),
    payloadMaxBytes: z.int().min(1).max(16_777_216).exactOptional(),
    retentionMs: z.int().min(0).max(YEAR_MS).exactOptional(),
    platform: z.custom<Platform>(isObject).exactOptional(),
    observe: z.custom<(event: OutboxEvent) => void>(isFunction, 'must be a function').exactOptional()
  })
  .refine(
    ({ concurrency = CONCURRENCY, destinationConcurrency: share }) => share === undefined || share <= concurrency,
    {
      path: ['destinationConcurrency'],
      message: 'must be at most concurrency'
    }
  )

const pageSchema: z.ZodType<Parameters<Outbox['list']>[0]> = z.strictObject({
  state: z.enum(['pending', 'dead', 'delivered']),
  after: z.int().min(0).exactOptional(),
  limit: z.int().min(1).max(LIST_MAX).exactOptional()
})

const idSchema: z.ZodType<{ readonly id: string }> = z.strictObject({ id: nameSchema })

/**
 * An outbox in the tables of `outboxSchema`. A message is delivered at least once after its unit was committed, and those
 * of one key in the order of their commits: a later one is not attempted before the earlier one was delivered, dropped,
 * or, with `onDead: 'continue'`, dead. On Postgres a unit that puts to a key therefore waits for others that did and have
 * not ended; put last, so that nobody waits for long.
 *
 * Throws `INVALID_OPTIONS`.
 */
export function createOutbox(options: OutboxOptions): Outbox {
  const parsed = parseOptions(outboxOptions, 'createOutbox', options)
  const { db, name, deliver, attemptMs = ATTEMPT_MS, attemptsMax = ATTEMPTS_MAX, ageMaxMs = AGE_MAX_MS } = parsed
  const { backoff = BACKOFF, onDead = 'hold', concurrency = CONCURRENCY, breaker = {}, leaseMs = LEASE_MS } = parsed
  const { destinationConcurrency = Math.ceil(concurrency / 2), backlogMax = BACKLOG_MAX, retentionMs = 0 } = parsed
  const { payloadMaxBytes = PAYLOAD_MAX_BYTES, platform = systemPlatform, observe, settled } = parsed
  const report = reporter<OutboxEvent>(observe)

  const table = messageTable(db.dialect, name)
  const backlog = backlogOf(name, backlogMax, platform.clock)
  const destinations = destinationsOf({
    share: destinationConcurrency,
    breaker,
    probeLeaseMs: attemptMs,
    platform,
    observe: report
  })
  const deadLetters = deadLettersOf(db.dialect, name, table)
  const limits = { attemptsMax, ageMaxMs, backoff }
  const [holdKey, retained] = [onDead === 'hold', retentionMs > 0]
  const common = { name, db, table, destinations, deliver, limits, platform, report, holdKey, retained, settled }
  const delivery = deliveryDuty({ ...common, concurrency, attemptMs, leaseMs })
  const hasPurge = retained || db.dialect.name === 'postgres'
  const checkDrafts = draftChecks(payloadMaxBytes)
  const checkId = (subject: string, id: string): string => parseOptions(idSchema, subject, { id }).id
  const nextId = createIdSource(platform)

  function* put(draft: OutboxDraft): Sql<OutboxRef> {
    yield* backlog.admit(1)
    return yield* table.put({ id: nextId(), draft })
  }

  function* putAll(drafts: readonly OutboxDraft[]): Sql<OutboxRef[]> {
    if (drafts.length === 0) return []
    yield* backlog.admit(drafts.length)
    return yield* table.putAll(drafts.map((draft) => ({ id: nextId(), draft })))
  }

  return {
    name,
    put: (draft) => put(checkDrafts.one(draft)),
    putAll: (drafts) => putAll(checkDrafts.all(drafts)),
    duties: [delivery, ...(hasPurge ? [purgeDuty(db, name, retentionMs, platform.clock)] : [])],
    async list(page) {
      const { state, after = 0, limit = LIST_DEFAULT } = parseOptions(pageSchema, 'outbox.list', page)
      return db.run(() => deadLetters.list({ state, after, limit }))
    },
    revive: (id) => deadLetters.revive(checkId('outbox.revive', id)),
    drop: (id) => deadLetters.drop(checkId('outbox.drop', id)),
    health: () => db.run(() => outboxHealth(db.dialect, name, { table, backlogMax, destinations }))
  }
}
