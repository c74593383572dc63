import type { X509Certificate } from 'node:crypto'
import { type CertificateFacts, readFacts } from './certificate-facts.ts'
import { forbiddenByConstraints } from './name-constraints.ts'
import type { ChainCertificate, ChainPlace } from './verdict.ts'

/** Certificates trusted by themselves, by the name that they sign under. */
export type TrustedRoots = ReadonlyMap<string, readonly X509Certificate[]>

/** What a server may send, and how far it is followed: chains have 2 to 4 certificates, with cross-signed ones up to 6. */
const PRESENTED_MAX = 32
const PATH_MAX = 8
/** Cross-signing gives a few paths; a peer that sends more wants its signatures verified until the processor is tired. */
const PATHS_MAX = 32
const SIGNATURES_MAX = 128

export const rootsFrom = (certificates: readonly X509Certificate[]): TrustedRoots => {
  const roots = new Map<string, X509Certificate[]>()
  for (const root of certificates) roots.set(root.subject, [...(roots.get(root.subject) ?? []), root])
  return roots
}

/**
 * Every chain of signatures from the leaf, which comes first, to a self-issued certificate that is trusted. The signatures
 * are verified; what the certificates may do is not (`structureFault`), nor when.
 */
export function pathsToRoots(
  presented: readonly X509Certificate[],
  roots: TrustedRoots
): readonly (readonly X509Certificate[])[] {
  const [leaf] = presented
  if (leaf === undefined) return []
  const others = presented.slice(1, PRESENTED_MAX)
  const paths: (readonly X509Certificate[])[] = []
  let signatures = 0

  const isSignedBy = (certificate: X509Certificate, issuer: X509Certificate): boolean => {
    if (certificate.issuer !== issuer.subject || signatures >= SIGNATURES_MAX) return false
    signatures += 1
    try {
      return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
    } catch {
      // A key of a type that cannot verify such a signature.
      return false
    }
  }
  const isTrusted = (certificate: X509Certificate): boolean =>
    (roots.get(certificate.subject) ?? []).some((root) => root.fingerprint256 === certificate.fingerprint256)

  const extend = (path: readonly X509Certificate[]): void => {
    const last = path.at(-1) as X509Certificate
    if (paths.length >= PATHS_MAX) return
    // Trusted byte for byte: its signature on itself would add nothing.
    if (last.subject === last.issuer && isTrusted(last)) {
      paths.push(path)
      return
    }
    if (path.length >= PATH_MAX) return
    // The trusted first, as OpenSSL does: an old cross-signature must not hide a root that stands by itself.
    for (const issuer of [...(roots.get(last.issuer) ?? []), ...others]) {
      const isNew = path.every((one) => one.fingerprint256 !== issuer.fingerprint256)
      if (isNew && isSignedBy(last, issuer)) extend([...path, issuer])
    }
  }
  extend([leaf])
  return paths
}

/** Why a chain's certificates may not vouch for a TLS server named `host`, by RFC 5280 §6.1; undefined when they may. */
export function structureFault(path: readonly X509Certificate[], host: string): string | undefined {
  let facts: readonly CertificateFacts[]
  try {
    facts = path.map(readFacts)
  } catch (error) {
    return `a certificate of the chain cannot be read: ${(error as Error).message}`
  }
  const [leaf] = facts as readonly [CertificateFacts]
  if (!leaf.isForHandshakes) return 'the key usage of the leaf is not that of a server'
  let below = 0
  for (const [index, one] of facts.entries()) {
    const place = placeOf(index, facts.length)
    const [unknown] = one.unknownCritical
    if (unknown !== undefined) return `the ${place} has the critical extension ${unknown}, which is not understood`
    if (!one.isForServers) return `the ${place} is not for TLS servers`
    if (index === 0) continue
    if (!one.isAuthority) return `the ${place} may not sign certificates`
    if (below > one.authoritiesBelowMax)
      return `the ${place} allows ${one.authoritiesBelowMax} authorities below it, and there are ${below}`
    const forbidden = forbiddenByConstraints(one, leaf, host)
    if (forbidden !== undefined) return forbidden
    if (!one.selfIssued) below += 1
  }
  return undefined
}

/** Why a key or a signature of a chain can be forged. The signature on a root says nothing: it is trusted as it is. */
export function weaknessOf(
  path: readonly X509Certificate[]
): { readonly index: number; readonly why: string } | undefined {
  for (const [index, certificate] of path.entries()) {
    const { weakKey, weakSignature } = readFacts(certificate)
    const why = weakKey ?? (index === path.length - 1 ? undefined : weakSignature)
    if (why !== undefined) return { index, why }
  }
  return undefined
}

export const describe = (path: readonly X509Certificate[]): readonly ChainCertificate[] =>
  path.map((certificate, index) => ({
    place: placeOf(index, path.length),
    subject: certificate.subject.replaceAll('\n', ', '),
    fingerprint: certificate.fingerprint256,
    notBefore: certificate.validFromDate.getTime(),
    notAfter: certificate.validToDate.getTime()
  }))

/** A self-signed certificate that is trusted itself is a leaf first. */
const placeOf = (index: number, length: number): ChainPlace =>
  index === 0 ? 'leaf' : index === length - 1 ? 'root' : 'intermediate'
