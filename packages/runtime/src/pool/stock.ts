import { type Clock, type Random, sleep } from '@enablement/core'
import { type Configuration, type Freshness, freshnessOf, type WarmSandbox } from './freshness.ts'
import type { PreparedSandbox, PrepareOptions } from './prepared-sandbox.ts'
import type { StartBreaker } from './start-breaker.ts'

/** What a stock is made with. */
export interface StockOptions {
  readonly prepare: (template: PrepareOptions) => Promise<PreparedSandbox>
  readonly clock: Clock
  readonly random: Random
  readonly breaker: StartBreaker
  readonly maxAgeMs: number
  readonly minimumLifeMs: number
  readonly startMs: number
  /** A sandbox is ready, or one that was under way is not coming, or a place has become free. */
  onChange(): void
  onStarted(elapsedMs: number): void
  onFailed(error: unknown): void
  onRejected(warm: WarmSandbox, freshness: Freshness): void
}

/**
 * The sandboxes of one process that nobody has: ready, stale, or under way. A place is kept by whichever of them is in
 * it: what replaces a stale one starts when that has ended.
 */
export interface Stock {
  readonly ready: number
  readonly stale: number
  readonly starting: number
  /** Of another configuration than the present, ready or under way. */
  readonly outdated: number
  /** Of `starting`, those that take the place of a stale one. */
  readonly replacing: number
  readonly closing: number
  /** Places that failed starts have left so far. */
  readonly lost: number
  readonly hash: string
  configure(configuration: Configuration): void
  /** A fresh sandbox, the oldest. */
  take(): WarmSandbox | undefined
  /** Gives one back that was not given away. */
  putBack(warm: WarmSandbox): void
  /** Starts one; false when the breaker does not let it. */
  start(): boolean
  /**
   * Starts one in the place of a stale one: whichever, or one of another configuration, or one that is too old or lost.
   * False when there is none, or the breaker does not let it.
   */
  replace(which: 'stale' | 'outdated' | 'unfit'): boolean
  /** Ends so many: stale ones first, then ready ones, the oldest first, then those under way. */
  giveUp(count: number): void
  /** Ends one that `take` gave. Resolves when it has ended. */
  discard(warm: WarmSandbox): Promise<void>
  /** Ends everything, what is under way when it arrives. */
  close(): Promise<void>
}

/** Ages differ by this much either way, so that what was started together does not expire together. */
const AGE_JITTER_RATIO = 0.1

export function createStock(initial: Configuration, options: StockOptions): Stock {
  const { clock, random, breaker, maxAgeMs, minimumLifeMs } = options
  const bag: WarmSandbox[] = []
  const tasks = new Set<Promise<void>>()
  let configuration = initial
  const underway = new Set<{ hash: string | undefined }>()
  let replacing = 0
  let closing = 0
  let lost = 0
  /** Of what is under way, how many are ended when they arrive. */
  let doomed = 0
  let isClosed = false

  const freshness = (warm: WarmSandbox): Freshness => freshnessOf(warm, configuration.hash, clock.monotonic())
  const isStale = (warm: WarmSandbox): boolean => freshness(warm).verdict !== 'fresh'
  const remove = (warm: WarmSandbox | undefined): WarmSandbox | undefined => {
    if (warm !== undefined) bag.splice(bag.indexOf(warm), 1)
    return warm
  }

  const track = (task: Promise<void>): void => {
    tasks.add(task)
    void task.finally(() => tasks.delete(task))
  }

  /** What a host throws while it ends a sandbox leaves nothing to be done: its own close ends what is left. */
  const shut = (prepared: AsyncDisposable): Promise<void> =>
    Promise.resolve(prepared[Symbol.asyncDispose]()).catch(() => undefined)

  const discard = (warm: { readonly prepared: PreparedSandbox }): Promise<void> => {
    closing += 1
    const ended = shut(warm.prepared).then(() => {
      closing -= 1
      options.onChange()
    })
    track(ended)
    return ended
  }

  const prepareInTime = async (template: PrepareOptions): Promise<PreparedSandbox> => {
    const over = new AbortController()
    const preparing = options.prepare(template)
    try {
      return await Promise.race([
        preparing,
        sleep(clock, options.startMs, { signal: over.signal }).then(() => {
          // Should it come after all, nobody waits for it any more.
          void preparing.then(shut, () => undefined)
          throw new Error(`the sandbox did not start within ${options.startMs} ms`)
        })
      ])
    } finally {
      over.abort()
    }
  }

  const arrive = (prepared: PreparedSandbox, hash: string, startedAt: number): void => {
    const now = clock.monotonic()
    options.onStarted(now - startedAt)
    if (isClosed || doomed > 0) {
      if (doomed > 0) doomed -= 1
      void discard({ prepared })
      return
    }
    const ageMs = maxAgeMs * (1 - AGE_JITTER_RATIO + 2 * AGE_JITTER_RATIO * random.float())
    bag.push({ prepared, hash, startedAt: now, staleAt: now + ageMs - minimumLifeMs })
  }

  const begin = (stale: WarmSandbox | undefined): void => {
    const unit: { hash: string | undefined } = { hash: undefined }
    underway.add(unit)
    if (stale !== undefined) replacing += 1
    const run = async (): Promise<void> => {
      try {
        if (stale !== undefined) await shut(stale.prepared)
        if (isClosed) return
        const { template, hash } = configuration
        unit.hash = hash
        const startedAt = clock.monotonic()
        arrive(await prepareInTime(template), hash, startedAt)
      } catch (error) {
        if (doomed > 0) doomed -= 1
        else lost += 1
        options.onFailed(error)
      } finally {
        underway.delete(unit)
        if (stale !== undefined) replacing -= 1
        options.onChange()
      }
    }
    track(run())
  }

  return {
    get ready() {
      return bag.length - bag.filter(isStale).length
    },
    get stale() {
      return bag.filter(isStale).length
    },
    get starting() {
      return underway.size - doomed
    },
    get outdated() {
      const old = [...bag, ...underway].filter(({ hash }) => hash !== undefined && hash !== configuration.hash)
      return old.length
    },
    get replacing() {
      return replacing
    },
    get closing() {
      return closing + doomed
    },
    get lost() {
      return lost
    },
    get hash() {
      return configuration.hash
    },
    configure(next) {
      configuration = next
    },
    take: () => remove(bag.find((warm) => !isStale(warm))),
    putBack: (warm) => void bag.unshift(warm),
    start() {
      if (doomed > 0) {
        // One that was to be ended on arrival is wanted after all.
        doomed -= 1
        return true
      }
      if (isClosed || !breaker.permits()) return false
      begin(undefined)
      return true
    },
    replace(which) {
      const stale = bag.find((warm) => {
        const { verdict } = freshness(warm)
        if (which === 'stale') return verdict !== 'fresh'
        return which === 'outdated' ? verdict === 'config-mismatch' : verdict === 'too-old' || verdict === 'not-ready'
      })
      if (stale === undefined || isClosed || !breaker.permits()) return false
      options.onRejected(stale, freshness(stale))
      begin(remove(stale))
      return true
    },
    giveUp(count) {
      for (let given = 0; given < count; given++) {
        const warm = remove(bag.find(isStale) ?? bag[0])
        if (warm !== undefined) void discard(warm)
        else if (doomed < underway.size) doomed += 1
      }
    },
    discard,
    async close() {
      isClosed = true
      for (const warm of bag.splice(0)) void discard(warm)
      while (tasks.size > 0) await Promise.all(tasks)
    }
  }
}
