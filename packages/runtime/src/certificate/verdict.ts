/** Where in a chain a certificate stands: the server's own, one in between, or the root that is trusted. */
export type ChainPlace = 'leaf' | 'intermediate' | 'root'

/** A certificate of the chain that was judged. */
export interface ChainCertificate {
  readonly place: ChainPlace
  readonly subject: string
  /** SHA-256 of its bytes, in hexadecimal with colons. */
  readonly fingerprint: string
  /** First instant at which it is valid, epoch milliseconds. */
  readonly notBefore: number
  /** Last instant at which it is valid, epoch milliseconds. RFC 5280 §4.1.2.5: inclusive. */
  readonly notAfter: number
}

/** Why one goes on with a certificate only for now. */
export type CertificateWarning =
  /** Fewer whole days are left than `warningDays`. */
  | {
      readonly reason: 'expires-soon'
      readonly daysLeft: number
      readonly certificate: ChainCertificate
      readonly message: string
    }
  /** It has expired, and `allowExpired` lets the leaf pass all the same. `daysPast`: whole days since. */
  | {
      readonly reason: 'expired'
      readonly daysPast: number
      readonly certificate: ChainCertificate
      readonly message: string
    }

/**
 * - `expired`, `not-yet-valid`: by the judge's clock
 * - `host-mismatch`: it is for other names
 * - `untrusted`: no chain of valid signatures, of certificates that may sign, leads to a trusted root
 * - `weak`: a key or a signature that can be forged
 * - `malformed`: not a certificate, or none at all
 */
export type RejectionReason = 'expired' | 'not-yet-valid' | 'host-mismatch' | 'untrusted' | 'weak' | 'malformed'

export interface AcceptedChain {
  /** From the leaf to the root. */
  readonly chain: readonly ChainCertificate[]
  /** When the first of them expires. */
  readonly expiresAt: number
  /** Whole days until then; negative once it has passed. */
  readonly daysLeft: number
}

/** What becomes of a chain. */
export type CertificateVerdict =
  | ({ readonly outcome: 'trusted' } & AcceptedChain)
  /** Go on, and see to it. */
  | ({ readonly outcome: 'warned'; readonly warnings: readonly CertificateWarning[] } & AcceptedChain)
  | {
      readonly outcome: 'rejected'
      readonly reason: RejectionReason
      readonly message: string
      /** The one that it is about, where it is about one. */
      readonly certificate?: ChainCertificate
    }

export type Rejection = Extract<CertificateVerdict, { readonly outcome: 'rejected' }>

export const rejected = (reason: RejectionReason, message: string, certificate?: ChainCertificate): Rejection => ({
  outcome: 'rejected',
  reason,
  message,
  ...(certificate === undefined ? {} : { certificate })
})

/** How validity in time is judged. */
export interface ValidityRules {
  readonly warningDays: number
  readonly allowExpired: boolean
  readonly notBeforeSkewMs: number
}

const DAY_MS = 86_400_000

const wholeDays = (count: number): string => (count === 1 ? '1 whole day' : `${count} whole days`)

/**
 * Judges a chain's time alone: its signatures have been verified. `now` is epoch milliseconds. The least of the whole chain
 * counts, for an intermediate that expires breaks every connection just as the leaf does. A leaf that has expired may be
 * let pass; nothing above it ever is.
 */
export function judgeValidity(
  chain: readonly ChainCertificate[],
  rules: ValidityRules,
  now: number
): CertificateVerdict {
  const warnings: CertificateWarning[] = []
  for (const certificate of chain) {
    const { place, subject, notBefore, notAfter } = certificate
    if (now < notBefore - rules.notBeforeSkewMs) {
      return rejected(
        'not-yet-valid',
        `the ${place} certificate ${subject} is valid from ${iso(notBefore)} on`,
        certificate
      )
    }
    if (now > notAfter) {
      const message = `the ${place} certificate ${subject} expired at ${iso(notAfter)}`
      if (place !== 'leaf' || !rules.allowExpired) return rejected('expired', message, certificate)
      const daysPast = Math.floor((now - notAfter) / DAY_MS)
      warnings.push({ reason: 'expired', daysPast, certificate, message: `${message}, ${wholeDays(daysPast)} ago` })
      continue
    }
    const daysLeft = Math.floor((notAfter - now) / DAY_MS)
    if (daysLeft < rules.warningDays) {
      const message = `the ${place} certificate ${subject} expires in ${wholeDays(daysLeft)}, at ${iso(notAfter)}`
      warnings.push({ reason: 'expires-soon', daysLeft, certificate, message })
    }
  }
  const expiresAt = Math.min(...chain.map(({ notAfter }) => notAfter))
  const accepted = { chain, expiresAt, daysLeft: Math.floor((expiresAt - now) / DAY_MS) }
  return warnings.length === 0 ? { outcome: 'trusted', ...accepted } : { outcome: 'warned', warnings, ...accepted }
}

const iso = (at: number): string => new Date(at).toISOString()
