export { enlist } from './enlisted-database.ts'
export type { PgClient, PgPool, PgPooledClient, PgQuery, PgResult } from './pg-pool.ts'
export { type PgliteLike, type PgliteTransaction, pgliteDatabase } from './pglite-database.ts'
export { type PostgresOptions, postgresDatabase } from './postgres-database.ts'
