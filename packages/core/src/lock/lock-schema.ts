import type { Schema } from '../sql/migration.ts'

/** The tables of locks in SQL: one row per lock, and the highest fence that each guarded resource has seen. */
export const lockSchema: Schema = {
  component: 'lock',
  migrations: [
    {
      version: 1,
      name: 'leases and fences',
      // An expiry of 0 is a lease that was released. `used_at` is what the sweep goes by.
      sqlite: [
        `create table lock_leases (
          name text primary key, owner text not null, fence integer not null, expires_at integer not null,
          used_at integer not null) strict, without rowid`,
        'create index lock_leases_used on lock_leases (used_at)',
        'create table lock_fences (resource text primary key, fence integer not null) strict, without rowid'
      ],
      postgres: [
        `create table lock_leases (
          name text primary key, owner text not null, fence bigint not null, expires_at bigint not null,
          used_at bigint not null)`,
        'create index lock_leases_used on lock_leases (used_at)',
        'create table lock_fences (resource text primary key, fence bigint not null)'
      ]
    }
  ]
}
