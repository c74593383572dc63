import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { plainText } from '../failure/plain-text.ts'
import type { Sql } from '../sql/sql-database.ts'
import { changes, firstRow, integerOf } from '../sql/statement.ts'

/** Whether a holder may still write: `stale` means that `highest`, a later holder's fence, has been here before it. */
export type FenceAdmission = { readonly outcome: 'admitted' } | { readonly outcome: 'stale'; readonly highest: number }

/** Like the names of locks, which resources are mostly called by. In UTF-16 code units. */
const RESOURCE_MAX = 256

const guardSchema: z.ZodType<{ readonly resource: string; readonly fence: number }> = z.strictObject({
  resource: plainText(RESOURCE_MAX),
  fence: z.int().min(1)
})

/**
 * Records that `fence` is about to write to `resource`, unless a higher one has: one statement compares and records, and
 * the row stays locked until the unit ends, so that of two holders in flight the lower either commits first or is
 * stale. Call it before the unit's writes, which belong to an admitted holder alone. The same fence is admitted again.
 *
 * For a table with a row per resource a column does the same: `update … set …, fence = ? where id = ? and fence <= ?`,
 * where no changed row means stale. Needs `lockSchema`. Throws `INVALID_OPTIONS` and what the database throws.
 */
export function admitFence(resource: string, fence: number): Sql<FenceAdmission> {
  parseOptions(guardSchema, 'admitFence', { resource, fence })
  return admission(resource, fence)
}

/**
 * As `admitFence`, for units in which a stale holder must not get any further: throws `CONSTRAINT_VIOLATED` with the
 * constraint `lock_fences`, which rolls the unit back.
 */
export function assertFence(resource: string, fence: number): Sql<void> {
  parseOptions(guardSchema, 'assertFence', { resource, fence })
  return assertion(resource, fence)
}

function* admission(resource: string, fence: number): Sql<FenceAdmission> {
  const admitted = yield* changes(
    `insert into lock_fences(resource, fence) values (?, ?)
     on conflict (resource) do update set fence = excluded.fence where lock_fences.fence <= excluded.fence`,
    resource,
    fence
  )
  if (admitted === 1) return { outcome: 'admitted' }
  const row = yield* firstRow('select fence from lock_fences where resource = ?', resource)
  return { outcome: 'stale', highest: integerOf(row ?? {}, 'fence') }
}

function* assertion(resource: string, fence: number): Sql<void> {
  const answer = yield* admission(resource, fence)
  if (answer.outcome === 'admitted') return
  const message = `fence ${fence} is stale for ${resource}, which has seen ${answer.highest}`
  throw new CoreError('CONSTRAINT_VIOLATED', message, { store: 'sql', constraint: 'lock_fences' })
}
