import { type Clock, CoreError } from '@enablement/core'
import type { LockStore } from '@enablement/core/lock'
import type { VirtualClock } from '@enablement/core/testing'

/** A machine of its own: clocks that run at their own rate, a process that can stand still, a network to the store. */
export interface SimulatedMachine {
  readonly clock: Clock
  /** The store as this machine reaches it. */
  readonly store: LockStore
  /** The process stands still, as in a long collection or under SIGSTOP: both clocks go on, nothing runs. */
  pause(durationMs: number): void
  /** The machine sleeps: nothing runs and its monotonic clock stands. */
  sleep(durationMs: number): void
  /** An operator or NTP sets the wall clock. */
  jumpWall(byMs: number): void
  /** Requests are lost on their way. */
  cut(durationMs: number): void
  /** Loses the replies to the next requests, which took effect. */
  loseReplies(count: number): void
  /** Nothing of this machine runs while this is true. */
  readonly isStill: boolean
  /** Runs `arrive` when a message from here has arrived, however this machine fares meanwhile. */
  send(arrive: () => void): void
}

export interface MachineOptions {
  /** True time, by which everything else is measured. */
  readonly time: VirtualClock
  readonly store: () => LockStore
  /** Milliseconds that its clocks count in a true one. */
  readonly rate: number
  /** How long the next message takes. */
  readonly latencyMs: () => number
}

/** How long a request that was lost is waited for. */
const TIMEOUT_MS = 40

export function simulatedMachine({ time, store, rate, latencyMs }: MachineOptions): SimulatedMachine {
  const startedAt = time.now()
  let sleptMs = 0
  let wallAheadMs = 0
  let isStill = false
  let cutUntil = 0
  let repliesToLose = 0
  const waiting: (() => void)[] = []

  const trueMs = (): number => time.monotonic()
  const monotonic = (): number => rate * (trueMs() - sleptMs)
  /** Whatever wakes this machine's code up goes through here. */
  const whenRunning = (run: () => void): void => {
    if (isStill) waiting.push(run)
    else run()
  }
  const standStill = (durationMs: number, onResume: () => void): void => {
    if (isStill) return
    isStill = true
    time.startTimer(durationMs, () => {
      isStill = false
      onResume()
      for (const run of waiting.splice(0)) whenRunning(run)
    })
  }

  const clock: Clock = {
    now: () => Math.floor(startedAt + rate * trueMs() + wallAheadMs),
    monotonic,
    startTimer(delayMs, onElapsed) {
      const dueAt = monotonic() + delayMs
      let cancelled = false
      const check = (): void => {
        if (cancelled) return
        // Slept through, or off by a rounding.
        if (monotonic() + 1e-6 < dueAt) arm()
        else onElapsed()
      }
      let timer = { cancel: (): void => {} }
      const arm = (): void => {
        timer = time.startTimer((dueAt - monotonic()) / rate, () => whenRunning(check))
      }
      arm()
      return {
        cancel() {
          cancelled = true
          timer.cancel()
        }
      }
    }
  }

  /** A request to the store and its reply, each on its own way through the network. */
  const call = <T>(request: (store: LockStore) => Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      if (trueMs() < cutUntil) {
        const error = new CoreError('STORE_UNAVAILABLE', 'the network is cut', { store: 'sim', operation: 'call' })
        time.startTimer(TIMEOUT_MS, () => whenRunning(() => reject(error)))
        return
      }
      time.startTimer(latencyMs(), () => {
        const answered = request(store())
        const isLost = repliesToLose > 0
        if (isLost) repliesToLose -= 1
        void answered.then((answer) => {
          const error = new CoreError('COMMIT_UNKNOWN', 'the reply was lost', { store: 'sim' })
          time.startTimer(latencyMs(), () => whenRunning(() => (isLost ? reject(error) : resolve(answer))))
        })
      })
    })

  return {
    clock,
    store: {
      supports: { durable: 'none', shared: true },
      acquire: (claim) => call((reached) => reached.acquire(claim)),
      extend: (claim) => call((reached) => reached.extend(claim)),
      release: (owned) => call((reached) => reached.release(owned))
    },
    pause: (durationMs) => standStill(durationMs, () => {}),
    sleep(durationMs) {
      standStill(durationMs, () => {
        sleptMs += durationMs
      })
    },
    jumpWall(byMs) {
      wallAheadMs += byMs
    },
    cut(durationMs) {
      cutUntil = trueMs() + durationMs
    },
    loseReplies(count) {
      repliesToLose += count
    },
    get isStill() {
      return isStill
    },
    send(arrive) {
      time.startTimer(latencyMs(), arrive)
    }
  }
}
