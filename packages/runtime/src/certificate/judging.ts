import type { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { describe, pathsToRoots, structureFault, type TrustedRoots, weaknessOf } from './certification-path.ts'
import type { Handshake } from './unjudged-connection.ts'
import { type CertificateVerdict, judgeValidity, rejected, type ValidityRules } from './verdict.ts'

/** What a chain is held against. */
export interface JudgingStandards {
  readonly roots: TrustedRoots
  readonly rules: ValidityRules
  /** Epoch milliseconds. */
  readonly now: number
}

/**
 * Whether a certificate is for a host, by its alternative names: common names are not names of hosts any more (RFC 9525 §2).
 *
 * Not `tls.checkServerIdentity`, which wants what `toLegacyObject` makes of a certificate: Node 24 ends with a segmentation
 * fault there when the public key inside cannot be decoded.
 */
function isFor(leaf: X509Certificate, host: string): boolean {
  if (isIP(host) !== 0) return leaf.checkIP(host) !== undefined
  return leaf.checkHost(host.replace(/\.$/, ''), { subject: 'never', partialWildcards: false }) !== undefined
}

/** What OpenSSL says of time, by the machine's clock: the only faults that are judged again, by the injected one. */
const faultsOfTime: ReadonlySet<string> = new Set(['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID'])
const faultsOfStrength: ReadonlySet<string> = new Set(['CA_MD_TOO_WEAK', 'CA_KEY_TOO_SMALL', 'EE_KEY_TOO_SMALL'])

/**
 * Judges what a handshake showed. What OpenSSL found stands, but for time. Even then its word is not enough to go on: it
 * reports the last fault it met, and time is looked at last, so that `CERT_HAS_EXPIRED` may hide an untrusted issuer.
 * Whenever it complains of time the whole chain is therefore verified here.
 */
export function judgeHandshake(
  { fault, presented }: Handshake,
  host: string,
  standards: JudgingStandards
): CertificateVerdict {
  if (fault !== undefined && !faultsOfTime.has(fault)) {
    return rejected(faultsOfStrength.has(fault) ? 'weak' : 'untrusted', `OpenSSL found ${fault}`)
  }
  return judge(presented, host, standards, fault === undefined)
}

/** Judges a chain that nobody else has verified. */
export function judgeChain(
  presented: readonly X509Certificate[],
  host: string,
  standards: JudgingStandards
): CertificateVerdict {
  return judge(presented, host, standards, false)
}

/** `verified`: OpenSSL has found nothing wrong with the chain, and what its certificates may do need not be looked at again. */
function judge(
  presented: readonly X509Certificate[],
  host: string,
  standards: JudgingStandards,
  verified: boolean
): CertificateVerdict {
  const [leaf] = presented
  if (leaf === undefined) return rejected('malformed', 'there is no certificate')
  try {
    const paths = pathsToRoots(presented, standards.roots)
    if (paths.length === 0) return rejected('untrusted', 'no chain of signatures leads to a trusted root')
    const verdict = paths.map((path) => judgePath(path, host, standards, verified)).reduce(better)
    if (verdict.outcome === 'rejected' || isFor(leaf, host)) return verdict
    const names = leaf.subjectAltName ?? 'nobody'
    return rejected('host-mismatch', `the certificate is for ${names}, and not for ${host}`, describe([leaf])[0])
  } catch (error) {
    return rejected('malformed', `the certificate cannot be read: ${(error as Error).message}`)
  }
}

function judgePath(
  path: readonly X509Certificate[],
  host: string,
  { rules, now }: JudgingStandards,
  verified: boolean
): CertificateVerdict {
  const chain = describe(path)
  const fault = verified ? undefined : structureFault(path, host)
  if (fault !== undefined) return rejected('untrusted', fault)
  const weakness = weaknessOf(path)
  if (weakness !== undefined) {
    const certificate = chain[weakness.index]
    return rejected('weak', `the ${certificate?.place} certificate can be forged: ${weakness.why}`, certificate)
  }
  return judgeValidity(chain, rules, now)
}

const rank = { trusted: 2, warned: 1, rejected: 0 } as const

/** Of several paths the best counts, since a client may take any of them; of equals the one that lasts longest, or the first. */
function better(one: CertificateVerdict, other: CertificateVerdict): CertificateVerdict {
  if (rank[one.outcome] !== rank[other.outcome]) return rank[one.outcome] > rank[other.outcome] ? one : other
  if (one.outcome === 'rejected' || other.outcome === 'rejected') return one
  return other.expiresAt > one.expiresAt ? other : one
}
