import { createTimeout, type Platform } from '@enablement/core'
import type { Duty } from '@enablement/core/schedule'
import type { Change, Courier, MessageEnd, OutgoingMessage } from '../oversight-store.ts'
import type { RequestRecord } from '../request/request.ts'

interface Letter extends OutgoingMessage {
  readonly id: string
  attempt: number
  dueAt: number
}

/** Messages that wait in this process, and go out one after another. */
export interface MemoryMail {
  put(messages: readonly OutgoingMessage[]): void
  duty(courier: Courier): Duty
}

/** As core's outbox waits: some 1, 2 and 4 s, up to an hour, with half of it by chance. */
const PAUSE_MS = 1_000
const PAUSE_MAX_MS = 3_600_000
/** A day: then nobody wants to know any more. */
const ATTEMPTS_MAX = 32

export function createMemoryMail(options: {
  readonly platform: Platform
  readonly attemptMs: number
  readonly change: <Answer>(requestId: string, step: (request: RequestRecord, now: number) => Change<Answer>) => Answer
}): MemoryMail {
  const { platform, attemptMs, change } = options
  const { clock, random } = platform
  const timeout = createTimeout({ timeoutMs: attemptMs, platform })
  const waiting: Letter[] = []
  let count = 0

  const end = (courier: Courier, letter: Letter, how: MessageEnd): void => {
    const at = waiting.indexOf(letter)
    if (at === -1) return
    waiting.splice(at, 1)
    const requestId = courier.requestOf(letter.payload)
    if (requestId === undefined || how.outcome === 'dropped') return
    const made = change(requestId, (request, now) => {
      const settled = courier.settle(request, letter.payload, how, now)
      return { ...settled, answer: { request: settled.request ?? request, answer: settled.answer } }
    })
    courier.settled(made.request, made.answer)
  }

  const again = (courier: Courier, letter: Letter, afterMs = 0): void => {
    if (letter.attempt >= ATTEMPTS_MAX)
      return end(courier, letter, { outcome: 'unreachable', reason: 'out of attempts' })
    const pauseMs = Math.min(PAUSE_MAX_MS, PAUSE_MS * 2 ** (letter.attempt - 1))
    letter.dueAt = clock.now() + afterMs + pauseMs * (0.5 + random.float() / 2)
  }

  const attempt = async (courier: Courier, letter: Letter): Promise<void> => {
    letter.attempt += 1
    const { id, payload } = letter
    try {
      const outcome = await timeout.execute(({ signal }) =>
        courier.deliver({ id, payload, attempt: letter.attempt }, { signal })
      )
      if (outcome.outcome === 'failed') return again(courier, letter, outcome.afterMs)
      if (outcome.outcome === 'postponed') {
        letter.attempt -= 1
        letter.dueAt = clock.now() + outcome.afterMs
        return
      }
      end(courier, letter, outcome)
    } catch {
      again(courier, letter)
    }
  }

  return {
    put(messages) {
      const dueAt = clock.now()
      for (const message of messages) waiting.push({ ...message, id: `message-${++count}`, attempt: 0, dueAt })
    },
    duty: (courier) => ({
      name: 'oversight.delivery',
      async run({ signal }) {
        const due = waiting.filter(({ dueAt }) => dueAt <= clock.now())
        let handled = 0
        for (const letter of due) {
          if (signal.aborted) break
          await attempt(courier, letter)
          handled += 1
        }
        const next = Math.min(...waiting.map(({ dueAt }) => dueAt))
        return { handled, nextDueInMs: Number.isFinite(next) ? Math.max(0, next - clock.now()) : undefined }
      }
    })
  }
}
