import type { CertificateWarning, RejectionReason } from './verdict.ts'

/** What a judge tells an observer of the connections it made, by `type`. */
export type CertificateEvent =
  /** The connection goes on. */
  | { readonly type: 'certificate.warned'; readonly host: string; readonly warnings: readonly CertificateWarning[] }
  /** The connection was closed before anything was sent. */
  | {
      readonly type: 'certificate.rejected'
      readonly host: string
      readonly reason: RejectionReason
      readonly message: string
    }
