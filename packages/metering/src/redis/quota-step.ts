import { optionalReplyText, replyInteger, replyText, type ScriptReply } from '@enablement/core/redis'
import type { QuotaStep } from '../quota/quota-ledger.ts'
import { instantIn } from './consume-reply.ts'
import { holdIn } from './hold-text.ts'

/** Where a script has its counters among the keys. */
interface NamedKeys {
  readonly names: readonly string[]
  /** How long spends are remembered in each memory; of `metering.consume`. */
  readonly memories?: readonly number[]
  /** The place of the first name in KEYS, from 1; that of `metering.consume` unless given. */
  readonly first?: number
}

const NOTHING: QuotaStep = { revision: 0, counters: [], spends: [], holds: [] }

/** What a script told of its step. Without a ledger it tells nothing. */
export function stepOf(
  revision: ScriptReply | undefined,
  counters: ScriptReply | undefined,
  { names, memories = [], first = 4 }: NamedKeys,
  spends: ScriptReply | undefined,
  holds?: ScriptReply
): QuotaStep {
  if (revision === undefined || revision === '0') return NOTHING
  return {
    revision: replyInteger(revision),
    counters: linesOf(counters).map((line) => {
      const [place, units, forget, state] = line.split(' ')
      return {
        name: names[replyInteger(place) - first] as string,
        units: replyInteger(units),
        forgetAt: instantIn(forget),
        state: replyText(state)
      }
    }),
    spends: linesOf(spends).map((line) => {
      // A key may hold spaces, and the value has none.
      const [memory, last] = [line.indexOf(' '), line.lastIndexOf(' ')]
      const value = line.slice(last + 1)
      return {
        memoryMs: memories[replyInteger(line.slice(0, memory)) - 1] as number,
        token: line.slice(memory + 1, last),
        expiresAt: replyInteger(value.slice(value.lastIndexOf(':') + 1)),
        value
      }
    }),
    holds: (optionalReplyText(holds ?? null) ?? '')
      .split('\x1e')
      .filter((told) => told !== '')
      .map((told) => {
        const end = told.indexOf('\n')
        const text = told.slice(end + 1)
        const { expiresAt, forgetAt } = holdIn(text)
        return { name: told.slice(0, end), forgetAt, expiresAt, text }
      })
  }
}

function linesOf(text: ScriptReply | undefined): string[] {
  return text === undefined || text === '' ? [] : replyText(text).split('\n')
}
