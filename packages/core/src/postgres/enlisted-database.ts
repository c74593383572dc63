import type { Sql, SqlDatabase } from '../sql/sql-database.ts'
import { driveUnit } from '../sql/unit.ts'
import { createUnitGate } from '../sql/unit-gate.ts'
import { createSemaphore } from '../turn/semaphore.ts'
import type { PgClient } from './pg-pool.ts'
import { PgStatements } from './pg-statements.ts'
import { postgresDialect } from './postgres-dialect.ts'
import { POSTGRES, postgresFailure } from './postgres-failure.ts'

/** Units that may wait for the one transaction. */
const UNITS_MAX = 1_000

/**
 * Runs units inside a transaction that the caller has opened on `client` and will end: what they did is committed with
 * the caller's own statements, or not at all.
 *
 * Each unit has a savepoint, so one that throws undoes itself and leaves the transaction usable; units that are started
 * together run one after another. The caller keeps three duties: to send nothing on the client while a unit runs, to
 * commit, and to start over when the transaction fails, because no unit can be run again on its own here. A resolved
 * `run` is therefore a promise of nothing until the caller's COMMIT, which is why `supports.durable` is `none`.
 *
 * `close` waits for the units under way; client and transaction stay the caller's. Outside a transaction a unit fails
 * with `STATEMENT_FAILED`.
 */
export function enlist(client: PgClient): SqlDatabase {
  const statements = new PgStatements(false)
  const turns = createSemaphore({ places: 1, waitingMax: UNITS_MAX })
  const gate = createUnitGate(POSTGRES, UNITS_MAX, () => {})

  const command = async (text: string): Promise<void> => {
    try {
      await client.query(text)
    } catch (error) {
      throw postgresFailure(error, text, text)
    }
  }
  const run = async <T>(work: () => Sql<T>): Promise<T> => {
    await command('savepoint enablement_unit')
    try {
      const value = await driveUnit(POSTGRES, work, async (statement) => {
        try {
          return await statements.perform(client, statement)
        } catch (error) {
          throw postgresFailure(error, 'run a statement', statement.text)
        }
      })
      await command('release savepoint enablement_unit')
      return value
    } catch (error) {
      // Where the connection is gone, so is the transaction, and the unit's own failure is the one to report.
      await command('rollback to savepoint enablement_unit; release savepoint enablement_unit').catch(() => {})
      throw error
    }
  }
  return {
    dialect: postgresDialect,
    supports: { durable: 'none', concurrentWriters: false, blocksEventLoop: false },
    run: (work, options) => gate.admit(() => turns.run(() => run(work), options)),
    close: () => gate.close(),
    [Symbol.asyncDispose]: () => gate.close()
  }
}
