import { type Platform, sleep } from '@enablement/core'
import { securityHeaders, textAnswer } from './answer.ts'
import type { InboxEvent } from './inbox-event.ts'
import type { InboxVisitor } from './visitor.ts'

export interface LiveOptions {
  readonly pollMs: number
  readonly platform: Platform
  readonly report: (event: InboxEvent) => void
}

/** What one page asks for. */
export interface LiveQuestion {
  readonly visitor: InboxVisitor
  /** Whether the same person is still signed in. */
  readonly isStillSignedIn: () => Promise<boolean>
  /** What the page would show now, as one line for each thing. Throws when the store does not answer. */
  readonly snapshot: () => Promise<string>
  /** Aborts when the browser is gone. */
  readonly signal: AbortSignal
}

/** Streams of server-sent events, each of which polls the store by itself: as many as the bounds allow. */
export interface LiveUpdates {
  open(question: LiveQuestion): Response
  /** Ends all of them, and opens no more. */
  close(): void
}

/** A person's pages on all their devices; hidden pages give their stream back. The others of theirs ask by themselves. */
const STREAMS_PER_APPROVER_MAX = 6

/** Of one process, each with one question to the store every `pollMs`. */
const STREAMS_MAX = 1_000

/** A stream ends after this, and the page opens another: nothing depends on a connection that lives for long. */
const STREAM_MS = 600_000

/** How often it is asked whether the person is still signed in. */
const SIGNED_IN_MS = 60_000

/** Silence longer than this makes proxies hang up, and lets a peer that is gone go unnoticed. */
const SILENCE_MS = 15_000

/**
 * Server-sent events (HTML Standard §9.2). The event `state` has the snapshot whenever it changed, `signed-out` says that
 * the page should be loaded again. A store that does not answer is asked again at the next turn; the page keeps what it has.
 */
export function liveUpdates({ pollMs, platform, report }: LiveOptions): LiveUpdates {
  const { clock } = platform
  /** What ends each stream, and whose it is. */
  const open = new Map<() => void, string>()
  let isClosed = false
  const countOf = (owner: string): number => [...open.values()].filter((one) => one === owner).length

  return {
    open({ visitor, isStillSignedIn, snapshot, signal }) {
      const owner = JSON.stringify([visitor.tenant, visitor.approver])
      if (isClosed) return textAnswer(503, 'closed')
      if (open.size >= STREAMS_MAX || countOf(owner) >= STREAMS_PER_APPROVER_MAX) {
        report({ type: 'inbox.streams-full', approver: visitor.approver, streams: open.size })
        return textAnswer(503, 'too many streams', { 'retry-after': '60' })
      }
      const ending = new AbortController()
      const end = (): void => {
        signal.removeEventListener('abort', end)
        open.delete(end)
        ending.abort()
      }
      open.set(end, owner)
      signal.addEventListener('abort', end)
      if (signal.aborted) end()
      return new Response(eventStream(events(), end), {
        headers: {
          ...securityHeaders,
          'content-type': 'text/event-stream; charset=utf-8',
          // Middleware that compresses would hold small events back, and so would nginx.
          'cache-control': 'no-store, no-transform',
          'x-accel-buffering': 'no'
        }
      })

      async function* events(): AsyncGenerator<string> {
        const startedAt = clock.monotonic()
        let signedInAt = startedAt
        let heardAt = startedAt
        let last: string | undefined
        // Without this line the browser would wait for the first change before it says that the stream is open.
        yield `retry: ${pollMs}\n\n`
        while (clock.monotonic() - startedAt < STREAM_MS && !ending.signal.aborted) {
          const now = clock.monotonic()
          if (now - signedInAt >= SIGNED_IN_MS) {
            if (!(await isStillSignedIn())) {
              yield 'event: signed-out\ndata:\n\n'
              return
            }
            signedInAt = now
          }
          const state = await snapshot().catch(() => last)
          if (state !== undefined && state !== last) {
            last = state
            heardAt = now
            yield `event: state\n${state.replaceAll(/^/gm, 'data: ')}\n\n`
          } else if (now - heardAt >= SILENCE_MS) {
            heardAt = now
            yield ':\n\n'
          }
          await sleep(clock, pollMs, { signal: ending.signal, background: true }).catch(() => undefined)
        }
      }
    },
    close() {
      isClosed = true
      for (const end of open.keys()) end()
    }
  }
}

/** A body that takes the next piece only when the last has gone out, and calls `end` once it is over, however. */
function eventStream(pieces: AsyncGenerator<string>, end: () => void): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await pieces.next().catch(() => ({ done: true, value: undefined }) as const)
        if (done !== true && value !== undefined) return controller.enqueue(encoder.encode(value))
        end()
        controller.close()
      },
      cancel: end
    },
    { highWaterMark: 0 }
  )
}
