import type { SqlDatabase } from '../sql/sql-database.ts'
import type { Clock } from '../time/clock.ts'
import { tapped } from './statement-tap.ts'

/**
 * Stands for the store's clock in a statement until it runs, so that stores may build their texts once. No database
 * knows this function: a text that bypassed the wrapper fails loudly instead of telling the real time.
 */
const NOW = 'enablement_virtual_now()'

/**
 * The same database, with `clock` in place of the store's own: `dialect.now` is read from `clock.now()` as each
 * statement runs, so that a test moves the deadlines that a store decides. Closing it closes `db`.
 */
export function withStoreClock(db: SqlDatabase, clock: Clock): SqlDatabase {
  return {
    dialect: { ...db.dialect, now: NOW },
    supports: db.supports,
    run: (work, options) =>
      db.run(
        () =>
          tapped(work(), ({ text, values }) => ({
            // The cast keeps small instants 64 bits wide on Postgres, where `2000000000 + 2000000000` overflows.
            text: text.replaceAll(NOW, `cast(${clock.now()} as bigint)`),
            values
          })),
        options
      ),
    close: () => db.close(),
    [Symbol.asyncDispose]: () => db[Symbol.asyncDispose]()
  }
}
