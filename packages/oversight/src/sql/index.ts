export { oversightSchema } from './oversight-schema.ts'
export { type SqlOversightStoreOptions, sqlOversightStore } from './sql-oversight-store.ts'
