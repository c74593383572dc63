import { CoreError, sleep } from '@enablement/core'
import { createOutbox, type OutboxOptions, outboxSchema } from '@enablement/core/outbox'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { seededRandom, virtualClock, withStoreClock } from '@enablement/core/testing'

/** What happens to outboxes and their workers in the course of a plan. */
export interface Incident {
  /** How long after the one before. */
  readonly afterMs: number
  readonly kind: 'put' | 'kill' | 'cut' | 'lose-replies' | 'store-clock'
  /** Which worker, or for `put` which key; the last one is none. */
  readonly at: number
  /** Messages in the unit, or milliseconds. */
  readonly amount: number
}

export interface Plan {
  readonly seed: number
  readonly onDead: 'hold' | 'continue'
  readonly incidents: readonly Incident[]
}

/** An attempt as the receiver saw it. */
interface Attempt {
  readonly key: string | undefined
  /** The message's place among those of its key, by commit. */
  readonly place: number
  readonly id: string
  readonly sequence: number
  readonly fence: number
  readonly begunAt: number
  endedAt: number
  answer: 'delivered' | 'failed' | 'refused' | 'gone'
}

export interface History {
  /** How many messages of each key were committed; the empty one has those without. */
  readonly committed: Map<string, number>
  /** In the order in which they began. */
  readonly attempts: Attempt[]
  /** Places of dead messages by key, as listed at the end, and of those that wait behind one. */
  readonly dead: { readonly key: string; readonly place: number }[]
  readonly pending: { readonly key: string; readonly place: number }[]
}

const KEYS = ['a', 'b', 'c'] as const
const WORKERS = 3
const LEASE_MS = 1_000
/** Longer than any backoff, break or lease: when nothing has arrived for so long, nothing will. */
const SILENCE_MS = 10_000

/**
 * Puts, delivers, and lets the plan's incidents strike; then everything heals, and what can be delivered is. `broken`
 * stands between the outboxes and their database.
 */
export async function play(plan: Plan, broken: (db: SqlDatabase) => SqlDatabase = (db) => db): Promise<History> {
  const clock = virtualClock()
  const random = seededRandom(plan.seed)
  const platform = { clock, random }
  let storeAheadMs = 0
  const disk = withStoreClock(sqliteDatabase({ path: ':memory:' }), { ...clock, now: () => clock.now() + storeAheadMs })
  await migrate(disk, [outboxSchema])
  const history: History = { committed: new Map(), attempts: [], dead: [], pending: [] }
  let healed = false

  const receive = (isAlive: () => boolean): OutboxOptions['deliver'] => {
    return async (message, { signal }) => {
      const { id, key, sequence, fence, payload } = message
      const place = Number(payload)
      const attempt: Attempt = {
        key,
        place,
        id,
        sequence,
        fence,
        begunAt: clock.monotonic(),
        endedAt: Infinity,
        answer: 'gone'
      }
      history.attempts.push(attempt)
      const fate = random.float()
      const refused = place % 4 === 2
      await sleep(clock, Math.floor(random.float() * (fate < 0.1 && !healed ? 5_000 : 60)), { signal }).catch(() => {})
      attempt.endedAt = clock.monotonic()
      if (!isAlive() || signal.aborted) throw signal.reason ?? new Error('dead')
      if (!healed && fate > 0.75) {
        attempt.answer = 'failed'
        if (fate > 0.9) throw new Error('the receiver failed')
        return { outcome: 'failed', reason: 'HTTP_503', retryAfterMs: fate > 0.85 ? 300 : 0 }
      }
      const outcome = refused ? 'refused' : 'delivered'
      attempt.answer = outcome
      return { outcome }
    }
  }

  interface Machine {
    alive: boolean
    cutUntil: number
    repliesLost: number
    readonly close: AbortController
  }

  /** A database as a process sees it that loses its connection, replies, or its life. */
  const seenBy = (machine: Machine): SqlDatabase => ({
    ...disk,
    async run(work, options) {
      const unavailable = () => new CoreError('STORE_UNAVAILABLE', 'cut off', { store: 'test', operation: 'run' })
      await sleep(clock, random.float() * 3)
      if (!machine.alive || clock.monotonic() < machine.cutUntil) throw unavailable()
      const value = await broken(disk).run(work, options)
      if (!machine.alive) throw unavailable()
      if (machine.repliesLost > 0) {
        machine.repliesLost -= 1
        throw new CoreError('COMMIT_UNKNOWN', 'lost', { store: 'test' })
      }
      return value
    }
  })

  const outboxOn = (db: SqlDatabase, isAlive: () => boolean) =>
    createOutbox({
      db,
      name: 'mail',
      deliver: receive(isAlive),
      onDead: plan.onDead,
      attemptMs: 3_000,
      attemptsMax: 8,
      leaseMs: LEASE_MS,
      concurrency: 4,
      backoff: { jitter: 'full', baseMs: 50, maxMs: 2_000 },
      breaker: { window: { kind: 'consecutive', failures: 4 }, breakMs: 400, breakMaxMs: 2_000 },
      platform
    })

  const lives: Promise<void>[] = []
  const start = (): Machine => {
    const machine: Machine = { alive: true, cutUntil: 0, repliesLost: 0, close: new AbortController() }
    const outbox = outboxOn(seenBy(machine), () => machine.alive)
    const live = async (): Promise<void> => {
      while (machine.alive && !machine.close.signal.aborted) {
        await outbox.duties[0]?.run({ signal: machine.close.signal }).catch(() => undefined)
        await sleep(clock, 150)
      }
    }
    lives.push(live())
    return machine
  }

  const writer = outboxOn(broken(disk), () => true)
  const put = async (key: string | undefined, amount: number): Promise<void> => {
    const name = key ?? ''
    await broken(disk).run(function* () {
      const first = history.committed.get(name) ?? 0
      for (let at = 0; at < amount; at++) {
        yield* writer.put({ payload: String(first + at), ...(key === undefined ? {} : { key }) })
      }
    })
    history.committed.set(name, (history.committed.get(name) ?? 0) + amount)
  }

  const machines = Array.from({ length: WORKERS }, start)
  for (const { afterMs, kind, at, amount } of plan.incidents) {
    await clock.advance(afterMs)
    const machine = machines[at % WORKERS] as Machine
    if (kind === 'put') await put(KEYS[at], 1 + (amount % 6))
    else if (kind === 'cut') machine.cutUntil = clock.monotonic() + amount
    else if (kind === 'lose-replies') machine.repliesLost += 1
    else if (kind === 'store-clock') storeAheadMs += amount
    else {
      machine.alive = false
      machines[at % WORKERS] = start()
    }
  }
  healed = true
  const left = async () => {
    const entries = await writer.list({ state: 'pending' })
    return plan.onDead === 'hold' ? entries.filter(({ nextDueAt }) => nextDueAt !== undefined) : entries
  }
  const lastBegun = () => Math.max(quietSince, history.attempts.at(-1)?.begunAt ?? 0)
  const quietSince = clock.monotonic()
  while ((await left()).length > 0 && clock.monotonic() - lastBegun() < SILENCE_MS) await clock.advance(500)
  for (const machine of machines) machine.close.abort()
  let ended = false
  const ending = Promise.all(lives).finally(() => {
    ended = true
  })
  while (!ended) await clock.advance(500)
  await ending

  const placeOf = async (state: 'dead' | 'pending') => {
    const ids = new Map<string, number>()
    await disk.run(function* () {
      const found = yield { text: 'select id, payload_text from outbox_messages', values: [] }
      for (const row of found.rows) ids.set(String(row['id']), Number(row['payload_text']))
    })
    return (await writer.list({ state, limit: 1_000 })).map(({ id, key = '' }) => ({
      key,
      place: ids.get(id) as number
    }))
  }
  history.dead.push(...(await placeOf('dead')))
  history.pending.push(...(await placeOf('pending')))
  await disk.close()
  return history
}

/** What a history that must not be shows; empty for a good one. */
export function faultsIn(
  { committed, attempts, dead, pending }: History,
  onDead: Plan['onDead'],
  exclusive: boolean
): string[] {
  const faults: string[] = []
  const nameOf = (key: string | undefined, place: number): string => `${key ?? ''}${place}`
  const delivered = new Map<string, number>()
  const ids = new Map<string, string>()
  const fences = new Map<string, number>()
  const sequences = new Map<string, number>()
  const givenUp = new Set(dead.map(({ key, place }) => nameOf(key, place)))
  for (const attempt of attempts) {
    const { key, place, id, sequence, fence, begunAt, endedAt, answer } = attempt
    const name = nameOf(key, place)
    if ((ids.get(name) ?? id) !== id) faults.push(`${name} came under two ids`)
    ids.set(name, id)
    if (fence <= (fences.get(name) ?? 0)) faults.push(`${name} came under fence ${fence} after ${fences.get(name)}`)
    fences.set(name, fence)
    if (key !== undefined) {
      if (sequence < (sequences.get(key) ?? 0)) faults.push(`${name} has a sequence below one before it`)
      sequences.set(key, sequence)
      for (let before = 0; before < place; before++) {
        const earlier = nameOf(key, before)
        const doneAt = delivered.get(earlier) ?? (givenUp.has(earlier) && onDead === 'continue' ? 0 : Infinity)
        if (doneAt > begunAt) faults.push(`${name} overtook ${earlier}`)
      }
    }
    if (answer === 'delivered') delivered.set(name, Math.min(endedAt, delivered.get(name) ?? Infinity))
  }
  if (exclusive) {
    for (const [at, one] of attempts.entries()) {
      for (const other of attempts.slice(0, at)) {
        const same = one.key === undefined ? one.id === other.id : one.key === other.key
        if (same && other.endedAt > one.begunAt)
          faults.push(`${nameOf(one.key, one.place)} came while another was on its way`)
      }
    }
  }
  const waiting = new Set(pending.map(({ key, place }) => nameOf(key, place)))
  for (const [key, count] of committed) {
    for (let place = 0; place < count; place++) {
      const name = nameOf(key, place)
      const isHeld =
        waiting.has(name) && onDead === 'hold' && dead.some((one) => one.key === key && key !== '' && one.place < place)
      if (!delivered.has(name) && !givenUp.has(name) && !isHeld) faults.push(`${name} was lost`)
      if (waiting.has(name) && !isHeld) faults.push(`${name} still waits`)
    }
  }
  return faults
}
