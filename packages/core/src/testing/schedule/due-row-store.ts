import type { ClaimOptions, DueClaim, DueClaims, DueOutlook, HeldRow } from '../../schedule/due-claims.ts'
import type { SqlDatabase } from '../../sql/sql-database.ts'

/** `DueClaims` as whoever is examined answers them: each call is a unit of its own. */
export interface DueRowStore {
  claim(options: ClaimOptions): Promise<DueClaim[]>
  take(options: { readonly limit: number }): Promise<DueClaim[]>
  extend(held: readonly HeldRow[], leaseMs: number): Promise<Set<string>>
  finish(held: readonly HeldRow[]): Promise<Set<string>>
  advance(held: readonly (HeldRow & { readonly nextDueAt: number | undefined })[]): Promise<Set<string>>
  release(held: readonly (HeldRow & { readonly delayMs: number; readonly uncounted?: boolean })[]): Promise<Set<string>>
  outlook(options: { readonly at: number }): Promise<DueOutlook>
}

/** The claims of a table, each call in a unit of its own on `db`. */
export function dueRowStore(db: SqlDatabase, claims: DueClaims): DueRowStore {
  return {
    claim: (options) => db.run(() => claims.claim(options)),
    take: (options) => db.run(() => claims.take(options)),
    extend: (held, leaseMs) => db.run(() => claims.extend(held, leaseMs)),
    finish: (held) => db.run(() => claims.finish(held)),
    advance: (held) => db.run(() => claims.advance(held)),
    release: (held) => db.run(() => claims.release(held)),
    outlook: (options) => db.run(() => claims.outlook(options))
  }
}
