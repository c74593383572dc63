import type { Clock, Timer } from '@enablement/core'
import type { Sandbox } from '../sandbox/sandbox.ts'
import { within } from '../sandbox/within.ts'
import type { ClaimEnd, ClaimOptions, ClaimOutcome, ClaimPriority, ClaimRefusal, PoolClaim } from './claim.ts'
import { claimedSandbox } from './claimed-sandbox.ts'
import type { WarmSandbox } from './freshness.ts'
import type { ClaimRef, PoolEvent } from './pool-event.ts'
import type { Exchanged } from './pool-link.ts'
import type { ClaimSource, PoolCounters } from './pool-metrics.ts'
import type { PoolRuntime } from './pool-options.ts'
import { type ClaimDraft, CREDIT_MAX_MS, type HeldClaim, type PoolCommand } from './pool-state-store.ts'
import { quantile, samples } from './samples.ts'
import type { StartBreaker } from './start-breaker.ts'
import type { Stock } from './stock.ts'

export interface ClaimDeskOptions {
  readonly clock: Clock
  readonly runtime: PoolRuntime
  readonly memoryLimitBytes: () => number
  readonly stock: Stock
  readonly breaker: StartBreaker
  readonly counters: PoolCounters
  readonly nextId: () => string
  readonly waitMs: number
  readonly waitPositions: number
  readonly queueMax: number
  readonly cooldownMs: number
  readonly checkpointMs: number
  readonly checkpointTtlMs: number | undefined
  send(...commands: readonly PoolCommand[]): void
  observe(event: PoolEvent): void
}

/** The claims of one process: those that wait, those that were granted and get a sandbox next, and those that are held. */
export interface ClaimDesk {
  /** Granted, and without a sandbox yet. */
  readonly pending: number
  readonly held: number
  claim(options: ClaimOptions, signal: AbortSignal | undefined): Promise<ClaimOutcome>
  /** Takes in what the store says. */
  onView(exchanged: Exchanged): void
  /** Gives sandboxes to the claims that were granted, and has them started where there are none. */
  serve(): void
  /** The store did not answer. */
  onSilence(): void
  /** Every claim, said anew. */
  restate(): readonly PoolCommand[]
  /** Tells which claims were used lately. */
  tellUse(): void
  /** Refuses what waits and ends what is held. */
  close(): Promise<void>
}

/** A claim that has no sandbox yet. */
interface Waiter extends ClaimRef {
  readonly options: ClaimOptions
  readonly draft: ClaimDraft
  readonly enteredAt: number
  readonly timer: Timer
  /** Of one that was preempted: what its sandbox is restored from. */
  readonly checkpoint: Uint8Array<ArrayBuffer> | undefined
  readonly settle: (outcome: ClaimOutcome) => void
  readonly fail: (error: unknown) => void
  /** Stops listening to the caller's signal. */
  readonly deafen: () => void
  position: number
  isCapped: boolean
  isEntered: boolean
  /** It has asked for a sandbox beyond the capacity. */
  isPastWaiting: boolean
}

interface Granted extends Waiter {
  readonly fence: number
  readonly isCold: boolean
}

/** A claim that has its sandbox. */
interface Live extends ClaimRef {
  readonly options: ClaimOptions
  readonly draft: ClaimDraft
  readonly sandbox: Sandbox
  readonly fence: number
  readonly isCold: boolean
  readonly end: (end: ClaimEnd) => void
  state: 'held' | 'preempting' | 'keeping' | 'ended'
  /** Evaluations under way. */
  running: number
  readonly whenQuiet: (() => void)[]
  isUsed: boolean
  /** Its sandbox was found gone, perhaps because it is being saved. */
  isLost: boolean
  closing: Promise<void> | undefined
}

const PRIORITY: Readonly<Record<ClaimPriority, number>> = { low: 0, normal: 1, high: 2, critical: 3 }

/** A claim that others wait for too: who stops waiting leaves it to them. */
const awaited = async (claim: Promise<ClaimOutcome>, signal: AbortSignal | undefined): Promise<ClaimOutcome> => {
  if (signal === undefined) return claim
  const { promise, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([claim, promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

const refOf = ({ claimId, tenant, agent }: ClaimRef): ClaimRef => ({ claimId, tenant, agent })

export function createClaimDesk(desk: ClaimDeskOptions): ClaimDesk {
  const { clock, runtime, stock, breaker, counters, nextId, send, observe } = desk
  const waiters = new Map<string, Waiter>()
  /** In the order of their fences. */
  const granted: Granted[] = []
  const lives = new Map<string, Live>()
  const byKey = new Map<string, Promise<ClaimOutcome>>()
  const restoring = new Map<Granted, Promise<void>>()
  const coldStarts = samples(64)
  let isSilent = false
  let isClosed = false

  const waited = ({ enteredAt }: Waiter): number => clock.monotonic() - enteredAt

  const creditOf = (waiter: Waiter): number =>
    Math.min(CREDIT_MAX_MS, waiter.draft.creditMs + Math.round(waited(waiter)))

  const forget = (waiter: Waiter): void => {
    waiters.delete(waiter.claimId)
    waiter.timer.cancel()
    waiter.deafen()
  }

  const refuse = (waiter: Waiter, reason: ClaimRefusal, etaMs = quantile(coldStarts.values(), 0.5)): void => {
    forget(waiter)
    counters.counts.refused += 1
    const waitedMs = waited(waiter)
    observe({ type: 'claim.refused', ...refOf(waiter), reason, waitedMs })
    const position = waiter.position === 0 ? {} : { position: waiter.position }
    waiter.settle({ outcome: 'refused', reason, waitedMs, ...position, ...(etaMs === undefined ? {} : { etaMs }) })
  }

  /** Refuses a claim that the store knows of. */
  const giveBack = (waiter: Waiter, reason: ClaimRefusal, etaMs?: number): void => {
    send({ type: 'end', claim: waiter.claimId })
    refuse(waiter, reason, etaMs)
  }

  const enter = (
    options: ClaimOptions,
    given: { readonly creditMs: number; readonly shieldMs: number; readonly checkpoint?: Uint8Array<ArrayBuffer> },
    signal: AbortSignal | undefined
  ): Promise<ClaimOutcome> =>
    new Promise((resolve, reject) => {
      const { tenant, agent, priority = 'normal', nonPreemptible = false } = options
      const claimId = nextId()
      const { creditMs, shieldMs, checkpoint } = given
      const preemptible = !nonPreemptible
      const draft = { claim: claimId, tenant, priority: PRIORITY[priority], creditMs, preemptible, shieldMs }
      const onAbort = (): void => {
        const at = granted.indexOf(waiter as Granted)
        if (at !== -1) granted.splice(at, 1)
        forget(waiter)
        send({ type: 'end', claim: claimId })
        reject(signal?.reason as Error)
      }
      const waiter: Waiter = {
        claimId,
        tenant,
        agent,
        options,
        draft,
        checkpoint,
        enteredAt: clock.monotonic(),
        timer: clock.startTimer(desk.waitMs, () => pastWaiting(waiter)),
        settle: resolve,
        fail: reject,
        deafen: () => signal?.removeEventListener('abort', onAbort),
        position: 0,
        isCapped: false,
        isEntered: false,
        isPastWaiting: false
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      waiters.set(claimId, waiter)
      send({ type: 'enter', ...draft })
    })

  /** Asks for a sandbox beyond the capacity. */
  const pastWaiting = (waiter: Waiter): void => {
    if (waiter.isPastWaiting) return
    waiter.isPastWaiting = true
    if (isSilent) giveBack(waiter, 'state-silent')
    else if (waiter.isCapped) giveBack(waiter, 'tenant-limit')
    else send({ type: 'go-cold', claim: waiter.claimId })
  }

  const grant = (waiter: Waiter, { fence, state }: HeldClaim): void => {
    waiters.delete(waiter.claimId)
    waiter.timer.cancel()
    // The same object: an abort looks for it.
    granted.push(Object.assign(waiter, { fence, isCold: state === 'cold' }))
  }

  const release = (live: Live, how: ClaimEnd): Promise<void> => {
    live.closing ??= (async () => {
      live.state = 'ended'
      lives.delete(live.claimId)
      // The evaluation that was saved is about to say so.
      if (how.outcome === 'preempted' && live.running > 0)
        await new Promise<void>((resolve) => live.whenQuiet.push(resolve))
      // What a host throws while it ends a sandbox must not keep the place from others.
      await live.sandbox.close().catch(() => undefined)
      send({ type: 'end', claim: live.claimId })
      observe({ type: 'claim.ended', ...refOf(live), outcome: how.outcome })
      live.end(how)
    })()
    return live.closing
  }

  const hold = (waiter: Granted, sandbox: Sandbox, from: ClaimSource): void => {
    const { claimId, tenant, agent, options, draft, fence, isCold, position } = waiter
    const waitedMs = waited(waiter)
    let end: (how: ClaimEnd) => void = () => undefined
    const ended = new Promise<ClaimEnd>((resolve) => {
      end = resolve
    })
    const live: Live = {
      claimId,
      tenant,
      agent,
      options,
      sandbox,
      fence,
      isCold,
      end,
      draft: { ...draft, creditMs: creditOf(waiter) },
      state: 'held',
      running: 0,
      whenQuiet: [],
      isUsed: false,
      isLost: false,
      closing: undefined
    }
    lives.set(claimId, live)
    const close = (): Promise<void> => release(live, { outcome: 'released' })
    const claim: PoolClaim = { id: claimId, tenant, agent, fence, release: close, ended, [Symbol.asyncDispose]: close }
    counters.claimed(from, waitedMs)
    if (from === 'cold') coldStarts.add(waitedMs)
    observe({ type: 'claim.granted', ...refOf(live), sandboxId: sandbox.id, from, waitedMs, fence })
    if (isCold) {
      const { hitRate } = counters.read()
      observe({ type: 'sla.warning', warning: 'cold_start_fallback', ...refOf(live), position, waitedMs, hitRate })
    }
    const own = claimedSandbox(sandbox, {
      onUse(isRunning) {
        live.running += isRunning ? 1 : -1
        live.isUsed = true
        if (live.running === 0) for (const resolve of live.whenQuiet.splice(0)) resolve()
      },
      // One that makes way is not lost, whatever its evaluation says.
      onGone: () => {
        live.isLost = true
        if (live.state !== 'preempting') void release(live, { outcome: 'gone' })
      },
      close
    })
    const warning = isCold ? ({ warning: 'cold_start_fallback' } as const) : {}
    waiter.settle({ outcome: 'claimed', sandbox: own, claim, from, waitedMs, fence, ...warning })
  }

  /** Gives a sandbox that was kept ready away. Nobody else can have it: it left the stock in this same turn. */
  const handOver = (waiter: Granted, warm: WarmSandbox): void => {
    const { tenant, agent, subscription, hostFunctions } = waiter.options
    const owner = {
      tenant,
      agent,
      ...(subscription === undefined ? {} : { subscription }),
      ...(hostFunctions === undefined ? {} : { hostFunctions })
    }
    if (waiter.checkpoint !== undefined) {
      const { checkpoint } = waiter
      // Its place is free when what is in it has ended.
      const room = stock.discard(warm)
      const task = restore(waiter, room, { ...owner, checkpoint }).finally(() => restoring.delete(waiter))
      restoring.set(waiter, task)
      return
    }
    let sandbox: Sandbox
    try {
      sandbox = warm.prepared.assign(owner)
    } catch (error) {
      // Lost in this very moment, it is stale now and is replaced; refused because of the claim, it is as good as before.
      stock.putBack(warm)
      if (!warm.prepared.isReady()) {
        granted.unshift(waiter)
        return
      }
      send({ type: 'end', claim: waiter.claimId })
      waiter.deafen()
      waiter.fail(error)
      return
    }
    waiter.deafen()
    hold(waiter, sandbox, warm.startedAt <= waiter.enteredAt ? 'warm' : 'cold')
  }

  const restore = async (
    waiter: Granted,
    room: Promise<void>,
    owner: Omit<Parameters<PoolRuntime['restore']>[0], 'memoryLimitBytes'>
  ): Promise<void> => {
    waiter.deafen()
    try {
      await room
      const sandbox = await runtime.restore({ ...owner, memoryLimitBytes: desk.memoryLimitBytes() })
      if (isClosed) {
        await sandbox.close()
        refuse(waiter, 'closed')
      } else hold(waiter, sandbox, 'checkpoint')
    } catch (error) {
      observe({ type: 'sandbox.not-started', error })
      giveBack(waiter, 'start-failed')
    }
  }

  const serve = (): void => {
    while (granted.length > 0) {
      const warm = stock.take()
      if (warm === undefined) break
      handOver(granted.shift() as Granted, warm)
    }
    // Each has a place of its own, so each may have a sandbox started, in the place of a stale one where there is one.
    while (stock.starting < granted.length && (stock.replace('stale') || (stock.stale === 0 && stock.start())));
    for (let extra = granted.length - stock.starting; extra > 0; extra--) {
      const waiter = granted.pop() as Granted
      giveBack(waiter, breaker.isOpen ? 'degraded' : 'start-failed', breaker.retryAfterMs)
    }
  }

  const preempt = async (live: Live): Promise<void> => {
    live.state = 'preempting'
    const { checkpointTtlMs } = desk
    const saving = live.sandbox.preempt(checkpointTtlMs === undefined ? {} : { ttlMs: checkpointTtlMs })
    // One that is saved after its time is over has ended all the same: its owner gets what was saved.
    void saving.then(
      (checkpoint) => makeWay(live, checkpoint),
      () => undefined
    )
    try {
      await within(clock, desk.checkpointMs, saving)
    } catch (error) {
      if (live.state !== 'preempting') return
      counters.counts.preemptionFailures += 1
      observe({ type: 'preemption.failed', ...refOf(live), error })
      if (live.isLost) return void release(live, { outcome: 'gone' })
      live.state = 'keeping'
      send({ type: 'keep', claim: live.claimId })
    }
  }

  const makeWay = (live: Live, checkpoint: Uint8Array<ArrayBuffer>): void => {
    if (live.state === 'ended') return
    counters.counts.preemptions += 1
    const { options, draft } = live
    const again = { creditMs: draft.creditMs, shieldMs: desk.cooldownMs, checkpoint }
    const requeued = options.requeue === true && !isClosed ? enter(options, again, undefined) : undefined
    void release(live, { outcome: 'preempted', checkpoint, ...(requeued === undefined ? {} : { requeued }) })
  }

  const onHeld = (held: HeldClaim): void => {
    const waiter = waiters.get(held.claim)
    if (waiter !== undefined) return grant(waiter, held)
    const live = lives.get(held.claim)
    if (live?.state === 'held' && held.state === 'wanted') void preempt(live)
  }

  return {
    get pending() {
      return granted.length
    },
    get held() {
      return lives.size
    },
    async claim(options, signal) {
      const { tenant, idempotencyKey } = options
      const key = idempotencyKey === undefined ? undefined : JSON.stringify([tenant, idempotencyKey])
      const known = key === undefined ? undefined : byKey.get(key)
      if (known !== undefined) return awaited(known, signal)
      // The store has the last word; this is a bound on what it is asked.
      if (waiters.size >= desk.queueMax + desk.waitPositions + stock.ready + stock.starting) {
        counters.counts.refused += 1
        return { outcome: 'refused', reason: 'queue-full', waitedMs: 0 }
      }
      if (breaker.retryAfterMs > 0 && stock.ready === 0) {
        counters.counts.refused += 1
        return { outcome: 'refused', reason: 'degraded', waitedMs: 0, etaMs: breaker.retryAfterMs }
      }
      const answer = enter(options, { creditMs: 0, shieldMs: 0 }, signal)
      if (key === undefined) return answer
      byKey.set(key, answer)
      const drop = (): void => void byKey.delete(key)
      void answer.then(
        (outcome) => (outcome.outcome === 'claimed' ? void outcome.claim.ended.then(drop) : drop()),
        drop
      )
      return answer
    },
    onView({ exchange, view }) {
      isSilent = false
      for (const { type, claim } of exchange.commands) {
        const waiter = waiters.get(claim)
        if (waiter !== undefined && type === 'enter') waiter.isEntered = true
        const live = lives.get(claim)
        if (live?.state === 'keeping' && type === 'keep') live.state = 'held'
      }
      for (const held of view.held) onHeld(held)
      const asked = new Set(exchange.commands.filter(({ type }) => type === 'go-cold').map(({ claim }) => claim))
      const waiting = new Map(view.waiting.map((one) => [one.claim, one]))
      for (const waiter of waiters.values()) {
        const seen = waiting.get(waiter.claimId)
        if (seen === undefined) {
          if (waiter.isEntered) refuse(waiter, 'queue-full')
          continue
        }
        waiter.position = seen.position
        waiter.isCapped = seen.isCapped
        if (asked.has(waiter.claimId)) giveBack(waiter, seen.isCapped ? 'tenant-limit' : 'exhausted')
        else if (seen.position > desk.waitPositions) pastWaiting(waiter)
      }
    },
    serve,
    onSilence() {
      isSilent = true
      // Their wait was over before; whether they were started nobody says now.
      for (const waiter of waiters.values()) if (waiter.isPastWaiting) giveBack(waiter, 'state-silent')
    },
    restate() {
      const adopts = [...lives.values()].map(
        ({ draft, fence, isCold }): PoolCommand => ({ type: 'adopt', ...draft, fence, cold: isCold })
      )
      const pending = [...granted, ...restoring.keys()].map(
        ({ draft, fence, isCold }): PoolCommand => ({ type: 'adopt', ...draft, fence, cold: isCold })
      )
      const enters = [...waiters.values()].flatMap((waiter): PoolCommand[] => {
        waiter.isEntered = false
        const enter = { type: 'enter', ...waiter.draft, creditMs: creditOf(waiter) } as const
        return waiter.isPastWaiting ? [enter, { type: 'go-cold', claim: waiter.claimId }] : [enter]
      })
      for (const live of lives.values()) if (live.state === 'keeping') live.state = 'held'
      return [...adopts, ...pending, ...enters]
    },
    tellUse() {
      // A silent store hears it when it answers again.
      if (isSilent) return
      for (const live of lives.values()) {
        if (!live.isUsed && live.running === 0) continue
        live.isUsed = false
        if (live.draft.preemptible) send({ type: 'use', claim: live.claimId })
      }
    },
    async close() {
      isClosed = true
      for (const waiter of [...waiters.values(), ...granted.splice(0)]) refuse(waiter, 'closed')
      await Promise.all([...lives.values()].map((live) => release(live, { outcome: 'released' })))
      while (restoring.size > 0) await Promise.all(restoring.values())
    }
  }
}
