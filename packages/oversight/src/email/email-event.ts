import type { RefusalClass } from './server-reply.ts'

/** What the e-mail room tells its observer. Addresses are in it, and no words of agents or of mail servers. */
export type EmailEvent =
  /** A server took a mail. */
  | { readonly type: 'email.accepted'; readonly id: string; readonly address: string }
  /**
   * A server refused a mail, with these codes. `finding: 'sender'` is the operator's to mend: the server does not want mail
   * from here. It is about `address` unless that is undefined, when the server refused before it heard of one.
   */
  | {
      readonly type: 'email.refused'
      readonly id: string
      readonly address: string | undefined
      readonly finding: RefusalClass
      readonly code: string
    }
  /** The server was not reached or did not finish. `code` is the transport's, such as `ETIMEDOUT`. */
  | { readonly type: 'email.unsent'; readonly id: string; readonly code: string }
  /** An address is no longer used, as it has bounced too often. */
  | { readonly type: 'email.address-invalid'; readonly address: string; readonly until: number }
  /** The directory has an address for this approver that is none. */
  | { readonly type: 'email.address-malformed'; readonly approver: string }
  /** A mail came back after a server had taken it. */
  | {
      readonly type: 'email.bounced'
      readonly id: string
      readonly address: string | undefined
      readonly finding: RefusalClass
      readonly code: string
    }
  /** Something claimed to be a bounce and changed nothing. */
  | { readonly type: 'email.bounce-refused'; readonly because: 'forged' | 'expired' | 'too-large' }
  /** A success could not be remembered: the address goes on counting earlier bounces. */
  | { readonly type: 'email.success-unrecorded'; readonly address: string; readonly code: string }
