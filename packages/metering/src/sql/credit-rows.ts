import type { JsonObject } from '@enablement/core'
import {
  execute,
  firstRow,
  integerOf,
  type JsonRows,
  jsonRows,
  optionalIntegerOf,
  optionalTextOf,
  rows,
  type Sql,
  type SqlDialect,
  type SqlRow,
  textOf
} from '@enablement/core/sql'
import type { BurnOrder } from '../credit/burn-order.ts'
import type { CreditCallKind, CreditEntryKind, LedgerEntry } from '../credit/credit-entry.ts'
import type { CallRecord, ChargeRecord, Funding, Lane, WalletChanges, WalletRecord } from '../credit/credit-store.ts'
import type { GrantTerms, Lot, LotOrigin, LotState } from '../credit/lot.ts'

export function walletOf(row: SqlRow): WalletRecord {
  return {
    scale: integerOf(row, 'scale'),
    burnOrder: textOf(row, 'burn_order') as BurnOrder,
    lanes: JSON.parse(textOf(row, 'lanes')) as Lane[],
    held: integerOf(row, 'held'),
    waiting: integerOf(row, 'waiting'),
    owed: integerOf(row, 'owed'),
    entries: integerOf(row, 'entries'),
    lots: integerOf(row, 'lots'),
    settlements: integerOf(row, 'settlements'),
    dueAt: optionalIntegerOf(row, 'due_at') ?? null
  }
}

export function lotOf(row: SqlRow): Lot {
  return {
    lot: integerOf(row, 'lot'),
    grant: textOf(row, 'grant_id'),
    origin: textOf(row, 'origin') as LotOrigin,
    state: textOf(row, 'state') as LotState,
    amount: integerOf(row, 'amount'),
    free: integerOf(row, 'free'),
    held: integerOf(row, 'held'),
    lane: integerOf(row, 'lane'),
    burnKey: textOf(row, 'burn_key'),
    createdAt: integerOf(row, 'created_at'),
    effectiveAt: integerOf(row, 'effective_at'),
    expiresAt: optionalIntegerOf(row, 'expires_at') ?? null,
    dueAt: optionalIntegerOf(row, 'due_at') ?? null,
    terms: JSON.parse(textOf(row, 'terms')) as GrantTerms
  }
}

export function chargeOf(row: SqlRow): ChargeRecord {
  const ended = optionalTextOf(row, 'ended')
  return {
    charge: textOf(row, 'charge'),
    state: textOf(row, 'state') as ChargeRecord['state'],
    fingerprint: textOf(row, 'fingerprint'),
    metric: optionalTextOf(row, 'metric') ?? null,
    amount: integerOf(row, 'amount'),
    charged: integerOf(row, 'charged'),
    reversed: integerOf(row, 'reversed'),
    dueAt: optionalIntegerOf(row, 'due_at') ?? null,
    made: JSON.parse(textOf(row, 'made')) as JsonObject,
    ended: ended === undefined ? null : (JSON.parse(ended) as JsonObject)
  }
}

export function fundingOf(row: SqlRow): Funding {
  return {
    charge: textOf(row, 'charge'),
    place: integerOf(row, 'drawn'),
    lot: optionalIntegerOf(row, 'lot') ?? null,
    grant: optionalTextOf(row, 'grant_id') ?? null,
    amount: integerOf(row, 'amount'),
    reversed: integerOf(row, 'reversed')
  }
}

export function callOf(row: SqlRow): CallRecord {
  return {
    kind: textOf(row, 'kind') as CallRecord['kind'],
    key: textOf(row, 'call_key'),
    fingerprint: textOf(row, 'fingerprint'),
    answer: JSON.parse(textOf(row, 'answer')) as JsonObject
  }
}

export function entryOf(row: SqlRow): LedgerEntry {
  return {
    sequence: integerOf(row, 'sequence'),
    kind: textOf(row, 'kind') as CreditEntryKind,
    lot: optionalIntegerOf(row, 'lot') ?? null,
    grant: optionalTextOf(row, 'grant_id') ?? null,
    amount: integerOf(row, 'amount'),
    balance: integerOf(row, 'balance'),
    call: textOf(row, 'call') as CreditCallKind,
    reference: textOf(row, 'reference'),
    at: integerOf(row, 'at'),
    bookedAt: integerOf(row, 'booked_at')
  }
}

const LOT = {
  lot: 'integer',
  grant_id: 'text',
  origin: 'text',
  state: 'text',
  amount: 'integer',
  free: 'integer',
  held: 'integer',
  lane: 'integer',
  burn_key: 'text',
  created_at: 'integer',
  effective_at: 'integer',
  expires_at: 'integer',
  due_at: 'integer',
  terms: 'text'
} as const
const CHARGE = {
  charge: 'text',
  state: 'text',
  fingerprint: 'text',
  metric: 'text',
  amount: 'integer',
  charged: 'integer',
  reversed: 'integer',
  due_at: 'integer',
  made: 'text',
  ended: 'text'
} as const
const FUNDING = {
  charge: 'text',
  drawn: 'integer',
  lot: 'integer',
  grant_id: 'text',
  amount: 'integer',
  reversed: 'integer'
} as const
const CALL = { kind: 'text', call_key: 'text', fingerprint: 'text', answer: 'text' } as const
const ENTRY = {
  sequence: 'integer',
  kind: 'text',
  lot: 'integer',
  grant_id: 'text',
  amount: 'integer',
  balance: 'integer',
  call: 'text',
  reference: 'text',
  at: 'integer',
  booked_at: 'integer'
} as const

/** Writes what a step changed, a statement for each kind of row. */
export function creditWriter(dialect: SqlDialect): (wallet: string, changes: WalletChanges) => Sql<void> {
  const lots = jsonRows(dialect, LOT)
  const charges = jsonRows(dialect, CHARGE)
  const fundings = jsonRows(dialect, FUNDING)
  const calls = jsonRows(dialect, CALL)
  const entries = jsonRows(dialect, ENTRY)
  const lotsText = `${insertion('metering_credit_lots', LOT, lots)}
    on conflict (wallet, lot) do update set
      state = excluded.state, free = excluded.free, held = excluded.held, due_at = excluded.due_at`
  const chargesText = `${insertion('metering_credit_charges', CHARGE, charges)}
    on conflict (wallet, charge) do update set state = excluded.state, amount = excluded.amount,
      charged = excluded.charged, reversed = excluded.reversed, due_at = excluded.due_at, ended = excluded.ended`
  const fundingsText = `${insertion('metering_credit_fundings', FUNDING, fundings)}
    on conflict (wallet, charge, drawn) do update set amount = excluded.amount, reversed = excluded.reversed`
  // Neither is ever changed: a second one of a key is an error of the engine, and fails.
  const callsText = insertion('metering_credit_calls', CALL, calls)
  const entriesText = insertion('metering_credit_entries', ENTRY, entries)

  return function* write(wallet, changes) {
    if (changes.lots.length > 0) yield* execute(lotsText, wallet, lots.parameter(changes.lots.map(lotRow)))
    if (changes.charges.length > 0) {
      yield* execute(chargesText, wallet, charges.parameter(changes.charges.map(chargeRow)))
    }
    if (changes.fundings.length > 0) {
      const given = changes.fundings.map(({ grant, place, ...funding }) => ({
        ...funding,
        drawn: place,
        grant_id: grant
      }))
      yield* execute(fundingsText, wallet, fundings.parameter(given))
    }
    if (changes.calls.length > 0) {
      const given = changes.calls.map(({ key, answer, ...call }) => ({
        ...call,
        call_key: key,
        answer: JSON.stringify(answer)
      }))
      yield* execute(callsText, wallet, calls.parameter(given))
    }
    if (changes.entries.length > 0) {
      const given = changes.entries.map(({ grant, bookedAt, ...entry }) => ({
        ...entry,
        grant_id: grant,
        booked_at: bookedAt
      }))
      yield* execute(entriesText, wallet, entries.parameter(given))
    }
    const { lanes, held, waiting, owed, entries: written, lots: made, settlements, dueAt } = changes.wallet
    const due = changes.looksUpDue ? yield* earliestDue(wallet) : dueAt
    yield* execute(
      `update metering_credit_wallets set lanes = ?, held = ?, waiting = ?, owed = ?, entries = ?, lots = ?,
         settlements = ?, due_at = ? where wallet = ?`,
      JSON.stringify(lanes),
      held,
      waiting,
      owed,
      written,
      made,
      settlements,
      due,
      wallet
    )
  }
}

function insertion<Columns extends Record<string, string>>(
  table: string,
  columns: Columns,
  { select }: Pick<JsonRows<never>, 'select'>
): string {
  const names = Object.keys(columns)
  // The condition keeps `on conflict` from being read as a part of a join.
  return `insert into ${table} (wallet, ${names.join(', ')})
    select ?, ${names.map((column) => `given.${column}`).join(', ')} from ${select} as given where true`
}

/** The first of a lot's and a hold's: each is the first of an index. */
function* earliestDue(wallet: string): Sql<number | null> {
  const row = yield* firstRow(
    `select min(due_at) as due_at from (
       select min(due_at) as due_at from metering_credit_lots where wallet = ? and due_at is not null
       union all
       select min(due_at) as due_at from metering_credit_charges where wallet = ? and due_at is not null) as due`,
    wallet,
    wallet
  )
  return row === undefined ? null : (optionalIntegerOf(row, 'due_at') ?? null)
}

const lotRow = ({ grant, burnKey, createdAt, effectiveAt, expiresAt, dueAt, terms, ...lot }: Lot) => ({
  ...lot,
  grant_id: grant,
  burn_key: burnKey,
  created_at: createdAt,
  effective_at: effectiveAt,
  expires_at: expiresAt,
  due_at: dueAt,
  terms: JSON.stringify(terms)
})

const chargeRow = ({ dueAt, made, ended, ...charge }: ChargeRecord) => ({
  ...charge,
  due_at: dueAt,
  made: JSON.stringify(made),
  ended: ended === null ? null : JSON.stringify(ended)
})

/** Reads rows of a wallet: `condition` follows `wallet = ?`. */
export function* read<Row>(
  table: string,
  condition: string,
  of: (row: SqlRow) => Row,
  ...values: readonly (string | number)[]
): Sql<Row[]> {
  return (yield* rows(`select * from ${table} where wallet = ? and ${condition}`, ...values)).map(of)
}
