export type { AuditDraft, AuditEntry, AuditIntegrity, AuditLog, AuditRef } from './audit-log.ts'
export { auditSchema } from './audit-schema.ts'
export { type AuditLogOptions, createAuditLog } from './sql-audit-log.ts'
