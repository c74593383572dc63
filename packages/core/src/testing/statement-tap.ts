import type { Sql, SqlStatement } from '../sql/sql-database.ts'

/**
 * Passes a unit on to its database statement by statement, each through `tap`, which may rewrite it or throw. Results
 * and errors go back to the unit as they come; ended early, the unit's `finally` blocks run.
 */
export function* tapped<T>(unit: Sql<T>, tap: (statement: SqlStatement, index: number) => SqlStatement): Sql<T> {
  try {
    let step = unit.next()
    for (let index = 0; step.done !== true; index++) {
      let result: Parameters<typeof unit.next>[0]
      try {
        result = yield tap(step.value, index)
      } catch (error) {
        step = unit.throw(error)
        continue
      }
      step = unit.next(result)
    }
    return step.value
  } finally {
    // Has no effect on a unit that has ended.
    unit.return(undefined as never)
  }
}
