import type { SqlDatabase } from '@enablement/core/sql'

export type Rewrite = (text: string) => string

/** A database on which the outbox's statements are other ones. */
export function rewriting(db: SqlDatabase, rewrite: Rewrite): SqlDatabase {
  return {
    ...db,
    run: (work, options) =>
      db.run(function* () {
        const unit = work()
        let step = unit.next()
        while (step.done !== true) {
          const { text, values } = step.value
          step = unit.next(yield { text: rewrite(text), values })
        }
        return step.value
      }, options)
  }
}
