import type { Charge } from './charge.ts'
import { type QuotaStore, SPENDS_MAX, type SpendAnswer, type SpendGroup } from './quota-store.ts'
import type { Down, StoreGate } from './store-gate.ts'

/** Spends that wait to be sent, in all lanes. Beyond it callers are told at once: a longer line is no use to its last. */
export const WAITING_MAX = 100_000

/**
 * Spends of one tenant that wait, looked at with each batch that is begun: a tenant that floods, or whose part of the store
 * stands still, leaves three quarters of the places to the others.
 */
export const TENANT_WAITING_MAX = 25_000

/** Calls of one tenant that are under way at a store that has use for it: one is decided while the other is made or read. */
const CALLS_MAX = 2

/** So many that wait are worth two calls; fewer go together, for a call costs as much as some dozens of spends. */
const DIVIDED_MIN = 128

/** Spends of one batch at such a store: batches are not divided, and half of what waits is to go with each call. */
const PIPELINED_BATCH_MAX = 256

/** Lanes that are kept although nothing is in them, so that a busy tenant's is not made anew each time. */
const IDLE_LANES_MAX = 10_000

/** Takes what its caller's promise is to be resolved with, a rejecting thenable included. */
export type Resolve = (outcome: never) => void

/** Spends of one quota that are sent together, in plain arrays: one is added by every call. */
export class SpendBatch {
  readonly quota: Spender
  /** Asked a second time, and not a third: with corrected windows, or after leased units were given back. */
  readonly last: boolean
  /** What it draws on; set when it is sent. */
  charges: readonly Charge[] = []
  amounts: number[]
  keys: (string | undefined)[] | undefined
  resolves: (Resolve | undefined)[]
  /** Whether callers gave up before it was sent. Their places are empty until then, and count as waiting. */
  withdrawn = false
  sent = false
  /** Where it waits; set once it is there. */
  lane: Lane | undefined

  /** With its first spend: of many quotas each has one at a time, and an array that is made with one has room for one. */
  constructor(quota: Spender, last: boolean, amount: number, key: string | undefined, resolve: Resolve) {
    this.quota = quota
    this.last = last
    this.amounts = [amount]
    this.keys = key === undefined ? undefined : [key]
    this.resolves = [resolve]
  }

  /** The place of the spend in the batch, until it is sent. */
  add(amount: number, key: string | undefined, resolve: Resolve): number {
    const at = this.amounts.length
    this.amounts.push(amount)
    this.resolves.push(resolve)
    if (this.keys !== undefined) this.keys.push(key)
    else if (key !== undefined) {
      this.keys = Array.from<undefined>({ length: at })
      this.keys.push(key)
    }
    return at
  }

  /** Takes the withdrawn out, right before it is sent. */
  close(): void {
    this.sent = true
    if (!this.withdrawn) return
    const { resolves, keys } = this
    const stays = (_: unknown, at: number): boolean => resolves[at] !== undefined
    this.amounts = this.amounts.filter(stays)
    this.keys = keys?.filter(stays)
    this.resolves = resolves.filter(stays)
  }
}

/** A quota, as its lane sees it. */
export interface Spender {
  readonly tenant: string
  readonly scope: string
  readonly idempotencyMs: number
  /** What the batch draws on; undefined when the quota has answered it by itself. */
  chargesFor(batch: SpendBatch): readonly Charge[] | undefined
  answered(batch: SpendBatch, answers: readonly SpendAnswer[], elapsedMs: number): void
  unanswered(batch: SpendBatch, down: Down): void
}

interface Lane {
  readonly tenant: string
  /** Spends in the queue. */
  waiting: number
  queue: SpendBatch[]
  /** Calls under way. */
  inFlight: number
  scheduled: boolean
  readonly flush: () => void
}

/** A lane for every tenant. */
export interface SpendLanes {
  /** Spends of one batch. */
  readonly batchMax: number
  /** Spends that wait to be sent. */
  readonly waiting: number
  /** Those of a tenant. */
  waitingOf(tenant: string): number
  /** Puts a batch at the end of its tenant's lane. It may be added to until it is sent. */
  add(batch: SpendBatch): void
  /** A spend was added to a batch that waits. */
  count(batch: SpendBatch): void
  /** Resolves when nothing waits and nothing is in flight. */
  drained(): Promise<void>
}

/**
 * Gathers spends and sends them: what is asked within a tick in one call, and one call at a time for each tenant, while
 * the next one gathers. An idle lane sends at the end of the tick, with no timer in between.
 *
 * To a store that has use for it a second call goes while the first is under way. Where many wait and nothing is under way
 * each gets half of them: callers who were answered together come again together, so that client and store would take turns
 * for ever, and one of them always rest.
 */
export function spendLanes(store: QuotaStore, gate: StoreGate, monotonic: () => number): SpendLanes {
  const { pipelined } = store.supports
  const callsMax = pipelined ? CALLS_MAX : 1
  const lanes = new Map<string, Lane>()
  let waiting = 0
  let underWay = 0
  let drains: (() => void)[] = []

  const laneOf = (tenant: string): Lane => {
    let lane = lanes.get(tenant)
    if (lane === undefined) {
      const made: Lane = {
        tenant,
        waiting: 0,
        queue: [],
        inFlight: 0,
        scheduled: false,
        flush: () => void flush(made)
      }
      lane = made
      lanes.set(tenant, lane)
    }
    return lane
  }

  const schedule = (lane: Lane): void => {
    if (lane.inFlight === callsMax || lane.scheduled) return
    lane.scheduled = true
    underWay += 1
    queueMicrotask(lane.flush)
  }

  const idle = (lane: Lane): void => {
    underWay -= 1
    if (lane.queue.length > 0) schedule(lane)
    else if (lane.inFlight === 0 && lanes.size > IDLE_LANES_MAX) lanes.delete(lane.tenant)
    if (underWay > 0 || drains.length === 0) return
    for (const drained of drains) drained()
    drains = []
  }

  /** The batches at the front that go into one call; each fits by itself. */
  const take = (lane: Lane): SpendBatch[] => {
    const isDivided = pipelined && lane.inFlight === 0 && lane.waiting >= DIVIDED_MIN
    const most = Math.min(SPENDS_MAX, isDivided ? Math.ceil(lane.waiting / 2) : lane.waiting)
    let spends = 0
    let count = 0
    for (const batch of lane.queue) {
      spends += batch.amounts.length
      if (spends > most && count > 0) break
      count += 1
    }
    const taken = lane.queue.slice(0, count)
    lane.queue = lane.queue.slice(count)
    return taken
  }

  const flush = async (lane: Lane): Promise<void> => {
    lane.scheduled = false
    const taken = take(lane)
    lane.inFlight += 1
    if (lane.queue.length > 0) schedule(lane)
    const groups: SpendGroup[] = []
    const batches: SpendBatch[] = []
    for (const batch of taken) {
      waiting -= batch.amounts.length
      lane.waiting -= batch.amounts.length
      batch.close()
      if (batch.amounts.length === 0) continue
      const charges = chargesOrRejection(batch)
      if (charges === undefined) continue
      batches.push(batch)
      const { quota, amounts, keys } = batch
      const { scope, idempotencyMs } = quota
      groups.push(
        keys === undefined
          ? { scope, charges, amounts, idempotencyMs }
          : { scope, charges, amounts, keys, idempotencyMs }
      )
    }
    if (batches.length > 0) await send(lane.tenant, batches, groups)
    lane.inFlight -= 1
    idle(lane)
  }

  const send = async (tenant: string, batches: SpendBatch[], groups: readonly SpendGroup[]): Promise<void> => {
    const startedAt = monotonic()
    try {
      const asked = await gate.ask('consume from quotas', () => store.consume(tenant, groups))
      if (asked.outcome === 'down') {
        for (const batch of batches) batch.quota.unanswered(batch, asked)
        return
      }
      const elapsedMs = monotonic() - startedAt
      for (let at = 0; at < batches.length; at++) {
        const batch = batches[at] as SpendBatch
        const answers = asked.value[at]
        if (answers?.length !== batch.amounts.length) {
          throw new TypeError(`the quota store answered ${answers?.length} of ${batch.amounts.length} spends`)
        }
        batch.quota.answered(batch, answers, elapsedMs)
      }
    } catch (error) {
      // A bug in the store, or in what a lookup returned. Those who were answered already do not hear of it.
      for (const batch of batches) reject(batch, error)
    }
  }

  return {
    batchMax: pipelined ? PIPELINED_BATCH_MAX : SPENDS_MAX,
    get waiting() {
      return waiting
    },
    waitingOf: (tenant) => lanes.get(tenant)?.waiting ?? 0,
    add(batch) {
      const lane = laneOf(batch.quota.tenant)
      batch.lane = lane
      lane.queue.push(batch)
      schedule(lane)
    },
    count({ lane }) {
      waiting += 1
      if (lane !== undefined) lane.waiting += 1
    },
    drained: () => (underWay === 0 ? Promise.resolve() : new Promise((resolve) => drains.push(resolve)))
  }
}

function chargesOrRejection(batch: SpendBatch): readonly Charge[] | undefined {
  try {
    return batch.quota.chargesFor(batch)
  } catch (error) {
    reject(batch, error)
    return undefined
  }
}

function reject(batch: SpendBatch, error: unknown): void {
  const outcome = rejecting(error)
  for (const resolve of batch.resolves) resolve?.(outcome)
}

/**
 * What a promise is resolved with to reject it: a place in a batch is one function, not two. It counts as handled by
 * itself, for a caller who has given up takes no answer.
 */
function rejecting(error: unknown): never {
  const rejected = Promise.reject(error)
  rejected.catch(() => undefined)
  return rejected as never
}
