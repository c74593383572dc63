import {
  type Backoff,
  backoffMs,
  createTokenBucket,
  parseOptions,
  reporter,
  systemPlatform,
  type Timer
} from '@enablement/core'
import { type ByteAccount, createByteLedger } from './byte-ledger.ts'
import { createGuardedSandboxes, type GuardedSandbox } from './guarded-sandboxes.ts'
import type { AttemptEnd, OutboundRequest, RefusalReason, SendOutcome } from './outbound-request.ts'
import type { PartitionCounts } from './partition-event.ts'
import {
  AGE_MAX_MS,
  ENTRIES_MAX,
  outboundRequestSchema,
  type PartitionGuardOptions,
  partitionGuardOptions
} from './partition-guard-options.ts'
import type { PartitionReading } from './partition-monitor.ts'
import type { NetworkState } from './partition-state.ts'
import { createWaitingLanes } from './waiting-lanes.ts'

/** What became of all requests so far; `submitted` is the sum of the others. */
export interface PartitionStatistics {
  readonly submitted: number
  readonly replied: number
  readonly refused: number
  readonly expired: number
  readonly replyLost: number
  readonly failed: number
  readonly aborted: number
  /** In the buffer now, also those that are being replayed. */
  readonly waiting: number
  /** Under way without having been in the buffer. */
  readonly sending: number
  /** Of bodies kept. */
  readonly bytes: number
}

/** Requests that outlive a partition, and guests that hear of it. */
export interface PartitionGuard extends AsyncDisposable {
  readonly state: NetworkState
  /** How many partitions were found so far: a connection that is older than the last may be half open. */
  readonly partitions: number
  /**
   * Sends a request, at once or when the network is back. Rejects with the signal's reason when the caller gives up, and
   * throws `INVALID_OPTIONS` for a request that is none; everything else is an outcome.
   */
  send<Reply>(
    request: OutboundRequest<Reply>,
    options?: { readonly signal?: AbortSignal | undefined }
  ): Promise<SendOutcome<Reply>>
  /**
   * From now on, when the network goes, the sandbox is checkpointed, what comes of it is handed to `keep`, and its guest
   * is told; also when it is back. Gives a function that ends this. Throws `OVERLOADED` above 10,000 sandboxes.
   */
  enrol<Checkpoint>(
    sandbox: GuardedSandbox<Checkpoint>,
    keep: (checkpoint: Checkpoint) => void | Promise<void>
  ): () => void
  statistics(): PartitionStatistics
  /** Refuses what waits and what comes. What is under way ends by itself. */
  close(): Promise<void>
}

const BYTES_MAX = 16_777_216
const BODY_BYTES_MAX = 1_048_576
const ATTEMPTS_MAX = 3
const RETRY: Backoff = { jitter: 'full', baseMs: 250, maxMs: 30_000 }
const REPLAYS_PER_SECOND = 50
const REPLAYS_BURST = 10
const LANES_MAX = 8

/** What a reply settles its caller with; `unknown`, because requests of all kinds wait together. */
type Outcome = SendOutcome<unknown>

interface Entry {
  readonly sequence: number
  readonly lane: string
  readonly request: OutboundRequest<unknown>
  readonly account: ByteAccount
  readonly resolve: (outcome: Outcome) => void
  readonly reject: (reason: unknown) => void
  readonly signal: AbortSignal | undefined
  readonly onAbort: () => void
  deadline: Timer | undefined
  /** Runs from when it is held. */
  age: Timer | undefined
  /** Since when it has been held, to be sent later; monotonic. */
  heldAt: number | undefined
  /** `loading`: its body is being read; `judging`: an attempt failed, and the monitor is looking. */
  phase: 'new' | 'sending' | 'loading' | 'judging' | 'ready' | 'over'
  /** It waits, or waited, in order, and was reported so. */
  buffered: boolean
  attempts: number
  /** Attempts that failed while the network was there. */
  failures: number
  backedOffMs: number
  /** No attempt before this. */
  notBefore: number
  /** An attempt may have reached the server. */
  sent: boolean
  tooOld: boolean
  current: AbortController | undefined
}

/** Why an attempt is ended from here: its caller is gone, or its connection may never bring a reply. */
class AttemptEnded extends Error {
  override readonly name = 'AttemptEnded'
}

/** Asked after an `await`, during which much can end. */
const isOver = (entry: Entry): boolean => entry.phase === 'over'

/**
 * Holds requests while the network is away. While it is there a request goes straight out, unless others of its lane still
 * wait. Of a request that fails the monitor is asked: if the network is there, it is tried again a few times with backoff;
 * if not, it waits.
 *
 * What was sent is repeated only under a policy that allows it, so a request of policy `never` reaches its server at most
 * once. When a partition is found, requests under way that may be repeated are ended and wait with the others: a connection
 * from before may be half open and silent for ever. Throws `INVALID_OPTIONS`.
 */
export function createPartitionGuard(options: PartitionGuardOptions): PartitionGuard {
  const parsed = parseOptions(partitionGuardOptions, 'createPartitionGuard', options)
  const { monitor, entriesMax = ENTRIES_MAX, ageMaxMs = AGE_MAX_MS, attemptsMax = ATTEMPTS_MAX, retry = RETRY } = parsed
  const { unsentWrites = 'refuse', platform = systemPlatform, replay = {} } = parsed
  const { clock, random } = platform
  const { lanesMax = LANES_MAX } = replay
  const report = reporter(parsed.observe)
  const ledger = createByteLedger(parsed.bytesMax ?? BYTES_MAX, parsed.bodyBytesMax ?? BODY_BYTES_MAX)
  const bucket = createTokenBucket({
    perSecond: replay.perSecond ?? REPLAYS_PER_SECOND,
    burst: replay.burst ?? REPLAYS_BURST,
    platform
  })
  const sandboxes = createGuardedSandboxes(clock, (sandboxId, error) =>
    report({ type: 'sandbox.unsaved', sandboxId, error })
  )
  /** Wait for a partition to end, and are then replayed in order. */
  const lanes = createWaitingLanes<Entry>()
  /** Failed although the network was there, or may have been, and are tried again, each for itself. */
  const retrying = new Set<Entry>()
  /** Under way for the first time. */
  const direct = new Set<Entry>()
  const total = { submitted: 0, replied: 0, refused: 0, expired: 0, replyLost: 0, failed: 0, aborted: 0 }
  let since = { buffered: 0, replayed: 0, refused: 0, expired: 0, aborted: 0, failed: 0 }
  let sequence = 0
  let replaying = 0
  let partitions = 0
  let partitionedAt: number | undefined
  /** A partition was recovered from, and what had waited has not all ended. */
  let draining = false
  let closed = false
  let wake: Timer | undefined
  let wakeAt = Number.POSITIVE_INFINITY

  /** Without those whose bodies are being read, which are not buffered yet. */
  const waiting = (): number => [...lanes.all()].filter((entry) => entry.buffered).length
  const counts = (): PartitionCounts => ({ ...since, waiting: waiting() })
  const held = (): number => lanes.size + retrying.size
  const waitedMs = ({ heldAt }: Entry): number => (heldAt === undefined ? 0 : clock.monotonic() - heldAt)

  /** Whether it may be sent, or sent again, later. */
  const repeatable = ({ request, sent }: Entry): boolean =>
    request.policy !== 'never' || (unsentWrites === 'buffer' && !sent)

  /** Ends it, once; nothing of it stays behind. False when it had ended before. */
  const end = (entry: Entry): boolean => {
    if (entry.phase === 'over') return false
    entry.phase = 'over'
    entry.deadline?.cancel()
    entry.age?.cancel()
    entry.signal?.removeEventListener('abort', entry.onAbort)
    entry.account.close()
    direct.delete(entry)
    retrying.delete(entry)
    lanes.remove(entry)
    return true
  }

  const settle = (entry: Entry, outcome: Outcome): void => {
    if (!end(entry)) return
    const { lane, buffered } = entry
    if (outcome.outcome === 'replied') {
      total.replied += 1
      if (buffered) {
        since.replayed += 1
        report({ type: 'request.replayed', lane, attempts: outcome.attempts, waitedMs: outcome.waitedMs })
      }
    } else if (outcome.outcome === 'refused') {
      total.refused += 1
      since.refused += 1
      report({ type: 'request.refused', lane, reason: outcome.reason, sent: outcome.sent })
    } else if (outcome.outcome === 'expired') {
      const { limit, sent } = outcome
      total.expired += 1
      if (buffered) since.expired += 1
      report({ type: 'request.expired', lane, limit, waitedMs: outcome.waitedMs, sent })
    } else {
      total[outcome.outcome === 'failed' ? 'failed' : 'replyLost'] += 1
      if (buffered) since.failed += 1
    }
    entry.resolve(outcome)
    leave(entry)
  }

  /** After an end: an attempt under way has lost its meaning, and the next of the lane may go. */
  const leave = (entry: Entry): void => {
    entry.current?.abort(new AttemptEnded('nobody waits for this attempt any more'))
    if (draining && lanes.size === 0) {
      draining = false
      report({ type: 'network.drained', counts: counts() })
    }
    if (entry.heldAt !== undefined) pump()
  }

  const refuse = (entry: Entry, reason: RefusalReason, error?: unknown): void =>
    settle(entry, { outcome: 'refused', reason, sent: entry.sent, ...(error === undefined ? {} : { error }) })

  const expire = (entry: Entry, limit: 'age' | 'deadline'): void =>
    settle(entry, { outcome: 'expired', limit, waitedMs: waitedMs(entry), sent: entry.sent })

  /** Takes it in to be sent later, or refuses it. */
  const hold = async (entry: Entry, error?: unknown): Promise<void> => {
    if (closed) return refuse(entry, 'closed', error)
    if (held() >= entriesMax) return refuse(entry, 'entries', error)
    if (!entry.account.take(entry.request.bytes ?? 0)) return refuse(entry, entry.account.refusal ?? 'bytes', error)
    entry.heldAt = clock.monotonic()
    entry.age = clock.startTimer(ageMaxMs, () => {
      entry.tooOld = true
      // What is being sent at this moment may still be answered.
      if (entry.phase !== 'sending') expire(entry, 'age')
    })
    direct.delete(entry)
    if (monitor.state === 'connected' && entry.attempts > 0) retrying.add(entry)
    else lanes.add(entry)
    if (entry.request.load !== undefined) {
      entry.phase = 'loading'
      const [loaded] = await Promise.allSettled([entry.request.load(entry.account)])
      if (isOver(entry)) return
      if (loaded.status === 'rejected') return refuse(entry, 'body', loaded.reason)
      if (!loaded.value) return refuse(entry, entry.account.refusal ?? 'body', error)
    }
    entry.phase = 'judging'
    if (!retrying.has(entry)) buffered(entry)
  }

  /** It is whole, and in its lane. */
  const buffered = (entry: Entry): void => {
    if (entry.buffered) return
    entry.buffered = true
    since.buffered += 1
    report({ type: 'request.buffered', lane: entry.lane, waiting: lanes.size, bytes: ledger.usedBytes })
  }

  const attempt = async (entry: Entry): Promise<void> => {
    entry.phase = 'sending'
    entry.attempts += 1
    const current = new AbortController()
    entry.current = current
    const { request, account } = entry
    const key = request.policy === 'keyed' ? { idempotencyKey: request.idempotencyKey } : {}
    const call = { attempt: entry.attempts, signal: current.signal, room: account, ...key }
    const [settledSend] = await Promise.allSettled([Promise.resolve().then(() => request.send(call))])
    entry.current = undefined
    if (isOver(entry)) return
    const ended: AttemptEnd<unknown> =
      settledSend.status === 'fulfilled' ? settledSend.value : { outcome: 'failed', error: settledSend.reason }
    if (ended.outcome === 'lost') entry.sent = true
    const endedByUs = current.signal.aborted
    const { attempts, sent } = entry
    if (ended.outcome === 'replied') {
      settle(entry, { outcome: 'replied', reply: ended.reply, attempts, waitedMs: waitedMs(entry) })
    } else if (ended.outcome === 'failed') {
      settle(entry, { outcome: 'failed', error: ended.error, attempts, sent })
    } else {
      await unanswered(entry, ended.error, endedByUs)
    }
  }

  /** An attempt failed as they do when the network is away. Is it? */
  const unanswered = async (entry: Entry, error: unknown, endedByUs: boolean): Promise<void> => {
    const looked = monitor.check().then(
      ({ reachable }) => reachable,
      () => true
    )
    const { attempts, sent } = entry
    if (!repeatable(entry)) {
      return settle(entry, sent ? { outcome: 'reply-lost', error } : { outcome: 'failed', error, attempts, sent })
    }
    if (entry.tooOld) return expire(entry, 'age')
    if (closed) return refuse(entry, 'closed', error)
    if (entry.heldAt === undefined) await hold(entry, error)
    if (isOver(entry)) return
    entry.phase = 'judging'
    const reachable = await looked
    if (isOver(entry)) return
    if (reachable && !endedByUs) {
      entry.failures += 1
      if (entry.failures >= attemptsMax) return settle(entry, { outcome: 'failed', error, attempts, sent })
      entry.backedOffMs = backoffMs(retry, entry.failures, entry.backedOffMs, random)
      entry.notBefore = clock.monotonic() + entry.backedOffMs
    }
    entry.phase = 'ready'
    pump()
  }

  /** Sends what can be sent now: whatever is tried again, and the first of each lane, at the pace of a replay. */
  function pump(): void {
    if (closed || !monitor.reachable) return
    const now = clock.monotonic()
    const isDue = ({ phase, notBefore }: Entry): boolean => {
      if (phase === 'ready' && notBefore > now) wakeIn(notBefore - now)
      return phase === 'ready' && notBefore <= now
    }
    for (const entry of retrying) if (isDue(entry)) void attempt(entry)
    for (const entry of lanes.heads()) {
      if (replaying >= lanesMax) return
      if (!isDue(entry)) continue
      const token = bucket.take()
      if (token.outcome !== 'taken') {
        wakeIn(token.outcome === 'throttled' ? token.retryAfterMs : 0)
        return
      }
      replaying += 1
      void attempt(entry).finally(() => {
        replaying -= 1
        pump()
      })
    }
  }

  const wakeIn = (delayMs: number): void => {
    const at = clock.monotonic() + delayMs
    if (at >= wakeAt) return
    wake?.cancel()
    wakeAt = at
    // In the background: the age of whoever waits keeps the process alive.
    wake = clock.startTimer(
      delayMs,
      () => {
        wakeAt = Number.POSITIVE_INFINITY
        pump()
      },
      { background: true }
    )
  }

  const onReading = ({ state, changedFrom, failed }: PartitionReading): void => {
    if (changedFrom !== undefined) onChange(state, failed)
    pump()
  }

  const onChange = (state: NetworkState, failed: PartitionReading['failed']): void => {
    if (state === 'recovering') {
      report({ type: 'network.recovering' })
    } else if (state === 'partitioned') {
      // A recovery that did not last is the same partition.
      if (partitionedAt === undefined) {
        partitionedAt = clock.monotonic()
        since = { buffered: waiting(), replayed: 0, refused: 0, expired: 0, aborted: 0, failed: 0 }
        draining = false
      }
      partitions += 1
      report({ type: 'network.partitioned', failed })
      for (const entry of retrying) {
        lanes.add(entry)
        if (entry.phase !== 'loading') buffered(entry)
      }
      retrying.clear()
      for (const entry of [...direct, ...lanes.all()]) {
        if (entry.request.policy !== 'never') entry.current?.abort(new AttemptEnded('the network is partitioned'))
      }
      sandboxes.cutOff()
    } else {
      const partitionedMs = clock.monotonic() - (partitionedAt ?? clock.monotonic())
      partitionedAt = undefined
      draining = lanes.size > 0
      report({ type: 'network.recovered', partitionedMs, counts: counts() })
      sandboxes.restored()
    }
  }

  const unsubscribe = monitor.subscribe(onReading)

  const close = async (): Promise<void> => {
    closed = true
    unsubscribe()
    wake?.cancel()
    sandboxes.close()
    for (const entry of [...lanes.all(), ...retrying]) if (entry.phase !== 'sending') refuse(entry, 'closed')
  }

  return {
    get state() {
      return monitor.state
    },
    get partitions() {
      return partitions
    },
    async send<Reply>(request: OutboundRequest<Reply>, { signal }: { readonly signal?: AbortSignal | undefined } = {}) {
      parseOptions<unknown>(outboundRequestSchema, 'guard.send', request)
      return new Promise<SendOutcome<Reply>>((resolve, reject) => {
        total.submitted += 1
        const entry: Entry = {
          sequence: ++sequence,
          lane: request.lane,
          request,
          account: ledger.open(),
          resolve: resolve as (outcome: Outcome) => void,
          reject,
          signal,
          onAbort() {
            if (!end(entry)) return
            total.aborted += 1
            if (entry.buffered) since.aborted += 1
            reject(signal?.reason)
            leave(entry)
          },
          deadline: undefined,
          age: undefined,
          heldAt: undefined,
          buffered: false,
          phase: 'new',
          attempts: 0,
          failures: 0,
          backedOffMs: 0,
          notBefore: 0,
          sent: false,
          tooOld: false,
          current: undefined
        }
        if (signal?.aborted === true) return entry.onAbort()
        signal?.addEventListener('abort', entry.onAbort, { once: true })
        if (request.deadlineMs !== undefined) {
          entry.deadline = clock.startTimer(request.deadlineMs, () => {
            // What is under way may have reached its server.
            if (entry.phase === 'sending') entry.sent = true
            expire(entry, 'deadline')
          })
        }
        if (closed) return refuse(entry, 'closed')
        // Once connected, what must not be repeated does not wait behind what is.
        if (monitor.state === 'connected' && (!lanes.has(entry.lane) || !repeatable(entry))) {
          direct.add(entry)
          void attempt(entry)
        } else if (repeatable(entry)) {
          void hold(entry).then(() => {
            if (isOver(entry)) return
            entry.phase = 'ready'
            pump()
          })
        } else {
          refuse(entry, 'not-repeatable')
        }
      })
    },
    enrol: (sandbox, keep) => sandboxes.enrol(sandbox, keep),
    statistics: () => ({ ...total, waiting: held(), sending: direct.size, bytes: ledger.usedBytes }),
    close,
    [Symbol.asyncDispose]: close
  }
}
