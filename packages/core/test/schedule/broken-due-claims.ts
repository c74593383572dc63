import type { Sql, SqlDatabase, SqlStatement } from '@enablement/core/sql'

/** Rewrites every statement of `db`, and says whether any was touched. */
export function rewritten(db: SqlDatabase, rewrite: (text: string) => string): SqlDatabase & { touched(): boolean } {
  let touched = false
  function* through<T>(unit: Sql<T>): Sql<T> {
    let step = unit.next()
    while (step.done !== true) {
      const { text, values } = step.value
      const changed = rewrite(text)
      touched ||= changed !== text
      const statement: SqlStatement = { text: changed, values }
      step = unit.next(yield statement)
    }
    return step.value
  }
  return { ...db, run: (work, options) => db.run(() => through(work()), options), touched: () => touched }
}

/**
 * Claims that are wrong in one place each, as those in the field have been: the statements of the real ones, with a
 * piece of each replaced.
 */
export const brokenDueClaims: readonly { readonly name: string; readonly rewrite: (text: string) => string }[] = [
  {
    name: 'claims without a lease',
    rewrite: (text) => text.replace(/next_due_at = (.*) \+ \?, attempts/, 'next_due_at = $1 + 0 * ?, attempts')
  },
  { name: 'does not let its fences grow', rewrite: (text) => text.replace(/fence = case when.*? end/s, 'fence = 1') },
  {
    name: 'takes its fences from the clock alone',
    rewrite: (text) => text.replace(/fence = case when.*? end/s, 'fence = enablement_virtual_now() * 1000')
  },
  {
    name: 'counts fences from one',
    rewrite: (text) => text.replaceAll(/case when fence >=.*? end/gs, 'fence + 1')
  },
  {
    name: 'finishes without a look at the fence',
    rewrite: (text) => text.replace('(key, fence) in (select k, f', 'key in (select k')
  },
  {
    name: 'extends, advances and releases without a look at the fence',
    rewrite: (text) => text.replace(' and rows_due.fence = given.f', '')
  },
  {
    name: 'hears an answer twice',
    rewrite: (text) => text.replaceAll(/(and rows_due\.unanswered > 0|unanswered > 0 and)/g, '')
  },
  {
    name: 'goes by its own clock instead of the store’s',
    rewrite: (text) => text.replaceAll('enablement_virtual_now()', "cast(unixepoch('subsec') * 1000 as integer)")
  },
  { name: 'loses attempts', rewrite: (text) => text.replace('attempts = attempts + 1', 'attempts = 1') },
  { name: 'does not count deaths', rewrite: (text) => text.replace('unanswered = unanswered + 1', 'unanswered = 1') },
  {
    name: 'claims before the instant',
    rewrite: (text) =>
      text.replace(
        'next_due_at <= (select enablement_virtual_now())',
        'next_due_at <= (select enablement_virtual_now()) + 1'
      )
  },
  {
    name: 'claims a millisecond late',
    rewrite: (text) => text.replace('next_due_at <= (select', 'next_due_at < (select')
  },
  {
    name: 'claims more than it was asked for',
    rewrite: (text) => text.replace('order by next_due_at limit ?', 'order by next_due_at limit 1 + ?')
  },
  {
    name: 'claims the shortest due first',
    rewrite: (text) => text.replace('order by next_due_at limit ?', 'order by next_due_at desc limit ?')
  },
  {
    name: 'shortens a lease when it extends it',
    rewrite: (text) => text.replace(/case when next_due_at > .* then next_due_at else (.*) end from/s, '$1 from')
  },
  {
    name: 'does not extend',
    rewrite: (text) => text.replace(/case when next_due_at > .* then next_due_at else (.*) end/, 'next_due_at')
  },
  {
    name: 'keeps counting when it advances',
    rewrite: (text) => text.replace(', attempts = 0, unanswered = 0', ', unanswered = 0')
  },
  { name: 'counts what is not to be counted', rewrite: (text) => text.replace('attempts = attempts - given.c, ', '') },
  {
    name: 'calls a row a suspect that was released',
    rewrite: (text) => text.replace('attempts = attempts - given.c, unanswered = 0', 'attempts = attempts - given.c')
  },
  {
    name: 'takes suspects',
    rewrite: (text) => (text.startsWith('delete') ? text.replace(' and unanswered < 1', '') : text)
  },
  {
    name: 'claims suspects as if they were fresh',
    rewrite: (text) => (text.startsWith('update') ? text.replace(' and unanswered < 1', '') : text)
  },
  {
    name: 'folds keys',
    rewrite: (text) => text.replace('rows_due.key = given.k', 'lower(rows_due.key) = lower(given.k)')
  }
]
