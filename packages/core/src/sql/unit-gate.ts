import { CoreError } from '../failure/core-error.ts'

/** Counts the units that a database has taken on, so that there is a bound to them and an end. */
export interface UnitGate {
  /**
   * Lets a unit in until its promise settles. Throws `CLOSED` after `close`, and `OVERLOADED` when `unitsMax` units are
   * in.
   */
  admit<T>(run: () => Promise<T>): Promise<T>
  /** Lets nobody in any more; resolves when everybody has left and `release` is done. */
  close(): Promise<void>
}

/** A gate before the store called `store`; `release` lets go of what the database holds. */
export function createUnitGate(store: string, unitsMax: number, release: () => void | Promise<void>): UnitGate {
  let inside = 0
  let closing: Promise<void> | undefined
  let onEmpty: (() => void) | undefined

  return {
    async admit(run) {
      if (closing !== undefined) throw new CoreError('CLOSED', `the ${store} database is closed`, { what: store })
      if (inside >= unitsMax) {
        throw new CoreError('OVERLOADED', `${inside} units already wait for ${store}, the most it takes`, {
          what: store,
          waiting: inside,
          limit: unitsMax
        })
      }
      inside += 1
      try {
        return await run()
      } finally {
        inside -= 1
        if (inside === 0) onEmpty?.()
      }
    },
    close() {
      closing ??= new Promise<void>((resolve) => {
        if (inside === 0) resolve()
        else onEmpty = resolve
      }).then(release)
      return closing
    }
  }
}
