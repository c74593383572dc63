import { isSuiteError } from '@enablement/core'

interface BatchOptions<Item, Result> {
  /** Does them all in one unit. What it throws, none of them did. */
  readonly run: (items: readonly Item[]) => Promise<readonly Result[]>
  readonly itemsMax: number
  /** Units under way at the same time. */
  readonly unitsMax: number
}

const SHARED = ['STORE_UNAVAILABLE', 'COMMIT_UNKNOWN', 'OVERLOADED', 'CLOSED']

/** Whether a unit's fault says nothing about any one item: doing them one by one would meet the same. */
export const isShared = (error: unknown): boolean => SHARED.some((code) => isSuiteError(error, code))

/**
 * Callers for whom another unit is begun while one is free. On two cores units of 16 decide a fifth more on Postgres than
 * units of 4 beside each other.
 */
const ITEMS_MIN = 16

/**
 * Lets callers who come at the same time share units: while as many units as may be are under way, those who come wait for
 * the next one together. A unit's cost is mostly its own, so that many callers are served by little more work than one;
 * where several units are free they share the callers. One that makes its unit fail fails alone: the others are done again
 * without it.
 */
export function inBatches<Item, Result>(options: BatchOptions<Item, Result>): (item: Item) => Promise<Result> {
  const { run, itemsMax, unitsMax } = options
  const queue: Waiting<Item, Result>[] = []
  let underWay = 0
  let gathering = false

  const runOne = async ({ item, resolve, reject }: Waiting<Item, Result>): Promise<void> => {
    try {
      const [result] = await run([item])
      resolve(result as Result)
    } catch (error) {
      reject(error)
    }
  }

  const runUnit = async (taken: readonly Waiting<Item, Result>[]): Promise<void> => {
    const [first] = taken
    if (first !== undefined && taken.length === 1) return runOne(first)
    let results: readonly Result[]
    try {
      results = await run(taken.map(({ item }) => item))
    } catch (error) {
      if (isShared(error)) {
        for (const { reject } of taken) reject(error)
        return
      }
      for (const one of taken) await runOne(one)
      return
    }
    for (const [at, { resolve }] of taken.entries()) resolve(results[at] as Result)
  }

  /** Shares those who wait between the units that are free. */
  const begin = (): void => {
    gathering = false
    const units = Math.min(unitsMax - underWay, Math.ceil(queue.length / ITEMS_MIN))
    for (let left = units; left > 0; left--) {
      const taken = queue.splice(0, Math.min(itemsMax, Math.ceil(queue.length / left)))
      underWay += 1
      void runUnit(taken).finally(() => {
        underWay -= 1
        gather()
      })
    }
  }

  /** Whoever calls in the same turn of the loop comes along. */
  const gather = (): void => {
    if (gathering || queue.length === 0 || underWay >= unitsMax) return
    gathering = true
    queueMicrotask(begin)
  }

  return (item) =>
    new Promise((resolve, reject) => {
      queue.push({ item, resolve, reject })
      gather()
    })
}

interface Waiting<Item, Result> {
  readonly item: Item
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}
