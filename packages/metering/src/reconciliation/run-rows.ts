import {
  execute,
  firstRow,
  integerOf,
  optionalIntegerOf,
  optionalTextOf,
  rows,
  type Sql,
  type SqlRow,
  textOf
} from '@enablement/core/sql'
import { keyOf } from '../billing/billing-key.ts'
import { type Finding, findingOf, findingText, type ReconciliationRun } from './finding.ts'

/** A run and how far it has come. */
export interface RunState extends ReconciliationRun {
  /** Pages that are done. */
  readonly page: number
  /** What the lister said to go on after. */
  readonly after: string | undefined
}

const counted = (outcome: Finding['outcome']): string =>
  `(select count(*) from metering_reconciliation_findings f where f.run_id = r.run_id and f.outcome = '${outcome}')`

/** What a run found is counted from its findings, so that a page that is done again after a crash counts once. */
const RUNS = `select run_id, started_at, ended_at, page, after_key, checked, ${counted('differs')} as differing,
  ${counted('not-invoiced')} as not_invoiced, ${counted('failed')} as failed from metering_reconciliation_runs r`

/** Inserts a run, and says whether it is new. */
export function* insertRun(run: string, startedAt: number): Sql<boolean> {
  const row = yield* firstRow(
    `insert into metering_reconciliation_runs(run_id, started_at, page, checked) values (?, ?, 0, 0)
     on conflict do nothing returning run_id`,
    run,
    startedAt
  )
  return row !== undefined
}

export function* readRun(run: string): Sql<RunState | undefined> {
  const row = yield* firstRow(`${RUNS} where run_id = ?`, run)
  return row === undefined ? undefined : runOf(row)
}

/** The latest first. */
export function* readRuns(limit: number): Sql<readonly RunState[]> {
  const found = yield* rows(`${RUNS} order by started_at desc, run_id desc limit ?`, limit)
  return found.map(runOf)
}

/** Ends a page, with `endedAt` the run, and says whether nobody else had ended the page before. */
export function* endPage(
  run: string,
  page: number,
  ended: { readonly checked: number; readonly after: string | undefined; readonly endedAt: number | undefined }
): Sql<boolean> {
  const { changes } = yield* execute(
    `update metering_reconciliation_runs set page = page + 1, after_key = ?, ended_at = ?, checked = checked + ?
     where run_id = ? and page = ?`,
    ended.after ?? null,
    ended.endedAt ?? null,
    ended.checked,
    run,
    page
  )
  return changes === 1
}

/** Keeps what a run found; the first time counts, since a second one may find it put right. */
export function* insertFinding(run: string, finding: Finding): Sql<void> {
  const { tenant, subscription, period, outcome } = finding
  yield* execute(
    `insert into metering_reconciliation_findings(run_id, account_key, period_from, period_to, tenant, subscription,
       outcome, adjusted, finding) values (?, ?, ?, ?, ?, ?, ?, 0, ?) on conflict do nothing`,
    run,
    keyOf(tenant, subscription),
    period.from,
    period.to,
    tenant,
    subscription,
    outcome,
    findingText(finding)
  )
}

export function* markAdjusted(run: string, { tenant, subscription, period }: Finding): Sql<void> {
  yield* execute(
    `update metering_reconciliation_findings set adjusted = 1 where run_id = ? and account_key = ? and period_from = ?`,
    run,
    keyOf(tenant, subscription),
    period.from
  )
}

/** A place in a run's findings. */
export interface FindingPlace {
  readonly account: string
  readonly periodFrom: number
}

export function* readFindings(
  run: string,
  after: FindingPlace | undefined,
  limit: number
): Sql<readonly { readonly finding: Finding; readonly place: FindingPlace }[]> {
  const { account = '', periodFrom = 0 } = after ?? {}
  const found = yield* rows(
    `select account_key, tenant, subscription, period_from, period_to, outcome, adjusted, finding
     from metering_reconciliation_findings where run_id = ? and (account_key, period_from) > (?, ?)
     order by account_key, period_from limit ?`,
    run,
    account,
    periodFrom,
    limit
  )
  return found.map((row) => ({
    finding: findingOf(
      {
        tenant: textOf(row, 'tenant'),
        subscription: textOf(row, 'subscription'),
        period: { from: integerOf(row, 'period_from'), to: integerOf(row, 'period_to') }
      },
      textOf(row, 'outcome') as Finding['outcome'],
      textOf(row, 'finding'),
      integerOf(row, 'adjusted') === 1
    ),
    place: { account: textOf(row, 'account_key'), periodFrom: integerOf(row, 'period_from') }
  }))
}

/** Forgets some of the runs that began before `at`, with what they found. */
export function* forgetRuns(at: number, limit: number): Sql<void> {
  const old = `select run_id from metering_reconciliation_runs where started_at < ? order by started_at limit ?`
  yield* execute(`delete from metering_reconciliation_findings where run_id in (${old})`, at, limit)
  yield* execute(`delete from metering_reconciliation_runs where run_id in (${old})`, at, limit)
}

function runOf(row: SqlRow): RunState {
  return {
    run: textOf(row, 'run_id'),
    startedAt: integerOf(row, 'started_at'),
    endedAt: optionalIntegerOf(row, 'ended_at'),
    page: integerOf(row, 'page'),
    after: optionalTextOf(row, 'after_key'),
    checked: integerOf(row, 'checked'),
    differing: integerOf(row, 'differing'),
    notInvoiced: integerOf(row, 'not_invoiced'),
    failed: integerOf(row, 'failed')
  }
}
