import type { Duty } from '@enablement/core/schedule'
import { isPassing } from '../metering-error.ts'
import {
  decodeHeld,
  decodeSettled,
  encodeHeld,
  encodeSettled,
  HELD_TYPE,
  type HeldUsage,
  SETTLED_TYPE,
  type UsageJournal
} from './usage-journal.ts'

/** Events that are settled together: as many as a unit of the ledger takes. */
const CHUNK_MAX = 256

/** Events at fault that are passed over while nothing else could be settled: more are no accident of theirs. */
const STUCK_MAX = 4_096

/**
 * Settles what the journal holds, in its order, and frees its space. `settle` resolves when every event given is durable
 * elsewhere, and throws when one of them is not. After a fault that passes all are asked for again at the next run. Any
 * other may be one event's own, such as of a calendar that is none: those that have it go to the journal's end, so that
 * they block nothing, and the run throws it in the end.
 *
 * How far it got is a record of the journal itself, for space is freed by the segment: a restart would otherwise settle
 * again what is settled, which counts nothing twice and tells everybody so.
 */
export function journalDuty(
  journal: UsageJournal,
  settle: (held: readonly HeldUsage[], signal: AbortSignal) => Promise<void>
): Duty {
  /** Everything up to it is settled; undefined until the journal has been read once. */
  let settled: bigint | undefined
  let running: Promise<number> | undefined

  /** What was settled when the process ended, or is no longer kept, which is as good. */
  const settledBefore = async (signal: AbortSignal): Promise<bigint> => {
    let mark = 0n
    let first: bigint | undefined
    for await (const record of journal.replay({ signal })) {
      first ??= record.sequence
      if (record.type === SETTLED_TYPE) mark = decodeSettled(record)
    }
    return first === undefined || mark >= first - 1n ? mark : first - 1n
  }

  /** Only what is durable elsewhere is trimmed. A journal that is full has no room for the mark, and needs it most. */
  const free = async (through: bigint): Promise<void> => {
    await journal.append(encodeSettled(through), { type: SETTLED_TYPE }).catch(() => undefined)
    await journal.trim({ through })
  }

  const drain = async (signal: AbortSignal): Promise<number> => {
    settled ??= await settledBefore(signal)
    const before = settled
    let handled = 0
    let chunk: HeldUsage[] = []
    let stuck: HeldUsage[] = []
    const faults: unknown[] = []

    const attempt = async (held: readonly HeldUsage[]): Promise<boolean> => {
      try {
        if (held.length > 0) await settle(held, signal)
        handled += held.length
        return true
      } catch (error) {
        if (signal.aborted || isPassing(error)) throw error
        faults.push(error)
        return false
      }
    }

    const settleThrough = async (sequence: bigint): Promise<void> => {
      if (!(await attempt(chunk))) for (const one of chunk) if (!(await attempt([one]))) stuck.push(one)
      chunk = []
      // Where nothing can be settled nothing is at fault but the store: the journal stays as it is.
      if (handled === 0 && stuck.length > STUCK_MAX) throw faults[0]
      if (handled === 0 && stuck.length > 0) return
      await Promise.all(stuck.map((one) => journal.append(encodeHeld(one, 'store-unavailable'), { type: HELD_TYPE })))
      stuck = []
      settled = sequence
    }
    try {
      let last = before
      for await (const record of journal.replay({ after: before, signal })) {
        last = record.sequence
        if (record.type !== SETTLED_TYPE) chunk.push(decodeHeld(record))
        if (chunk.length === CHUNK_MAX) await settleThrough(last)
      }
      await settleThrough(last)
      if (faults.length > 0) throw faults[0]
    } finally {
      if (handled > 0) await free(settled)
    }
    return handled
  }

  return {
    name: 'metering.journal',
    async run({ signal }) {
      // Two workers may run the same duty: both would settle the same events.
      running ??= drain(signal).finally(() => {
        running = undefined
      })
      return { handled: await running }
    }
  }
}
