import type { VoteAnswer } from '../oversight-calls.ts'

/** What an operator should hear of. Never a token, nor what was asked. */
export type LinkEvent =
  /** Somebody pressed the button, and `oversight.decide` answered. */
  | {
      readonly type: 'link.decided'
      readonly requestId: string
      readonly tenant: string
      readonly approver: string
      readonly decision: 'approve' | 'deny'
      readonly outcome: VoteAnswer['outcome']
    }
  /** Somebody was turned away. The request is known where the link was authentic. */
  | { readonly type: 'link.refused'; readonly because: LinkRefusal; readonly requestId?: string }
  /** Oversight, or who looks sessions up, threw. After a press of the button it is not known whether it counted. */
  | { readonly type: 'link.failed'; readonly error: unknown }

/** Why somebody is turned away. */
export type LinkRefusal =
  | 'method'
  | 'forged'
  | 'expired'
  /** Of no request, or of another tenant's. */
  | 'unknown-request'
  /** The approver is not among those who were asked. */
  | 'not-asked'
  /** Nobody is signed in, somebody else is, or no session can be asked for. */
  | 'session'
  /** Not sent from the page by a person's browser: another site, a form that is not ours or too old. */
  | 'cross-site'
  | 'form'
