import process from 'node:process'
import type { SqlDatabase } from '@enablement/core/sql'

/** When a process ends itself, as `kill -9` would: at the crash point with this number, counted from 0. */
export interface Fate {
  readonly at: number
  /** Which are counted: all (before a unit, between its statements, at and after its commit), or the last alone. */
  readonly of: 'all' | 'replies-lost'
}

/** A database as a process has it that dies at a point of what it does with it; without a fate it lives. */
export function fatalPoints(db: SqlDatabase, fate: Fate | undefined): SqlDatabase {
  if (fate === undefined) return db
  let passed = 0
  const pass = (isReply = false): void => {
    if (fate.of === 'replies-lost' && !isReply) return
    // Nothing runs after this call.
    if (passed === fate.at) process.kill(process.pid, 'SIGKILL')
    passed += 1
  }
  return {
    ...db,
    async run(work, options) {
      pass()
      const value = await db.run(function* () {
        const unit = work()
        let step = unit.next()
        while (step.done !== true) {
          let result: Parameters<typeof unit.next>[0]
          try {
            result = yield step.value
          } catch (error) {
            step = unit.throw(error)
            continue
          }
          pass()
          step = unit.next(result)
        }
        return step.value
      }, options)
      pass(true)
      return value
    },
    [Symbol.asyncDispose]: () => db.close()
  }
}
