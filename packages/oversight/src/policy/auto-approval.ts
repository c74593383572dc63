import { z } from 'zod'
import { RISKS, type Risk } from './risk.ts'

/**
 * The permission to approve when everyone was asked and nobody decided. OWASP APTS-HO-003 forbids that; whoever needs it
 * says so in full. It also needs `autoApproval: 'allowed'` in `createOversight`, an action that is `reversible`, a request
 * whose risk is at most `riskMax`, and at least one invitation that was delivered; without one of these it denies.
 */
export interface AutoApproval {
  readonly acknowledge: 'I accept that this runs although nobody decided'
  readonly riskMax: Risk
}

const ACKNOWLEDGEMENT = 'I accept that this runs although nobody decided'

export const autoApprovalSchema: z.ZodType<AutoApproval> = z.strictObject({
  acknowledge: z.literal(ACKNOWLEDGEMENT),
  riskMax: z.enum(RISKS)
})
