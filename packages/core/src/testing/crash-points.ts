import type { SqlDatabase } from '../sql/sql-database.ts'
import { tapped } from './statement-tap.ts'

/** A moment at which a process can die while it works with its database. */
export type CrashPoint =
  /** Before the unit began. */
  | { readonly at: 'begin' }
  /** Inside the unit, after `after` of its statements and before the next: all are rolled back. */
  | { readonly at: 'statement'; readonly after: number }
  /** At COMMIT, which did not reach the database: the unit is lost. */
  | { readonly at: 'commit-lost' }
  /** After COMMIT: the unit took effect, and nobody heard of it. */
  | { readonly at: 'reply-lost' }

/**
 * The process is dead. Not a `CoreError`: code under test that handles those must not mistake this for a fault that it
 * may survive.
 */
export class SimulatedCrash extends Error {
  override readonly name = 'SimulatedCrash'
  readonly point: CrashPoint

  constructor(point: CrashPoint) {
    super(`the process died: ${point.at}${point.at === 'statement' ? ` after ${point.after}` : ''}`)
    this.point = point
  }
}

/** A database as one process sees it that is bound to die. */
export interface CrashingDatabase extends SqlDatabase {
  /** Where it died; undefined as long as it lives. When a scenario ends and this is unset, every point has been tried. */
  readonly crashed: CrashPoint | undefined
  /** Points passed so far. */
  readonly passed: number
}

/**
 * `db` as seen by a process that dies at the crash point numbered `at`, counted from 0 over everything it does. From
 * then on every call throws the same `SimulatedCrash`, and so do the units that were under way. `db` itself lives on, as
 * a disk does: wrap it anew to restart. Closing the wrapper leaves `db` open.
 *
 * A unit of n statements has n + 2 points: before it, between each two statements, and twice at its COMMIT. A test
 * tries them all, until a scenario runs to its end:
 *
 * ```ts
 * for (let at = 0; ; at++) {
 *   await using disk = sqliteDatabase({ path: ':memory:' })
 *   const db = crashPoints(disk, { at })
 *   await scenario(db).catch(unlessCrashed)
 *   await checkAfterRestart(disk)
 *   if (db.crashed === undefined) break
 * }
 * ```
 */
export function crashPoints(db: SqlDatabase, options: { readonly at: number }): CrashingDatabase {
  let passed = 0
  let crash: SimulatedCrash | undefined

  const pass = (point: CrashPoint): void => {
    if (crash === undefined && passed === options.at) crash = new SimulatedCrash(point)
    if (crash !== undefined) throw crash
    passed += 1
  }
  const close = async (): Promise<void> => {}

  return {
    dialect: db.dialect,
    supports: db.supports,
    async run(work, runOptions) {
      pass({ at: 'begin' })
      const result = await db.run(function* () {
        const unit = tapped(work(), (statement, index) => {
          if (index > 0) pass({ at: 'statement', after: index })
          return statement
        })
        const value = yield* unit
        pass({ at: 'commit-lost' })
        return value
      }, runOptions)
      pass({ at: 'reply-lost' })
      return result
    },
    close,
    [Symbol.asyncDispose]: close,
    get crashed() {
      return crash?.point
    },
    get passed() {
      return passed
    }
  }
}

/** For `catch`: swallows a simulated crash and throws everything else on. */
export function unlessCrashed(error: unknown): undefined {
  if (error instanceof SimulatedCrash) return undefined
  throw error
}
