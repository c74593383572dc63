import {
  createSingleFlight,
  createTimeout,
  type Platform,
  parseOptions,
  reporter,
  systemPlatform
} from '@enablement/core'
import { z } from 'zod'
import type { ApproverDirectory, DirectoryOptions } from './approver-directory.ts'

/** How long answers are kept. */
export interface CachedDirectoryOptions {
  /** How old an answer may be to be given without asking again: 1 ms to a day. A change counts that much later. */
  readonly freshMs: number
  /** How old it may be while the directory fails, at least `freshMs`; 0 for never. */
  readonly staleMs: number
  /** How long the directory has for an answer, 2 s unless given; then it has failed. */
  readonly timeoutMs?: number
  /** Answers that are kept, 10,000 unless given. The one that was given longest ago makes room. */
  readonly entriesMax?: number
  readonly platform?: Platform
  readonly observe?: (event: CachedDirectoryEvent) => void
}

/** The directory failed, and for the next `freshMs` an old answer is given in its place. */
export interface CachedDirectoryEvent {
  readonly type: 'directory.stale'
  readonly tenant: string
  readonly asked: { readonly kind: 'approver' | 'group' | 'on-call'; readonly name: string }
  readonly ageMs: number
  readonly error: unknown
}

const DAY_MS = 86_400_000

const cacheOptions: z.ZodType<CachedDirectoryOptions> = z
  .strictObject({
    freshMs: z.int().min(1).max(DAY_MS),
    staleMs: z.int().min(0).max(DAY_MS),
    timeoutMs: z.int().min(1).max(DAY_MS).exactOptional(),
    entriesMax: z.int().min(1).max(1_000_000).exactOptional(),
    platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional(),
    observe: z
      .custom<(event: CachedDirectoryEvent) => void>((value) => typeof value === 'function', 'must be a function')
      .exactOptional()
  })
  .refine(({ freshMs, staleMs }) => staleMs === 0 || staleMs >= freshMs, {
    path: ['staleMs'],
    message: 'must be 0 or at least freshMs'
  })

type Answer = Awaited<ReturnType<ApproverDirectory['find']>> | readonly string[] | undefined

interface Entry {
  readonly answer: Answer
  /** By the monotonic clock. */
  readonly givenAt: number
  /** The instant that was asked about; 0 where none was. */
  readonly at: number
  /** Until when it is given without asking, by the monotonic clock. */
  freshUntil: number
}

/**
 * Remembers the answers of a slow directory, so that a storm of requests asks it once for each person, group and schedule.
 * Who is on call at an instant is taken for who is at instants less than `freshMs` away.
 *
 * That there is nobody is never told from memory while the directory fails: whoever asks gets its error. Throws
 * `INVALID_OPTIONS`; answers throw what the directory throws, and `TIMED_OUT` (core) when it does not answer.
 */
export function cachedDirectory(directory: ApproverDirectory, options: CachedDirectoryOptions): ApproverDirectory {
  const parsed = parseOptions(cacheOptions, 'cachedDirectory', options)
  const { freshMs, staleMs, timeoutMs = 2_000, entriesMax = 10_000, platform = systemPlatform, observe } = parsed
  const { clock } = platform
  const emit = reporter(observe)
  const timeout = createTimeout({ timeoutMs, platform })
  const flights = createSingleFlight<Answer>()
  const entries = new Map<string, Entry>()

  async function ask<T extends Answer>(
    asked: CachedDirectoryEvent['asked'],
    { tenant, signal }: DirectoryOptions,
    at: number,
    question: (options: DirectoryOptions) => Promise<T>
  ): Promise<T> {
    signal.throwIfAborted()
    const key = JSON.stringify([asked.kind, tenant, asked.name])
    const known = entries.get(key)
    if (known !== undefined && clock.monotonic() < known.freshUntil && Math.abs(at - known.at) < freshMs) {
      return known.answer as T
    }
    // The signal of one who asks must not end what others wait for: the question has a time limit of its own.
    const work = async (): Promise<Answer> => {
      try {
        const answer = await timeout.execute((call) => question({ tenant, signal: call.signal }))
        remember(key, answer, at)
        return answer
      } catch (error) {
        const kept = entries.get(key)
        const now = clock.monotonic()
        if (kept === undefined || !namesSomebody(kept.answer)) throw error
        if (now - kept.givenAt >= staleMs || Math.abs(at - kept.at) >= staleMs) throw error
        kept.freshUntil = Math.min(now + freshMs, kept.givenAt + staleMs)
        emit({ type: 'directory.stale', tenant, asked, ageMs: now - kept.givenAt, error })
        return kept.answer
      }
    }
    return (await flights.run(JSON.stringify([key, Math.floor(at / freshMs)]), work, { signal })) as T
  }

  function remember(key: string, answer: Answer, at: number): void {
    const givenAt = clock.monotonic()
    entries.delete(key)
    entries.set(key, { answer, givenAt, at, freshUntil: givenAt + freshMs })
    const [oldest] = entries.keys()
    if (entries.size > entriesMax && oldest !== undefined) entries.delete(oldest)
  }

  const { members, onCall } = directory
  return {
    find: (name, call) => ask({ kind: 'approver', name }, call, 0, (own) => directory.find(name, own)),
    ...(members === undefined
      ? {}
      : {
          members: (name: string, call: DirectoryOptions) =>
            ask({ kind: 'group', name }, call, 0, (own) => members.call(directory, name, own))
        }),
    ...(onCall === undefined
      ? {}
      : {
          onCall: (name: string, call: DirectoryOptions & { readonly at: number }) =>
            ask({ kind: 'on-call', name }, call, call.at, (own) =>
              onCall.call(directory, name, { ...own, at: call.at })
            )
        })
  }
}

/** An old "nobody" would let a request pass over people who are there. */
const namesSomebody = (answer: Answer): boolean =>
  answer !== undefined && !(Array.isArray(answer) && answer.length === 0)
