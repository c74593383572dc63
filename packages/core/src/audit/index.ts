export type { AuditDamage, AuditIntegrity, EntryDamage } from './audit-integrity.ts'
export type {
  AuditDraft,
  AuditEntry,
  AuditLog,
  AuditPage,
  AuditRef,
  Redaction,
  RedactionRequest
} from './audit-log.ts'
export { auditSchema } from './audit-schema.ts'
export { type AuditSealer, type AuditSealerOptions, createAuditSealer } from './audit-sealer.ts'
export type { AuditBacklog, AuditWindow } from './backlog.ts'
export { type Checkpoint, originOf, readCheckpoint, signCheckpoint, tenantOf } from './checkpoint.ts'
export {
  type CheckpointKey,
  type CheckpointSigner,
  createCheckpointKey,
  ed25519Signer,
  verifierKeyOf
} from './checkpoint-key.ts'
export {
  type CheckpointOffer,
  type CheckpointRefusal,
  type CheckpointSink,
  type CheckpointSinkSupports,
  type CheckpointVerdict,
  judgeOffer
} from './checkpoint-sink.ts'
export {
  type AuditedFact,
  type AuditedFactSource,
  type AuditedFacts,
  type AuditGap,
  type CompletenessCheck,
  type CompletenessCheckOptions,
  type CompletenessEvent,
  type CompletenessReport,
  createCompletenessCheck
} from './completeness.ts'
export { type FunctionCheckpointSinkOptions, functionCheckpointSink } from './function-checkpoint-sink.ts'
export { leafHashOf } from './merkle-hash.ts'
export {
  type ConsistencyClaim,
  consistencyProof,
  type InclusionClaim,
  inclusionProof,
  merkleRoot,
  verifyConsistency,
  verifyInclusion
} from './merkle-proof.ts'
export { splitNotes } from './note-splitter.ts'
export { type EntryProof, type EntryProving, proveConsistency, proveEntry, verifyEntryProof } from './proof-of-entry.ts'
export type { AuditSealerEvent } from './sealer-event.ts'
export { type AuditLogOptions, createAuditLog } from './sql-audit-log.ts'
export { type SqlCheckpointSinkOptions, sqlCheckpointSink } from './sql-checkpoint-sink.ts'
export {
  type AuditVerificationProgress,
  type VerifyAuditOptions,
  verifyAuditLog
} from './verification.ts'
export { verifyAuditLogs } from './verify-logs.ts'
