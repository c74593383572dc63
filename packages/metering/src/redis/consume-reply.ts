import { CoreError } from '@enablement/core'
import { replyInteger } from '@enablement/core/redis'
import type { Refusal, SpendAnswer } from '../quota/quota-store.ts'

/** The answers in a line of `metering.consume`, for `amounts`. Throws `STORE_DAMAGED`. */
export function answersIn(line: string, amounts: readonly number[]): SpendAnswer[] {
  if (line.startsWith('=')) return allConsumed(line, amounts)
  return entriesIn(line, amounts.length)
}

/** The answers in a line that has an entry for each. Throws `STORE_DAMAGED`. */
export function entriesIn(line: string, count: number): SpendAnswer[] {
  const entries = line.split(';')
  if (entries.length !== count) throw unknownReply()
  let said: string | undefined
  let resetsAt: number | null = null
  return entries.map((entry) => {
    if (!isDigit(entry)) return answerIn(entry)
    const comma = entry.indexOf(',')
    const resets = comma === -1 ? said : entry.slice(comma + 1)
    // The same instant as before, as a rule: it is read once.
    if (resets !== said || said === undefined) resetsAt = instantIn(resets)
    said = resets
    const remaining = replyInteger(comma === -1 ? entry : entry.slice(0, comma))
    return { outcome: 'consumed', remaining, resetsAt, replayed: false }
  })
}

function isDigit(entry: string): boolean {
  const code = entry.charCodeAt(0)
  return code >= 0x30 && code <= 0x39
}

/** All of them were spent, one after the other, and the line says what remained after the last. */
function allConsumed(line: string, amounts: readonly number[]): SpendAnswer[] {
  const comma = line.indexOf(',')
  let remaining = replyInteger(line.slice(1, comma))
  const resetsAt = instantIn(line.slice(comma + 1))
  if (amounts.length === 1) return [{ outcome: 'consumed', remaining, resetsAt, replayed: false }]
  for (let at = 1; at < amounts.length; at++) remaining += amounts[at] as number
  const answers: SpendAnswer[] = []
  for (let at = 0; at < amounts.length; at++) {
    if (at > 0) remaining -= amounts[at] as number
    answers.push({ outcome: 'consumed', remaining, resetsAt, replayed: false })
  }
  return answers
}

function answerIn(entry: string): SpendAnswer {
  const body = entry.slice(1)
  switch (entry[0]) {
    case 'p': {
      const comma = body.indexOf(',')
      const remaining = replyInteger(body.slice(0, comma))
      return { outcome: 'consumed', remaining, resetsAt: instantIn(body.slice(comma + 1)), replayed: true }
    }
    case 'r':
      return refusalIn(body)
    case 'x':
      return { outcome: 'conflict', firstAmount: replyInteger(body) }
    case 'e':
      return { outcome: 'elsewhere', now: replyInteger(body) }
    default:
      throw unknownReply()
  }
}

/** `charge,remaining,retry`. */
export function refusalIn(body: string): Refusal {
  const [charge, remaining, retry] = body.split(',')
  return {
    outcome: 'refused',
    charge: replyInteger(charge),
    remaining: replyInteger(remaining),
    retryAt: instantIn(retry)
  }
}

/** Epoch milliseconds; null for `-`. */
export function instantIn(text: string | undefined): number | null {
  return text === '-' ? null : replyInteger(text)
}

export function unknownReply(): CoreError<'STORE_DAMAGED'> {
  const reason = 'a script of quotas returned what it does not have'
  return new CoreError('STORE_DAMAGED', reason, { store: 'redis', reason })
}
