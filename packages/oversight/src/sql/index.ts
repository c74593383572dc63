export { type Contradiction, oversightAuditSources } from './audit-sources.ts'
export { oversightSchema } from './oversight-schema.ts'
export { type SqlOversightStore, type SqlOversightStoreOptions, sqlOversightStore } from './sql-oversight-store.ts'
