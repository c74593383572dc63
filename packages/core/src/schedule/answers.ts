import { isSuiteError } from '../failure/suite-error.ts'
import type { Platform } from '../platform.ts'
import type { Sql, SqlDatabase } from '../sql/sql-database.ts'
import { read } from '../time/reckoning.ts'
import { sleep } from '../time/sleep.ts'
import type { DueClaims } from './due-claims.ts'
import type { Hold, Holds } from './hold.ts'
import type { ScheduleEvent } from './schedule-event.ts'
import type { GivenUp, TaskRows } from './task-rows.ts'

/** How a claim ends. */
type Answer = { readonly hold: Hold } & (
  | { readonly kind: 'done' }
  /** Due again after `delayMs`. `uncounted`: the attempt does not count. */
  | { readonly kind: 'again'; readonly delayMs: number; readonly uncounted: boolean }
  | { readonly kind: 'given-up'; readonly givenUp: GivenUp }
)

/** Ends claims in the store. */
export interface Answers {
  /** Part of a unit: ends the claims as done, and gives the keys of those that were still this holder's. */
  done(holds: readonly Hold[]): Sql<Set<string>>
  /** Answers with the next unit, which is shared with whatever else is waiting. */
  give(answer: Answer): void
  /** Extends the leases that are due for it with the next unit. */
  extend(): void
}

/** Between two attempts at a store that fails: short beside a lease, long beside a round trip. */
const PAUSE_MS = 250
const PAUSE_MAX_MS = 5_000

/**
 * One unit at a time carries all answers and extensions that have gathered meanwhile: the busier the schedule, the fewer
 * units for each task. An answer that the store does not take is repeated for as long as its lease is good.
 */
export function createAnswers(options: {
  readonly db: SqlDatabase
  readonly claims: DueClaims
  readonly rows: TaskRows
  readonly holds: Holds
  readonly leaseMs: number
  readonly platform: Platform
  readonly report: (event: ScheduleEvent) => void
  /** The claim is over, whatever came of it. */
  readonly onEnded: (hold: Hold) => void
}): Answers {
  const { db, claims, rows, holds, leaseMs, platform, report, onEnded } = options
  const { clock, random } = platform
  let waiting: Answer[] = []
  let extending = false
  let busy = false

  function* done(ended: readonly Hold[]): Sql<Set<string>> {
    const held = yield* claims.finish(ended.filter(({ next }) => next === undefined))
    for (const key of yield* advance(ended)) held.add(key)
    return held
  }

  /** Sends recurrences on to their next instant. */
  function* advance(ended: readonly Hold[]): Sql<Set<string>> {
    const going = ended.flatMap(({ key, fence, next }) => (next === undefined ? [] : [{ key, fence, next }]))
    const held = yield* claims.advance(
      going.map(({ key, fence, next }) => ({ key, fence, nextDueAt: next.claimableAt }))
    )
    for (const { key, next } of going) if (held.has(key)) yield* rows.moveTo(key, next.dueAt)
    return held
  }

  function* giveUp(answers: readonly Extract<Answer, { kind: 'given-up' }>[]): Sql<Set<string>> {
    const parked = answers.filter(({ hold }) => hold.next === undefined)
    const held = yield* claims.advance(
      parked.map(({ hold }) => ({ key: hold.key, fence: hold.fence, nextDueAt: undefined }))
    )
    for (const key of yield* advance(answers.map(({ hold }) => hold))) held.add(key)
    for (const { hold, givenUp } of answers) {
      if (held.has(hold.key)) yield* rows.setAside(hold.key, hold.due.dueAt, givenUp)
    }
    return held
  }

  function* unit(
    answers: readonly Answer[],
    extended: readonly Hold[]
  ): Sql<{ ended: Set<string>; held: Set<string> }> {
    const of = <Kind extends Answer['kind']>(kind: Kind) =>
      answers.filter((answer): answer is Extract<Answer, { kind: Kind }> => answer.kind === kind)
    const ended = yield* done(of('done').map(({ hold }) => hold))
    for (const key of yield* giveUp(of('given-up'))) ended.add(key)
    const released = yield* claims.release(
      of('again').map(({ hold, delayMs, uncounted }) => ({ key: hold.key, fence: hold.fence, delayMs, uncounted }))
    )
    for (const key of released) ended.add(key)
    return { ended, held: yield* claims.extend(extended, leaseMs) }
  }

  const attempt = async (answers: readonly Answer[], extended: readonly Hold[]): Promise<void> => {
    const askedAt = read(clock)
    const { ended, held } = await db.run(() => unit(answers, extended))
    for (const hold of extended) {
      if (held.has(hold.key)) hold.askedAt = askedAt
      // What is no longer extended may have been ended meanwhile by its own unit, whose reply is still on its way.
      else if (hold.extended && holds.all.has(hold)) holds.lose(hold, 'taken')
    }
    for (const answer of answers) {
      const { hold } = answer
      if (!ended.has(hold.key)) {
        if (!hold.unknown) holds.lose(hold, 'taken')
      } else if (answer.kind === 'given-up') {
        const { attempts, reason } = answer.givenUp
        report({ type: 'task.set-aside', id: hold.due.id, task: hold.task.name, attempts, reason })
      }
      onEnded(hold)
    }
  }

  /** A lease that was lost may have come back to this process: of two claims on a row only the later one has a say. */
  const dropSuperseded = (given: readonly Answer[]): readonly Answer[] => {
    const latest = new Map<string, number>()
    for (const { key, fence } of holds.all) latest.set(key, Math.max(fence, latest.get(key) ?? 0))
    return given.filter(({ hold }) => {
      if (hold.fence >= (latest.get(hold.key) ?? 0)) return true
      onEnded(hold)
      return false
    })
  }

  const work = async (): Promise<void> => {
    let pauseMs = PAUSE_MS
    while (waiting.length > 0 || extending) {
      const answers = dropSuperseded(waiting)
      waiting = []
      extending = false
      const answered = new Set(answers.map(({ hold }) => hold))
      const extended = holds.due().filter((hold) => !answered.has(hold))
      try {
        await attempt(answers, extended)
        pauseMs = PAUSE_MS
      } catch (error) {
        report({ type: 'schedule.failed', operation: 'answer', error })
        if (isSuiteError(error, 'COMMIT_UNKNOWN')) for (const { hold } of answers) hold.unknown = true
        // What cannot be answered for in time falls due by itself, and nothing here may wait for it.
        for (const answer of answers) {
          if (holds.isUsable(answer.hold.askedAt)) waiting.push(answer)
          else onEnded(answer.hold)
        }
        await sleep(clock, pauseMs * (0.5 + random.float() / 2))
        pauseMs = Math.min(PAUSE_MAX_MS, pauseMs * 2)
      }
    }
  }

  const start = (): void => {
    if (busy) return
    busy = true
    // After the turn's microtasks: what ends in the same turn shares a unit.
    void Promise.resolve()
      .then(work)
      .finally(() => {
        busy = false
        if (waiting.length > 0 || extending) start()
      })
  }

  return {
    done,
    give(answer) {
      waiting.push(answer)
      start()
    },
    extend() {
      extending = true
      start()
    }
  }
}
