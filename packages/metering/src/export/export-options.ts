import type { Platform } from '@enablement/core'
import type { SqlDatabase } from '@enablement/core/sql'
import { z } from 'zod'
import { callable, methods } from '../option-checks.ts'
import type { UsageFeed } from '../usage/usage-feed.ts'
import type { ExportEvent } from './export-event.ts'
import type { ExportFetch, ExportKey } from './target-call.ts'

/** What every export is given. */
export interface ExportOptions {
  /** Where its place is. Needs `meteringSchema`. */
  readonly db: SqlDatabase
  /** `sqlUsageFeed` of the ledger. */
  readonly feed: UsageFeed
  /** Whether an export that is new begins with all there is in the ledger, or with what is recorded from now on. No default. */
  readonly begin: 'with-all' | 'with-new'
  /** The global one unless given. */
  readonly fetch?: ExportFetch
  /** Is told what happened. What it throws is ignored. */
  readonly observe?: (event: ExportEvent) => void
  readonly platform?: Platform
}

/** A key is never part of a message: what it is not, is all that is said. */
export const keySchema: z.ZodType<ExportKey> = z.custom<ExportKey>(
  (value) => typeof value === 'function' || (typeof value === 'string' && /^[\x21-\x7e]{1,1024}$/.test(value)),
  'must be a key in printable ASCII, or a function that gives one'
)

export const urlSchema: z.ZodType<string> = z
  .url({ protocol: /^https?$/ })
  .refine((url) => !url.includes('@'), 'must not hold credentials')

export const nameSchema: z.ZodType<string> = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,63}$/, 'must be at most 64 lower case letters, digits and hyphens')

export const exportShape = {
  db: methods('run'),
  feed: methods('read', 'end'),
  begin: z.enum(['with-all', 'with-new']),
  fetch: callable().exactOptional(),
  observe: callable().exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
}
