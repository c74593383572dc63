import { CoreError } from '@enablement/core'
import { integerOf, type JsonRow, optionalIntegerOf, type SqlRow, textOf } from '@enablement/core/sql'
import { type CounterState, NEVER } from '../quota/counter.ts'
import { forgetCounterAt } from '../quota/counter-afterlife.ts'
import { parted } from '../quota/counter-key.ts'
import { heldOf, usedOf } from '../quota/counter-step.ts'
import type { HeldPart, HoldEnding, HoldRecord } from '../quota/hold-record.ts'
import type { RememberedSpend } from '../quota/spend.ts'

/** What is written of a counter, besides its tenant. */
export const counterColumns = {
  limit_name: 'text',
  path: 'text',
  kind: 'text',
  starts_at: 'integer',
  ends_at: 'integer',
  used: 'integer',
  held: 'integer',
  detail: 'text',
  forget_at: 'integer'
} as const

export function counterRow(key: string, state: CounterState): JsonRow<typeof counterColumns> {
  const [limit, path] = parted(key)
  const { kind } = state
  return {
    limit_name: limit,
    path,
    kind,
    starts_at: state.kind === 'rolling' ? 0 : state.startsAt,
    ends_at: state.kind === 'window' ? state.endsAt : NEVER,
    used: usedOf(state),
    held: heldOf(state),
    detail: detailOf(state),
    forget_at: forgetCounterAt(state)
  }
}

function detailOf(state: CounterState): string | null {
  if (state.kind === 'rolling') {
    const slices = state.slices.map(({ startsAt, endsAt, used, held }) => [startsAt, endsAt, used, held])
    return JSON.stringify([state.rollingMs, slices])
  }
  if (state.kind !== 'bucket') return null
  const { refill, perMs, at, remainder } = state
  return JSON.stringify([refill, perMs, at, remainder])
}

/** The counter in a row of `metering_quota_counters`. Throws `STORE_DAMAGED`. */
export function counterOf(row: SqlRow): CounterState {
  const kind = textOf(row, 'kind')
  const [startsAt, endsAt] = [integerOf(row, 'starts_at'), integerOf(row, 'ends_at')]
  const [used, held] = [integerOf(row, 'used'), integerOf(row, 'held')]
  if (kind === 'window') return { kind, startsAt, endsAt, used, held }
  if (kind === 'concurrent') return { kind, startsAt, used }
  const detail = JSON.parse(textOf(row, 'detail'))
  if (kind === 'bucket') {
    const [refill, perMs, at, remainder] = detail as [number, number, number, number]
    return { kind, startsAt, refill, perMs, at, remainder, used, held }
  }
  if (kind !== 'rolling') throw damaged(`a counter cannot be of the kind ${kind}`)
  const [rollingMs, slices] = detail as [number, [number, number, number, number][]]
  return {
    kind,
    rollingMs,
    slices: slices.map(([from, to, units, open]) => ({ startsAt: from, endsAt: to, used: units, held: open }))
  }
}

/** What is written of a spend, besides its tenant. */
export const spendColumns = {
  scope: 'text',
  idempotency_key: 'text',
  amount: 'integer',
  remaining: 'integer',
  resets_at: 'integer',
  expires_at: 'integer'
} as const

export function spendRow(record: string, spend: RememberedSpend): JsonRow<typeof spendColumns> {
  const [scope, key] = parted(record)
  const { amount, remaining, resetsAt, expiresAt } = spend
  return { scope, idempotency_key: key, amount, remaining, resets_at: resetsAt, expires_at: expiresAt }
}

/** The spend in a row of `metering_quota_spends`. Throws `STORE_DAMAGED`. */
export function spendOf(row: SqlRow): RememberedSpend {
  return {
    amount: integerOf(row, 'amount'),
    remaining: integerOf(row, 'remaining'),
    resetsAt: optionalIntegerOf(row, 'resets_at') ?? null,
    expiresAt: integerOf(row, 'expires_at')
  }
}

/** What is written of a hold, besides its tenant. */
export const holdColumns = {
  scope_key: 'text',
  hold_key: 'text',
  scope: 'text',
  asked: 'integer',
  amount: 'integer',
  expires_at: 'integer',
  on_expiry: 'text',
  keep_ms: 'integer',
  parts: 'text',
  actual: 'integer',
  charged: 'integer',
  overrun: 'integer',
  expired: 'integer',
  settled: 'integer',
  forget_at: 'integer'
} as const

export function holdRow(record: string, hold: HoldRecord): JsonRow<typeof holdColumns> {
  const [scopeKey, holdKey] = parted(record)
  const { scope, asked, amount, expiresAt, onExpiry, keepMs, parts, end } = hold
  return {
    scope_key: scopeKey,
    hold_key: holdKey,
    scope,
    asked,
    amount,
    expires_at: expiresAt,
    on_expiry: onExpiry,
    keep_ms: keepMs,
    parts: JSON.stringify(parts.map((part) => [part.counter, part.startsAt, part.endsAt, part.amount])),
    actual: end?.actual ?? null,
    charged: end?.charged ?? null,
    overrun: end?.overrun ?? null,
    expired: end === undefined ? null : Number(end.expired),
    settled: end === undefined ? null : Number(end.settled),
    forget_at: end?.forgetAt ?? null
  }
}

/** The hold in a row of `metering_quota_holds`. Throws `STORE_DAMAGED`. */
export function holdOf(row: SqlRow): HoldRecord {
  const onExpiry = textOf(row, 'on_expiry')
  if (onExpiry !== 'returned' && onExpiry !== 'spent') throw damaged(`a hold cannot be ${onExpiry} when it expires`)
  const parts = JSON.parse(textOf(row, 'parts')) as [string, number, number, number][]
  return {
    scope: textOf(row, 'scope'),
    key: textOf(row, 'hold_key'),
    asked: integerOf(row, 'asked'),
    amount: integerOf(row, 'amount'),
    expiresAt: integerOf(row, 'expires_at'),
    onExpiry,
    keepMs: integerOf(row, 'keep_ms'),
    parts: parts.map(([counter, startsAt, endsAt, amount]): HeldPart => ({ counter, startsAt, endsAt, amount })),
    end: endOf(row)
  }
}

function endOf(row: SqlRow): HoldEnding | undefined {
  const forgetAt = optionalIntegerOf(row, 'forget_at')
  if (forgetAt === undefined) return undefined
  return {
    actual: integerOf(row, 'actual'),
    charged: integerOf(row, 'charged'),
    overrun: integerOf(row, 'overrun'),
    expired: integerOf(row, 'expired') === 1,
    settled: integerOf(row, 'settled') === 1,
    forgetAt
  }
}

function damaged(reason: string): CoreError<'STORE_DAMAGED'> {
  return new CoreError('STORE_DAMAGED', reason, { store: 'sql', reason })
}
