import { z } from 'zod'
import { identitySchema } from '../directory/identity.ts'

/** Who sent a request, as the user's own sign-in knows them. */
export interface InboxVisitor {
  /** Their id in the approver directory. */
  readonly approver: string
  readonly tenant: string
  /** How the page addresses them; the id unless given. */
  readonly name?: string | undefined
  /**
   * Which requests of the tenant they may read: those that they were asked about or took part in (`asked`, unless given),
   * or all of them (`tenant`), for auditors and operators. Whether somebody may decide is never this page's business.
   */
  readonly sees?: 'asked' | 'tenant' | undefined
  /** Of their session, when forms should not outlive it: a form is good for the session that it was shown in. */
  readonly session?: string | undefined
}

const visitorSchema: z.ZodType<InboxVisitor> = z.object({
  approver: identitySchema,
  tenant: identitySchema,
  name: z.string().max(256).optional(),
  sees: z.enum(['asked', 'tenant']).optional(),
  session: z.string().max(1_024).optional()
})

/** What `authenticate` returned, or undefined for nobody. A malformed answer throws: it must not pass for somebody. */
export function visitorOf(answer: unknown): InboxVisitor | undefined {
  return answer === undefined ? undefined : visitorSchema.parse(answer)
}
