export type { AuditDraft, AuditEntry, AuditIntegrity, AuditLog, AuditRef } from './audit-log.ts'
