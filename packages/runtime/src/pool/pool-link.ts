import type { Clock, Timer } from '@enablement/core'
import {
  COMMANDS_MAX,
  type PoolCommand,
  type PoolExchange,
  type PoolRules,
  type PoolStateStore,
  type PoolStock,
  type PoolView
} from './pool-state-store.ts'

/** What an exchange was told, and what it was answered. */
export interface Exchanged {
  readonly exchange: PoolExchange
  readonly view: Extract<PoolView, { outcome: 'exchanged' }>
}

export interface PoolLinkOptions {
  readonly store: PoolStateStore
  readonly pool: string
  readonly member: string
  readonly rules: PoolRules
  readonly leaseMs: number
  readonly pollMs: number
  readonly clock: Clock
  /** How the process stands now. */
  report(): { readonly stock: PoolStock; readonly wanted: number }
  /** Every claim that the process has, said anew, for the store had given them up. */
  restate(): readonly PoolCommand[]
  onView(exchanged: Exchanged): void
  /** The store did not answer; it is asked again. */
  onSilence(error: unknown): void
}

/** A process's conversation with the pool's store: one exchange at a time, in order, each until it is answered. */
export interface PoolLink {
  /** Begins to speak; what was said before is said then. */
  begin(): void
  /** Says something with the next exchange, which begins at once unless one is under way. */
  send(...commands: readonly PoolCommand[]): void
  /** Something has changed. */
  touch(): void
  /** Takes the process out of the pool, and ends. Does not reject: a store that is silent gives the process up itself. */
  leave(): Promise<void>
}

const isFirst = (type: PoolCommand['type']): boolean => type === 'enter' || type === 'adopt'

export function poolLink(options: PoolLinkOptions): PoolLink {
  const { store, pool, member, rules, leaseMs, pollMs, clock } = options
  let waiting: PoolCommand[] = []
  let underway: PoolExchange | undefined
  let isTouched = false
  let hasJoined = false
  let sequence = 0
  let loop: Promise<void> | undefined
  let timer: Timer | undefined
  let hasBegun = false
  /** The store did not answer: it is asked again when the timer fires, and not for each claim meanwhile. */
  let isSilent = false
  let isOver = false

  const compose = (): PoolExchange => {
    isTouched = false
    const commands = waiting.slice(0, COMMANDS_MAX)
    waiting = waiting.slice(COMMANDS_MAX)
    sequence += 1
    const kind = hasJoined ? 'stay' : 'join'
    return { member, sequence, leaseMs, kind, rules, ...options.report(), commands }
  }

  const carryOn = async (): Promise<void> => {
    timer?.cancel()
    while (!isOver && (underway !== undefined || isTouched || waiting.length > 0)) {
      underway ??= compose()
      const exchange = underway
      let view: PoolView
      try {
        view = await store.exchange(pool, exchange)
      } catch (error) {
        // Whether it was done is unknown: it is sent again as it was.
        isSilent = true
        if (!isOver) options.onSilence(error)
        break
      }
      underway = undefined
      if (isOver) break
      if (view.outcome === 'lapsed') {
        hasJoined = false
        waiting = [...options.restate()]
        isTouched = true
      } else {
        hasJoined = true
        options.onView({ exchange, view })
      }
    }
    loop = undefined
    if (isOver) return
    timer = clock.startTimer(
      pollMs,
      () => {
        isSilent = false
        isTouched = true
        begin()
      },
      { background: true }
    )
    // What was said while the last view was looked at.
    if (underway === undefined && (isTouched || waiting.length > 0)) begin()
  }
  const begin = (): void => {
    if (hasBegun && !isOver && !isSilent) loop ??= Promise.resolve().then(carryOn)
  }

  const unwatch = store.watch?.(pool, member, () => touch())
  const touch = (): void => {
    isTouched = true
    begin()
  }

  return {
    begin() {
      hasBegun = true
      touch()
    },
    send(...commands) {
      for (const command of commands) {
        const isUnsaid = waiting.some(({ type, claim }) => claim === command.claim && isFirst(type))
        // Of one that ends before the store has heard of it nothing is said: a long silence would pile it all up.
        if (command.type === 'end') waiting = waiting.filter(({ claim }) => claim !== command.claim)
        if (command.type !== 'end' || !isUnsaid) waiting.push(command)
      }
      touch()
    },
    touch,
    async leave() {
      isOver = true
      timer?.cancel()
      unwatch?.()
      await loop
      sequence += 1
      const stock = { ready: 0, starting: 0, closing: 0 }
      const last = { member, sequence, leaseMs, kind: 'leave', rules, stock, wanted: 0, commands: [] } as const
      await store.exchange(pool, last).catch(() => undefined)
    }
  }
}
