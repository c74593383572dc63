import type { AuditLog } from '@enablement/core/audit'
import { z } from 'zod'

/** The log that a store appends its evidence to, if it is given one. */
export const auditOption: z.ZodType<AuditLog> = z.custom<AuditLog>(
  (value) => typeof value === 'object' && value !== null && 'appendAll' in value,
  'must be an audit log'
)
