import {
  integerOf,
  type JsonRow,
  type JsonRows,
  jsonRows,
  optionalIntegerOf,
  optionalTextOf,
  type SqlDialect,
  type SqlRow,
  textOf
} from '@enablement/core/sql'
import type { InvoiceLine } from '../billing/invoice.ts'

const lineColumns = {
  kind: 'text',
  description: 'text',
  period_from: 'integer',
  period_to: 'integer',
  metric: 'text',
  quantity: 'text',
  events: 'integer',
  minor_units: 'text',
  exact: 'text'
} as const

const keyColumns = { key_hash: 'text', idempotency_key: 'text' } as const

/** The columns of a line in both tables that hold lines. */
export const LINE_COLUMNS: string = Object.keys(lineColumns).join(', ')

/** Lines given to a statement as one value, those that wait with their keys. */
export function lineRows(dialect: SqlDialect): JsonRows<typeof lineColumns & typeof keyColumns> {
  return jsonRows(dialect, { ...lineColumns, ...keyColumns })
}

/** A line as given to `lineRows`. */
export function lineRow(
  line: InvoiceLine,
  key?: { readonly hash: string; readonly text: string }
): JsonRow<typeof lineColumns & typeof keyColumns> {
  return {
    kind: line.kind,
    description: line.description,
    period_from: line.period.from,
    period_to: line.period.to,
    metric: line.metric ?? null,
    quantity: line.quantity?.toString() ?? null,
    events: line.events ?? null,
    minor_units: line.minorUnits.toString(),
    exact: line.exact,
    key_hash: key?.hash ?? null,
    idempotency_key: key?.text ?? null
  }
}

/** A line as a row has it. */
export function lineOf(row: SqlRow): InvoiceLine {
  const metric = optionalTextOf(row, 'metric')
  const quantity = optionalTextOf(row, 'quantity')
  const events = optionalIntegerOf(row, 'events')
  return {
    kind: textOf(row, 'kind') as InvoiceLine['kind'],
    description: textOf(row, 'description'),
    period: { from: integerOf(row, 'period_from'), to: integerOf(row, 'period_to') },
    ...(metric === undefined ? {} : { metric }),
    ...(quantity === undefined ? {} : { quantity: BigInt(quantity) }),
    ...(events === undefined ? {} : { events }),
    minorUnits: BigInt(textOf(row, 'minor_units')),
    exact: textOf(row, 'exact')
  }
}
