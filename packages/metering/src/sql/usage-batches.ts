import { CoreError, isSuiteError } from '@enablement/core'
import { ENTRIES_MAX, type UsageEntry } from '../usage/usage-store.ts'

/** Entries that may wait, some 30 MB of them: more would be served too late to be of use to their callers. */
const WAITING_MAX = 65_536

/** Callers for whom another unit is begun while one is free: units of few do little but begin and commit. */
const CALLS_MIN = 16

/** Faults that say nothing about any one entry: taking them one by one would meet the same. */
const SHARED = ['STORE_UNAVAILABLE', 'COMMIT_UNKNOWN', 'STORE_DAMAGED', 'OVERLOADED', 'CLOSED']

interface Call<Verdict> {
  readonly entries: readonly UsageEntry[]
  /** From here on its signal counts no more. */
  begin(): void
  resolve(verdicts: readonly Verdict[]): void
  reject(error: unknown): void
}

/**
 * Lets callers who come at the same time share units of up to 256 entries: while as many units as may be are under way,
 * those who come wait for the next one together. One whose entries make a unit fail fails alone: the others are taken
 * again without it. Throws `OVERLOADED` when too many entries wait.
 */
export function usageBatches<Verdict>(options: {
  /** Takes them all in one unit, and gives a verdict for each in order. What it throws, none of them was. */
  readonly run: (entries: readonly UsageEntry[]) => Promise<readonly Verdict[]>
  /** Units under way at the same time. */
  readonly unitsMax: number
}): (entries: readonly UsageEntry[], signal: AbortSignal | undefined) => Promise<readonly Verdict[]> {
  const { run, unitsMax } = options
  /** In the order they came; a set, because a call whose signal aborts leaves from the middle. */
  const queue = new Set<Call<Verdict>>()
  let waiting = 0
  let underWay = 0
  let gathering = false

  const runOne = async ({ entries, resolve, reject }: Call<Verdict>): Promise<void> => {
    try {
      resolve(await run(entries))
    } catch (error) {
      reject(error)
    }
  }

  const runUnit = async (calls: readonly Call<Verdict>[]): Promise<void> => {
    const [first] = calls
    if (first !== undefined && calls.length === 1) return runOne(first)
    let verdicts: readonly Verdict[]
    try {
      verdicts = await run(calls.flatMap(({ entries }) => entries))
    } catch (error) {
      if (SHARED.some((code) => isSuiteError(error, code))) {
        for (const { reject } of calls) reject(error)
        return
      }
      for (const call of calls) await runOne(call)
      return
    }
    let at = 0
    for (const { entries, resolve } of calls) {
      resolve(verdicts.slice(at, at + entries.length))
      at += entries.length
    }
  }

  const take = (callsMax: number): readonly Call<Verdict>[] => {
    const taken: Call<Verdict>[] = []
    let entries = 0
    for (const call of queue) {
      if (taken.length > 0 && (taken.length >= callsMax || entries + call.entries.length > ENTRIES_MAX)) break
      queue.delete(call)
      call.begin()
      taken.push(call)
      entries += call.entries.length
    }
    waiting -= entries
    return taken
  }

  /** Shares those who wait between the units that are free. */
  const begin = (): void => {
    gathering = false
    const units = Math.min(unitsMax - underWay, Math.ceil(queue.size / CALLS_MIN))
    for (let left = units; left > 0 && queue.size > 0; left--) {
      underWay += 1
      void runUnit(take(Math.ceil(queue.size / left))).finally(() => {
        underWay -= 1
        gather()
      })
    }
  }

  /** Whoever calls in the same turn of the loop comes along. */
  const gather = (): void => {
    if (gathering || queue.size === 0 || underWay >= unitsMax) return
    gathering = true
    queueMicrotask(begin)
  }

  return (entries, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason as Error)
      if (waiting + entries.length > WAITING_MAX) return reject(overloaded(waiting))
      const onAbort = (): void => {
        queue.delete(call)
        waiting -= entries.length
        reject(signal?.reason as Error)
      }
      const call: Call<Verdict> = {
        entries,
        begin: () => signal?.removeEventListener('abort', onAbort),
        resolve,
        reject
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      queue.add(call)
      waiting += entries.length
      gather()
    })
}

function overloaded(waiting: number): CoreError<'OVERLOADED'> {
  const what = 'the SQL usage store'
  const message = `${waiting} usage events wait for ${what}, which takes no more than ${WAITING_MAX}`
  return new CoreError('OVERLOADED', message, { what, waiting, limit: WAITING_MAX })
}
