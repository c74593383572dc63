import { z } from 'zod'
import { parseOptions } from '../failure/options.ts'
import { reporter } from '../failure/reporter.ts'
import type { Duty } from '../schedule/duty.ts'
import type { Sql, SqlDatabase, SqlRow } from '../sql/sql-database.ts'
import { changes, execute, firstRow, integerOf, optionalTextOf } from '../sql/statement.ts'
import { nameSchema } from './audit-draft.ts'

/** Something that is true in a package's tables and must have been recorded: a decision, an adjustment. */
export interface AuditedFact {
  readonly tenant: string
  /**
   * The entry that must exist is known by subject and action: what happens to a thing twice needs two subjects, or one
   * entry answers for both.
   */
  readonly subject: string
  readonly action: string
}

/** A page of facts. */
export interface AuditedFacts {
  readonly facts: readonly AuditedFact[]
  /** Where the next page begins; undefined after the last. Up to 512 characters. */
  readonly next?: string | undefined
}

/** Where facts come from. */
export interface AuditedFactSource {
  /** Such as `oversight.decisions`; the sweep's progress is kept under it. */
  readonly name: string
  /**
   * A page of facts after `after` (undefined for the first), `limit` at most, in an order that does not change. A query of
   * the log's own database, so that a fact and its entry are seen together: they were committed together.
   */
  page(after: string | undefined, limit: number): Sql<AuditedFacts>
}

/** A fact without its entry. */
export interface AuditGap extends AuditedFact {
  readonly source: string
}

/** What a check found. `gaps` holds the first 100; `gapCount` counts them all. */
export interface CompletenessReport {
  readonly outcome: 'complete' | 'incomplete'
  readonly source: string
  readonly checked: number
  readonly gapCount: number
  readonly gaps: readonly AuditGap[]
}

/** What an operator should hear of. */
export type CompletenessEvent =
  | ({ readonly type: 'audit.gap-found' } & AuditGap)
  /** A sweep of a source went through; `startedAt` is epoch milliseconds by the store's clock. */
  | {
      readonly type: 'audit.completeness-swept'
      readonly source: string
      readonly checked: number
      readonly gapCount: number
      readonly startedAt: number
    }

export interface CompletenessCheckOptions {
  /** The log's database, which has taken `auditSchema`. */
  readonly db: SqlDatabase
  /** Names are unique. */
  readonly sources: readonly AuditedFactSource[]
  /** How often a sweep begins; an hour unless given, a second to 31 days. */
  readonly everyMs?: number
  /** Facts that one unit checks; 256 unless given, 1 to 4,096. */
  readonly pageRows?: number
  /** What it throws is dropped. */
  readonly observe?: (event: CompletenessEvent) => void
}

/**
 * Whether what happened was recorded. Another question than integrity: a log can be intact and lack an entry that was
 * never written, or was taken out before it was sealed.
 */
export interface CompletenessCheck {
  /** Sweeps each source once in `everyMs`, a page at a time: a sweep that was interrupted goes on where it was. */
  readonly duty: Duty
  /** Goes through a source now, from its beginning. Throws `INVALID_OPTIONS` for a source that is not one of the check's. */
  check(source: string, options?: { readonly signal?: AbortSignal }): Promise<CompletenessReport>
}

/** Gaps that a report lists. */
const GAPS_MAX = 100
const CURSOR_CHARACTERS_MAX = 512
const EVERY_MS = 3_600_000
const PAGE_ROWS = 256

const isSource = (value: unknown): value is AuditedFactSource =>
  typeof value === 'object' &&
  value !== null &&
  'page' in value &&
  'name' in value &&
  nameSchema.safeParse(value.name).success

const optionsSchema: z.ZodType<CompletenessCheckOptions> = z.strictObject({
  db: z.custom<SqlDatabase>((value) => typeof value === 'object' && value !== null && 'run' in value),
  sources: z
    .array(z.custom<AuditedFactSource>(isSource, 'a source is { name, page }'))
    .min(1)
    .refine((sources) => new Set(sources.map(({ name }) => name)).size === sources.length, 'two sources share a name'),
  everyMs: z.number().min(1_000).max(2_678_400_000).exactOptional(),
  pageRows: z.int().min(1).max(4_096).exactOptional(),
  observe: z.custom<(event: CompletenessEvent) => void>((value) => typeof value === 'function').exactOptional()
})

const pageSchema: z.ZodType<AuditedFacts> = z.strictObject({
  facts: z.array(z.object({ tenant: z.string(), subject: z.string(), action: z.string() })),
  next: z.string().min(1).max(CURSOR_CHARACTERS_MAX).optional()
})

/** Compares what packages know with what was recorded. Throws `INVALID_OPTIONS`. */
export function createCompletenessCheck(options: CompletenessCheckOptions): CompletenessCheck {
  const parsed = parseOptions(optionsSchema, 'createCompletenessCheck', options)
  const { db, sources, everyMs = EVERY_MS, pageRows = PAGE_ROWS, observe } = parsed
  const { now } = db.dialect

  const report = reporter<CompletenessEvent>(observe)

  /** A page of a source, and which of its facts have no entry. */
  function* checkPage(source: AuditedFactSource, after: string | undefined): Sql<CheckedPage> {
    const page = yield* source.page(after, pageRows)
    const { facts, next } = parseOptions(pageSchema, `a page of ${source.name}`, page)
    const gaps: AuditGap[] = []
    for (const fact of facts) if (!(yield* isRecorded(fact))) gaps.push({ source: source.name, ...fact })
    return { checked: facts.length, gaps, next }
  }

  /**
   * The next page of a sweep that is under way or due, and the progress, in one unit: whoever dies has checked nothing,
   * and two workers queue on the row. Undefined when nothing is due.
   */
  function* step(source: AuditedFactSource): Sql<Step | undefined> {
    const { name } = source
    yield* execute(
      `insert into audit_sweeps(source, cursor, started_at, due_at, checked, gaps) values (?, null, 0, 0, 0, 0)
       on conflict do nothing`,
      name
    )
    const row = yield* firstRow(
      `select cursor, started_at, due_at, checked, gaps from audit_sweeps where source = ?${db.dialect.forUpdate}`,
      name
    )
    const clock = yield* firstRow(`select ${now} as at`)
    const at = integerOf(clock ?? {}, 'at')
    const sweep = sweepOf(row ?? {})
    const underWay = sweep.cursor !== undefined
    // Due in more than `everyMs` is a sweep that began when the clock was ahead.
    if (!underWay && sweep.dueAt > at && sweep.dueAt - at <= everyMs) return undefined
    const startedAt = underWay ? sweep.startedAt : at
    const page = yield* checkPage(source, sweep.cursor)
    const checked = (underWay ? sweep.checked : 0) + page.checked
    const gapCount = (underWay ? sweep.gaps : 0) + page.gaps.length
    yield* changes(
      'update audit_sweeps set cursor = ?, started_at = ?, due_at = ?, checked = ?, gaps = ? where source = ?',
      page.next ?? null,
      startedAt,
      startedAt + everyMs,
      checked,
      gapCount,
      name
    )
    return { page, checked, gapCount, startedAt }
  }

  const run: Duty['run'] = async ({ signal }) => {
    let handled = 0
    const failures: unknown[] = []
    for (const source of sources) {
      // One source that fails must not keep those after it from being swept.
      const done = await db
        .run(() => step(source), { signal })
        .catch((error: unknown) => {
          signal.throwIfAborted()
          failures.push(error)
        })
      if (done === undefined) continue
      const { page, checked, gapCount, startedAt } = done
      // A page without facts that ends a sweep is work done, and no reason to look again at once.
      handled += page.next === undefined ? 0 : 1
      for (const gap of page.gaps) report({ type: 'audit.gap-found', ...gap })
      if (page.next === undefined) {
        report({ type: 'audit.completeness-swept', source: source.name, checked, gapCount, startedAt })
      }
    }
    if (failures.length > 0) throw failures[0]
    return { handled }
  }

  return {
    duty: { name: 'audit.completeness', run },
    async check(name, runOptions) {
      const names = sources.map((one) => one.name)
      parseOptions(z.enum(names), 'completenessCheck.check, a source', name)
      const source = sources.find((one) => one.name === name) as AuditedFactSource
      const gaps: AuditGap[] = []
      let [checked, gapCount] = [0, 0]
      let after: string | undefined
      do {
        const from = after
        const page = await db.run(() => checkPage(source, from), runOptions)
        checked += page.checked
        gapCount += page.gaps.length
        gaps.push(...page.gaps.slice(0, GAPS_MAX - gaps.length))
        after = page.next
      } while (after !== undefined)
      return { outcome: gapCount === 0 ? 'complete' : 'incomplete', source: name, checked, gapCount, gaps }
    }
  }
}

interface CheckedPage {
  readonly checked: number
  readonly gaps: readonly AuditGap[]
  readonly next: string | undefined
}

interface Step {
  readonly page: CheckedPage
  readonly checked: number
  readonly gapCount: number
  readonly startedAt: number
}

/** How far a sweep has got; without a cursor none is under way. */
interface Sweep {
  readonly cursor: string | undefined
  readonly startedAt: number
  readonly dueAt: number
  readonly checked: number
  readonly gaps: number
}

function sweepOf(row: SqlRow): Sweep {
  return {
    cursor: optionalTextOf(row, 'cursor'),
    startedAt: integerOf(row, 'started_at'),
    dueAt: integerOf(row, 'due_at'),
    checked: integerOf(row, 'checked'),
    gaps: integerOf(row, 'gaps')
  }
}

function* isRecorded({ tenant, subject, action }: AuditedFact): Sql<boolean> {
  const row = yield* firstRow(
    'select position from audit_entries where tenant = ? and subject = ? and action = ? limit 1',
    tenant,
    subject,
    action
  )
  return row !== undefined
}
