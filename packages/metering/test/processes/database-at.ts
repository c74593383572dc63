import { postgresDatabase } from '@enablement/core/postgres'
import type { SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import pg from 'pg'

/** Where a database is that processes share: a file's path, or a connection string. */
export interface Address {
  readonly kind: 'sqlite' | 'postgres'
  readonly place: string
}

/** A database as a process of its own opens it. What it commits survives the death of processes, which is all that dies here. */
export function databaseAt({ kind, place }: Address): SqlDatabase {
  return kind === 'sqlite'
    ? sqliteDatabase({ path: place, durability: 'process' })
    : postgresDatabase(new pg.Pool({ connectionString: place, max: 5 }))
}
