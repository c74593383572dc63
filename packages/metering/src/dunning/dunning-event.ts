/** What is told about failed payments, after the commit. */
export type DunningEvent =
  | {
      readonly type: 'dunning.opened' | 'dunning.recovered' | 'dunning.restricted' | 'dunning.restored'
      readonly tenant: string
      readonly subscription: string
      readonly caseId: string
    }
  | {
      readonly type: 'dunning.noticed'
      readonly tenant: string
      readonly subscription: string
      readonly caseId: string
      readonly notice: string
    }
  | {
      readonly type: 'dunning.attempted'
      readonly tenant: string
      readonly subscription: string
      readonly caseId: string
      readonly attempt: number
      readonly outcome: 'paid' | 'declined' | 'pending'
    }
  /** An attempt collected what had been paid otherwise while it was under way. Alert on it: it is to be given back. */
  | {
      readonly type: 'dunning.paid-twice'
      readonly tenant: string
      readonly subscription: string
      readonly caseId: string
      readonly currency: string
      readonly minorUnits: bigint
    }
  /** A port threw or ran out of time. It is asked again, with pauses up to an hour. */
  | {
      readonly type: 'dunning.step-failed'
      readonly tenant: string
      readonly subscription: string
      readonly caseId: string
      readonly step: 'retry' | 'notice' | 'restrict' | 'restore'
      readonly error: unknown
    }
  /** The state of restrictions could not be read: what was known last goes on to hold. */
  | { readonly type: 'dunning.standing-unknown'; readonly tenant: string; readonly error: unknown }
