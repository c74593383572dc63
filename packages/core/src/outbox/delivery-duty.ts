import type { Platform } from '../platform.ts'
import { createTimeout } from '../resilience/timeout.ts'
import type { Duty, DutyRun, DutyRunOptions, DutyStatus } from '../schedule/duty.ts'
import type { SqlDatabase } from '../sql/sql-database.ts'
import { integerOf } from '../sql/statement.ts'
import { elapsedSince, type Reading, read } from '../time/reckoning.ts'
import { type Delivery, deliveryOf, heldRowOf, leasesOf, stop } from './delivery.ts'
import type { Destinations } from './destinations.ts'
import { type Answer, type Exchanged, exchangeOf } from './exchange.ts'
import { type LoneSettlements, loneSettlements } from './lone-settlements.ts'
import { type ClaimedMessage, type MessageTable, messageOf } from './message-table.ts'
import type { OutboxEvent } from './outbox-event.ts'
import type { OutboxMessage } from './outbox-message.ts'
import { hookFailed, type SettledHook } from './settlement.ts'
import { type DeliveryOutcome, judgementOn, type RetryLimits } from './verdict.ts'

/** What the duty is made from. */
export interface DeliveryDutyOptions {
  readonly name: string
  readonly db: SqlDatabase
  readonly table: MessageTable
  readonly destinations: Destinations
  readonly deliver: (message: OutboxMessage, options: { readonly signal: AbortSignal }) => Promise<DeliveryOutcome>
  readonly settled: SettledHook | undefined
  readonly limits: RetryLimits
  readonly concurrency: number
  readonly attemptMs: number
  readonly leaseMs: number
  readonly holdKey: boolean
  readonly retained: boolean
  readonly platform: Platform
  readonly report: (event: OutboxEvent) => void
}

/** How often at least a run with deliveries under way looks for what else is due. */
const LOOK_MS = 1_000
/** How often a busy run looks how much waits, and for messages that others died with: both look at all that is due. */
const SURVEY_MS = 5_000
const SUSPECT_MS = 1_000
/** Looking past full destinations is a look at what waits for them: it takes a tenth of the time at most. */
const PASSING_REST = 10
const PASSING_MIN_MS = 100
/** Between two attempts at a store that fails: long beside a round trip, short beside a lease. */
const STORE_PAUSE_MS = 250
const STORE_PAUSE_MAX_MS = 5_000

/** Workers that may die or hang over a message, one after the other, before it counts as what kills them. */
const DEATHS_MAX = 5

/** What one run knows. */
interface Session {
  readonly underWay: Map<string, Delivery>
  /** Of what ended and is not yet in the store. */
  answers: Answer[]
  /** Those that are settled one by one. */
  readonly lone: LoneSettlements
  handled: number
  /** Something has happened since the run last looked. */
  stirred: boolean
  endPause: (() => void) | undefined
}

/**
 * Delivers what is due. One unit at a time answers for what has ended and claims what can begin, so that a busy run has
 * few units for each message and a slow receiver keeps nothing else waiting; nothing is claimed that cannot begin. A run
 * lasts for as long as anything is due or under way, and is stirred by `wake`.
 */
export function deliveryDuty(options: DeliveryDutyOptions): Duty {
  const { name, db, destinations, deliver, limits, concurrency, attemptMs, leaseMs, platform, report } = options
  const { clock, random } = platform
  const exchange = exchangeOf({ ...options, dialect: db.dialect })
  const timeout = createTimeout({ timeoutMs: attemptMs, platform })
  const leases = leasesOf({
    clock,
    leaseMs,
    onLost: ({ message }, heldMs) => report({ type: 'outbox.lease-lost', ...aboutOf(message), heldMs })
  })
  const sessions = new Set<Session>()
  let status: DutyStatus | undefined
  let surveyAt = Number.NEGATIVE_INFINITY
  let suspectAt = Number.NEGATIVE_INFINITY
  let passingAt = Number.NEGATIVE_INFINITY

  const aboutOf = ({ key: id, destination }: ClaimedMessage) => ({ outbox: name, id, destination })

  const stir = (session: Session): void => {
    session.stirred = true
    session.endPause?.()
  }

  const attempt = async (session: Session, delivery: Delivery): Promise<void> => {
    const { message, controller, leave } = delivery
    const given = messageOf(message)
    const [end] = await Promise.allSettled([
      timeout.execute(({ signal }) => deliver(given, { signal }), { signal: controller.signal })
    ])
    const { stopped, askedAt, begunAt } = delivery
    const storeNow = message.claimedAt + Math.round(elapsedSince(begunAt, clock).ms)
    const lagMs = storeNow - given.putAt
    if (session.underWay.get(message.key) === delivery) session.underWay.delete(message.key)
    if (stopped === undefined) {
      const ageMs = storeNow - integerOf(message.row, 'budget_from_at')
      const about = { attempt: message.attempt, ageMs }
      const { evidence, verdict } = judgementOn(end, about, limits, { random, now: clock.now() })
      leave.end(evidence)
      session.answers.push({
        message,
        verdict,
        askedAt,
        lagMs,
        ...(end.status === 'rejected' ? { error: end.reason as unknown } : {})
      })
    } else {
      leave.end('ignored')
      session.answers.push({ message, verdict: { outcome: 'given-back', delayMs: 0 }, askedAt, lagMs })
    }
    stir(session)
  }

  const begin = (session: Session, message: ClaimedMessage, askedAt: Reading): void => {
    const lagMs = message.claimedAt - integerOf(message.row, 'put_at')
    if (message.deaths >= DEATHS_MAX || message.attempt > limits.attemptsMax) {
      const verdict = { outcome: 'dead', reason: 'UNANSWERED', cause: 'unanswered' } as const
      session.answers.push({ message, verdict, askedAt, lagMs })
      return
    }
    // The store may have taken so long to answer that the message is somebody else's by now.
    const leave = leases.isUsable(askedAt) ? destinations.begin(message.destination) : { retryInMs: 0 }
    if ('retryInMs' in leave) {
      const verdict = { outcome: 'given-back', delayMs: Math.ceil(leave.retryInMs) } as const
      session.answers.push({ message, verdict, askedAt, lagMs })
      return
    }
    // A store whose clock was set forward may give a worker what that still has.
    const former = session.underWay.get(message.key)
    if (former !== undefined) leases.lose(former)
    const delivery = deliveryOf(message, leave, askedAt, clock)
    session.underWay.set(message.key, delivery)
    void attempt(session, delivery)
  }

  const tell = (answers: readonly Answer[], settled: ReadonlySet<string>): number => {
    let told = 0
    for (const { message, verdict, lagMs, error } of answers) {
      if (verdict.outcome === 'given-back') continue
      told += 1
      const about = { ...aboutOf(message), attempt: message.attempt }
      if (!settled.has(message.key)) {
        report({ type: 'outbox.overtaken', ...about, fence: message.fence })
      } else if (verdict.outcome === 'delivered') {
        report({ type: 'outbox.delivered', ...about, lagMs })
      } else {
        const failure = { ...about, reason: verdict.reason, ...(error === undefined ? {} : { error }) }
        if (verdict.outcome === 'dead') report({ type: 'outbox.dead-lettered', ...failure, cause: verdict.cause })
        else if (verdict.outcome === 'again')
          report({ type: 'outbox.attempt-failed', ...failure, retryInMs: verdict.delayMs })
        else report({ type: 'outbox.postponed', ...about, reason: verdict.reason, retryInMs: verdict.delayMs })
      }
    }
    return told
  }

  const isIdle = ({ underWay, answers, lone }: Session): boolean =>
    underWay.size === 0 && answers.length === 0 && lone.size === 0

  /**
   * One unit with the store. What it throws has changed nothing here. Undefined when the hook threw: what it threw for is
   * then settled one by one.
   */
  const trade = async (session: Session, closing: boolean): Promise<Exchanged | undefined> => {
    const { underWay, answers, lone } = session
    session.answers = []
    const extending = leases.due(underWay.values())
    const askedAt = read(clock)
    const { monotonic: now } = askedAt
    const survey = (answers.length === 0 && isIdle(session)) || now >= surveyAt
    const suspect = (survey || now >= suspectAt) && ![...underWay.values()].some(({ message }) => message.deaths > 0)
    const lookPast = now >= passingAt
    const room = closing ? 0 : Math.max(0, concurrency - underWay.size - lone.size)
    const telling = { inside: false }
    let exchanged: Exchanged
    try {
      const wanted = { answers, extending: extending.map(heldRowOf), room, suspect, lookPast, outlook: survey }
      exchanged = await db.run(() => exchange.trade(wanted, telling))
    } catch (error) {
      const blamed = hookFailed(telling, error)
      session.answers.unshift(...(blamed ? lone.part(answers, error) : answers))
      if (blamed) return undefined
      throw error
    }
    const { settled, extended, claimed, clogged, outlook } = exchanged
    if (survey) surveyAt = now + SURVEY_MS
    if (outlook !== undefined) status = { lagMs: outlook.lagMs, setAside: outlook.dead }
    if (suspect) suspectAt = claimed.some(({ deaths }) => deaths > 0) ? now : now + SUSPECT_MS
    if (clogged && lookPast) {
      passingAt = clock.monotonic() + Math.max(PASSING_MIN_MS, (clock.monotonic() - now) * PASSING_REST)
    }
    for (const delivery of extending) {
      if (extended.has(delivery.message.key)) delivery.askedAt = askedAt
      else if (underWay.has(delivery.message.key)) leases.lose(delivery)
    }
    session.handled += tell(answers, settled)
    for (const message of claimed) begin(session, message, askedAt)
    return exchanged
  }

  const pause = (session: Session, delayMs: number): Promise<void> =>
    new Promise((resolve) => {
      if (session.stirred) return resolve()
      const end = (): void => {
        timer.cancel()
        session.endPause = undefined
        resolve()
      }
      const timer = clock.startTimer(delayMs, end, { background: true })
      session.endPause = end
    })

  const drive = async (session: Session, { signal, cutoff }: DutyRunOptions): Promise<DutyRun> => {
    let storePauseMs = STORE_PAUSE_MS
    for (;;) {
      session.stirred = false
      if (cutoff?.aborted === true) {
        for (const delivery of session.underWay.values()) stop(delivery, 'cut-off', cutoff.reason)
        session.lone.keep(() => false)
      }
      const closing = signal.aborted
      if (closing && isIdle(session)) return { handled: session.handled }
      let exchanged: Exchanged | undefined
      try {
        await session.lone.settle((answers, settled) => {
          session.handled += tell(answers, settled)
        })
        exchanged = await trade(session, closing)
        storePauseMs = STORE_PAUSE_MS
      } catch (error) {
        // What cannot be answered for in time falls due by itself, and the worker knows how to wait for a store.
        session.answers = session.answers.filter(({ askedAt }) => leases.isUsable(askedAt))
        session.lone.keep(({ askedAt }) => leases.isUsable(askedAt))
        if (isIdle(session)) throw error
        report({ type: 'outbox.store-failed', outbox: name, error, retryInMs: storePauseMs })
        session.stirred = false
        await pause(session, storePauseMs * (0.5 + random.float() / 2))
        storePauseMs = Math.min(STORE_PAUSE_MAX_MS, storePauseMs * 2)
        continue
      }
      if (exchanged === undefined) continue
      const { claimed, more, clogged, outlook } = exchanged
      if (session.stirred || session.answers.length > 0 || more) continue
      if (isIdle(session) && claimed.length === 0) {
        // A run ends with a look that has nothing else to do, which finds out what falls due next.
        if (outlook === undefined) continue
        return { handled: session.handled, nextDueInMs: outlook.nextDueInMs }
      }
      const lookAt = Math.min(clogged ? passingAt : Number.POSITIVE_INFINITY, session.lone.nextAt())
      await pause(session, Math.min(LOOK_MS, Math.max(1, lookAt - clock.monotonic())))
    }
  }

  return {
    name: `outbox.${name}.delivery`,
    async run(given) {
      const { signal, cutoff } = given
      const session: Session = {
        underWay: new Map(),
        answers: [],
        lone: loneSettlements({ name, db, exchange, leaseMs, clock, random, report }),
        handled: 0,
        stirred: false,
        endPause: undefined
      }
      const onAbort = (): void => stir(session)
      signal.addEventListener('abort', onAbort, { once: true })
      cutoff?.addEventListener('abort', onAbort, { once: true })
      const watching = leases.watch(session.underWay, onAbort)
      sessions.add(session)
      try {
        return await drive(session, given)
      } finally {
        sessions.delete(session)
        watching.stop()
        signal.removeEventListener('abort', onAbort)
        cutoff?.removeEventListener('abort', onAbort)
      }
    },
    wake() {
      for (const session of sessions) stir(session)
    },
    status: () => status
  }
}
