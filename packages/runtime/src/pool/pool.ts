import { createIdSource, parseOptions, reporter, systemPlatform, type Timer } from '@enablement/core'
import { RuntimeError } from '../runtime-error.ts'
import type { ClaimOptions, ClaimOutcome } from './claim.ts'
import { createClaimDesk } from './claim-desk.ts'
import { demandOf } from './demand.ts'
import { configurationOf } from './freshness.ts'
import { ownPoolState } from './own-pool-state.ts'
import { type Exchanged, poolLink } from './pool-link.ts'
import { type PoolMetrics, poolCounters } from './pool-metrics.ts'
import {
  claimSchema,
  LEASE_MS,
  MAX_AGE_MS,
  POLL_MS,
  poolSchema,
  rolloutSchema,
  templateSchema,
  type WarmPoolOptions
} from './pool-options.ts'
import { type PoolRules, type PoolTotals, TENANT_MAX } from './pool-state-store.ts'
import type { PrepareOptions } from './prepared-sandbox.ts'
import { type RolloutOptions, type RolloutStatus, startRollout } from './rollout.ts'
import { startBreaker } from './start-breaker.ts'
import { createStock } from './stock.ts'

/** Sandboxes kept ready, and who gets one. */
export interface WarmPool extends AsyncDisposable {
  /**
   * A sandbox for an agent: one that is ready, or else by priority and waiting. Throws the signal's reason (nothing is
   * held then), `CLOSED`, `INVALID_OPTIONS`, and what `PreparedSandbox.assign` throws.
   */
  claim(options: ClaimOptions, call?: { readonly signal?: AbortSignal }): Promise<ClaimOutcome>
  /** Resolves when `idle.min` sandboxes are ready. Rejects with the signal's reason, `CLOSED`. */
  warm(call?: { readonly signal?: AbortSignal }): Promise<void>
  /**
   * Changes what sandboxes are prepared with. Claims get none of the old from now on; those that are ready are replaced
   * as the rollout says, those that are claimed stay. Resolves when it has begun. Throws `CLOSED`, `INVALID_OPTIONS`.
   */
  update(template: PrepareOptions, rollout?: RolloutOptions): Promise<RolloutStatus>
  /** The rollout of the last `update`; undefined before any. */
  rollout(): RolloutStatus | undefined
  metrics(): PoolMetrics
  /** `degraded`: sandboxes keep failing to start; what is ready is handed out, and starting is tried now and then. */
  readonly state: 'healthy' | 'degraded' | 'closed'
  /** Ends every sandbox of the pool in this process, claimed ones too, and leaves the pool to the others. */
  close(): Promise<void>
}

const TICK_MS = 1_000
const NOTHING: PoolTotals = { members: 0, stock: 0, held: 0, cold: 0, queued: 0, oldestWaitMs: 0 }

/** Makes a pool and begins to fill it. Throws `INVALID_OPTIONS`. */
export function createWarmPool(options: WarmPoolOptions): WarmPool {
  const checked = parseOptions(poolSchema, 'createWarmPool', options)
  const { runtime, idle, platform = systemPlatform, name = 'default', preemption = {}, leaseMs = LEASE_MS } = checked
  const { clock, random } = platform
  const { waitMs = 30_000, waitPositions = 3, refillJitterMs = 50, startMs = 30_000 } = checked
  const { capacity = idle.max, coldMax = capacity, queueMax = 100, agingMs = 30_000 } = checked
  const { cooldownMs = 60_000, checkpointMs = 5_000, checkpointTtlMs, perMinuteMax = 10 } = preemption
  const { state: store = ownPoolState(clock), maxAgeMs = MAX_AGE_MS, minimumLifeMs = 0 } = checked
  const rules: PoolRules = {
    capacity,
    coldMax,
    queueMax,
    agingMs,
    cooldownMs,
    tenantMax: checked.tenantMax ?? TENANT_MAX,
    preemptionsPerMinute: perMinuteMax
  }
  const observe = reporter(checked.observe)
  const nextId = createIdSource(platform)
  const breaker = startBreaker(platform)
  const counters = poolCounters()
  const demand = demandOf(clock, idle)
  const warming = new Set<{ readonly resolve: () => void; readonly reject: (error: unknown) => void }>()
  let template = checked.template
  let rollout: ReturnType<typeof startRollout> | undefined
  let totals = NOTHING
  let lostWhenSaid = 0
  let isArmed = false
  let isStateSilent = false
  let isClosed = false
  /** A refill waits for its jitter, or has that behind it and goes on until the stock is full. */
  let refill: 'idle' | 'waiting' | 'running' = 'idle'
  let refillTimer: Timer | undefined
  let closing: Promise<void> | undefined

  const stock = createStock(
    { template, hash: '' },
    {
      prepare: (wanted) => runtime.prepare(wanted),
      clock,
      random,
      breaker,
      maxAgeMs,
      minimumLifeMs,
      startMs,
      onChange: () => settle(),
      onStarted(elapsedMs) {
        demand.started(elapsedMs)
        if (breaker.succeeded()) observe({ type: 'pool.recovered' })
        rollout?.started()
      },
      onFailed(error) {
        counters.counts.replenishFailures += 1
        observe({ type: 'sandbox.not-started', error })
        if (breaker.failed()) observe({ type: 'pool.degraded', retryAfterMs: breaker.retryAfterMs, error })
        if (rollout?.failed() === true) observe({ type: 'rollout.paused', status: rollout.status(stock) })
      },
      onRejected(warm, freshness) {
        counters.counts.rejected += 1
        observe({ type: 'sandbox.rejected', sandboxId: warm.prepared.id, freshness })
      }
    }
  )

  const desk = createClaimDesk({
    clock,
    runtime,
    stock,
    breaker,
    counters,
    nextId,
    observe,
    waitMs,
    waitPositions,
    queueMax,
    cooldownMs,
    checkpointMs,
    checkpointTtlMs,
    memoryLimitBytes: () => template.memoryLimitBytes,
    send: (...commands) => link.send(...commands)
  })

  /** Places of this process that are nobody's. Of all its places each claim that was granted has one. */
  const unclaimed = (): number => stock.ready + stock.stale + stock.starting - desk.pending

  const missing = (): number => (breaker.isOpen ? Number(breaker.retryAfterMs === 0) : demand.target - unclaimed())

  const wanted = (): number => {
    if (isClosed || refill !== 'running') return 0
    const concurrency = Math.max(1, Math.ceil(REFILL_RATIO * demand.target))
    return Math.max(0, Math.min(missing(), concurrency - Math.max(0, stock.starting - desk.pending)))
  }

  const scheduleRefill = (): void => {
    if (isClosed || missing() <= 0) {
      refill = 'idle'
      return
    }
    if (refill !== 'idle') return
    if (stock.ready === 0) {
      refill = 'running'
      link.touch()
      return
    }
    refill = 'waiting'
    refillTimer = clock.startTimer(
      random.float() * refillJitterMs,
      () => {
        refill = 'running'
        link.touch()
      },
      { background: true }
    )
  }

  const roll = (): void => {
    if (rollout === undefined) return
    while (rollout.room(stock.replacing) > 0 && stock.replace('outdated'));
    const change = rollout.check(stock.outdated)
    if (change !== undefined) observe({ type: `rollout.${change}`, status: rollout.status(stock) })
  }

  const watchLevel = (): void => {
    const free = stock.ready
    if (free < idle.min && isArmed) {
      isArmed = false
      observe({ type: 'pool.exhausted', free, min: idle.min, queueDepth: totals.queued })
    } else if (free >= idle.min) {
      if (!isArmed) observe({ type: 'pool.replenished', free })
      isArmed = true
      for (const { resolve } of warming) resolve()
    }
  }

  /** Whenever something has changed: claims first, then what is kept ready, and the store is told. */
  const settle = (): void => {
    if (isClosed) return
    desk.serve()
    roll()
    watchLevel()
    scheduleRefill()
    link.touch()
  }

  const onView = (exchanged: Exchanged): void => {
    if (isClosed) return
    const { view } = exchanged
    totals = view.pool
    if (isStateSilent) observe({ type: 'pool.state-answered' })
    isStateSilent = false
    desk.onView(exchanged)
    desk.serve()
    // What a failed start has lost since then was still counted.
    const allowed = view.ready + view.starting - view.recalled - (stock.lost - lostWhenSaid)
    while (unclaimed() < allowed && stock.start());
    if (unclaimed() > allowed) stock.giveUp(unclaimed() - allowed)
    roll()
    watchLevel()
    scheduleRefill()
  }

  const link = poolLink({
    store,
    pool: name,
    member: nextId(),
    rules,
    leaseMs,
    clock,
    onView,
    pollMs: store.supports.shared ? Math.min(checked.pollMs ?? POLL_MS, leaseMs / 3) : leaseMs / 3,
    report() {
      lostWhenSaid = stock.lost
      const ready = desk.pending === 0 ? stock.ready : 0
      const starting = Math.max(0, unclaimed() - ready)
      return { stock: { ready, starting, closing: stock.closing }, wanted: wanted() }
    },
    restate() {
      // Its places were given to others. What nobody has is ended; claims go on, and count again.
      stock.giveUp(Math.max(0, unclaimed()))
      observe({ type: 'pool.lapsed', claims: desk.held + desk.pending })
      return desk.restate()
    },
    onSilence(error) {
      desk.onSilence()
      if (!isStateSilent) observe({ type: 'pool.state-silent', error })
      isStateSilent = true
    }
  })

  const tick = (): void => {
    demand.tick()
    desk.tellUse()
    // The aged and the lost go as carefully as a rollout does.
    if (stock.replacing < (checked.rollout?.maxUnavailable ?? 1)) stock.replace('unfit')
    if (refill === 'idle' && unclaimed() > demand.target) stock.giveUp(1)
    settle()
    timer = clock.startTimer(TICK_MS, tick, { background: true })
  }
  let timer = clock.startTimer(TICK_MS, tick, { background: true })

  void configurationOf(template).then((configuration) => {
    if (isClosed || stock.hash !== '') return
    stock.configure(configuration)
    scheduleRefill()
    link.begin()
  })

  const refuseClosed = (): void => {
    if (isClosed) throw closedError()
  }

  const close = (): Promise<void> => {
    closing ??= (async () => {
      isClosed = true
      timer.cancel()
      refillTimer?.cancel()
      for (const { reject } of warming) reject(closedError())
      await desk.close()
      await stock.close()
      await link.leave()
    })()
    return closing
  }

  return {
    async claim(claiming, { signal } = {}) {
      const wants = parseOptions(claimSchema, 'pool.claim', claiming)
      signal?.throwIfAborted()
      refuseClosed()
      demand.claimed()
      return desk.claim(wants, signal)
    },
    async warm({ signal } = {}) {
      signal?.throwIfAborted()
      refuseClosed()
      if (stock.ready >= idle.min) return
      await new Promise<void>((resolve, reject) => {
        const stop = (): void => {
          warming.delete(waiter)
          signal?.removeEventListener('abort', onAbort)
        }
        const onAbort = (): void => waiter.reject(signal?.reason)
        const waiter = {
          resolve() {
            stop()
            resolve()
          },
          reject(error: unknown) {
            stop()
            reject(error)
          }
        }
        signal?.addEventListener('abort', onAbort, { once: true })
        warming.add(waiter)
      })
    },
    async update(next, how) {
      const wants = parseOptions(templateSchema, 'pool.update', next)
      const strategy = how === undefined ? undefined : parseOptions(rolloutSchema, 'pool.update', how)
      refuseClosed()
      const configuration = await configurationOf(wants)
      refuseClosed()
      template = wants
      stock.configure(configuration)
      rollout = startRollout(clock, strategy ?? checked.rollout ?? { strategy: 'rolling' })
      link.begin()
      settle()
      return rollout.status(stock)
    },
    rollout: () => rollout?.status(stock),
    metrics: () => ({
      ...counters.counts,
      ...counters.read(),
      sizes: {
        starting: stock.starting,
        ready: stock.ready,
        stale: stock.stale,
        claimed: desk.held,
        closing: stock.closing
      },
      target: demand.target,
      queueDepth: totals.queued,
      oldestWaitMs: totals.oldestWaitMs,
      pool: totals
    }),
    get state() {
      if (isClosed) return 'closed'
      return breaker.isOpen ? 'degraded' : 'healthy'
    },
    close,
    [Symbol.asyncDispose]: close
  }
}

/** A refill starts this share of the target at a time. */
const REFILL_RATIO = 0.2

function closedError(): RuntimeError<'CLOSED'> {
  return new RuntimeError('CLOSED', 'the pool was closed', { what: 'pool' })
}
