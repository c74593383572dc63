import type { KeyObject, X509Certificate } from 'node:crypto'
import { contextTag, type DerElement, derElement, derElements, derInteger, derObjectId, derTag } from './der.ts'

/** A name in a certificate: the number of its kind in `GeneralName` (RFC 5280 §4.2.1.6), and its octets. */
export interface GeneralName {
  readonly kind: number
  readonly bytes: Uint8Array
}

/** RFC 5280 §4.2.1.10. */
interface NameConstraints {
  readonly permitted: readonly GeneralName[]
  readonly excluded: readonly GeneralName[]
}

/** What a certificate says that Node's `X509Certificate` does not tell. */
export interface CertificateFacts {
  /** Subject and issuer are the same name. */
  readonly selfIssued: boolean
  /** May sign certificates: basic constraints, and key usage where it is stated. */
  readonly isAuthority: boolean
  /** How many authorities may stand between it and the leaf; infinite unless stated. */
  readonly authoritiesBelowMax: number
  /** Extended key usage and Netscape's type name TLS servers, or are absent. */
  readonly isForServers: boolean
  /** Key usage lets a TLS server use the key, or is absent. */
  readonly isForHandshakes: boolean
  readonly names: readonly GeneralName[]
  readonly constraints: NameConstraints | undefined
  /** Critical extensions that this verifier does not know, by object id. RFC 5280 §4.2: such a certificate is refused. */
  readonly unknownCritical: readonly string[]
  /** Why its key can be broken, if it can. */
  readonly weakKey: string | undefined
  /** Why the signature on it can be forged, if it can. */
  readonly weakSignature: string | undefined
}

const extension = {
  keyUsage: '2.5.29.15',
  alternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  /** Which policies it was issued under: nobody here asks for one. */
  policies: '2.5.29.32',
  extendedKeyUsage: '2.5.29.37',
  /** Netscape's own, long out of use, which OpenSSL still obeys. */
  netscapeType: '2.16.840.1.113730.1.1'
} as const
const known: ReadonlySet<string> = new Set(Object.values(extension))

const serverAuthentication = '1.3.6.1.5.5.7.3.1'

/** Bits of the first octet of key usage, RFC 5280 §4.2.1.3. */
const usage = { digitalSignature: 0x80, keyEncipherment: 0x20, keyAgreement: 0x08, keyCertSign: 0x04 } as const

const NETSCAPE_SERVER = 0x40

/** MD2, MD4, MD5 and SHA-1 with RSA, SHA-1 with DSA and ECDSA: collisions have been made into forged certificates. */
const weakSignatures: ReadonlySet<string> = new Set([
  '1.2.840.113549.1.1.2',
  '1.2.840.113549.1.1.3',
  '1.2.840.113549.1.1.4',
  '1.2.840.113549.1.1.5',
  '1.3.14.3.2.29',
  '1.2.840.10040.4.3',
  '1.2.840.10045.4.1'
])

/** NIST SP 800-57: 112 bits of strength, which no certificate of a public authority goes below. */
const RSA_BITS_MIN = 2_048
/** At least 256 bits, and of the curves that Node and browsers offer. */
const curves: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1', 'secp521r1'])

/** Reads a certificate, RFC 5280 §4.1. Throws when it, or an extension, is not what it should be. */
export function readFacts(certificate: X509Certificate): CertificateFacts {
  const [body, outer] = derElements(derElement(certificate.raw, derTag.sequence).bytes)
  const fields = derElements(required(body).bytes)
  // Version 1, the default, is the only one that is not stated.
  const hasVersion = fields[0]?.tag === contextTag(0, true)
  const inner = required(fields[hasVersion ? 2 : 1])
  if (Buffer.compare(inner.bytes, required(outer).bytes) !== 0) {
    throw new Error('the signature algorithm inside differs from the one outside')
  }
  const { extensions, critical } = readExtensions(fields.find(({ tag }) => tag === contextTag(3, true)))
  const basic = extensions.get(extension.basicConstraints)
  const purposes = extensions.get(extension.extendedKeyUsage)
  const names = extensions.get(extension.alternativeName)
  const constraints = extensions.get(extension.nameConstraints)
  const netscape = extensions.get(extension.netscapeType)
  const uses = bitsOf(extensions.get(extension.keyUsage))
  const may = (bits: number): boolean => uses === undefined || (uses & bits) !== 0
  const selfIssued = certificate.subject === certificate.issuer
  const { isAuthority, authoritiesBelowMax } =
    // Version 1 has no extensions: only roots are left of it.
    basic === undefined ? { isAuthority: !hasVersion && selfIssued, authoritiesBelowMax: undefined } : basicOf(basic)
  return {
    selfIssued,
    isAuthority: isAuthority && may(usage.keyCertSign),
    authoritiesBelowMax: authoritiesBelowMax ?? Number.POSITIVE_INFINITY,
    isForServers:
      (purposes === undefined || sequence(purposes).map(derObjectId).includes(serverAuthentication)) &&
      (netscape === undefined || isAuthority || ((bitsOf(netscape) ?? 0) & NETSCAPE_SERVER) !== 0),
    isForHandshakes: may(usage.digitalSignature | usage.keyEncipherment | usage.keyAgreement),
    names: names === undefined ? [] : sequence(names).map(generalName),
    constraints: constraints === undefined ? undefined : constraintsOf(constraints),
    unknownCritical: critical.filter((id) => !known.has(id)),
    weakKey: weakKeyOf(certificate.publicKey),
    weakSignature: weakSignatures.has(derObjectId(required(derElements(inner.bytes)[0])))
      ? 'it is signed with SHA-1 or worse'
      : undefined
  }
}

const sequence = (bytes: Uint8Array): readonly DerElement[] => derElements(derElement(bytes, derTag.sequence).bytes)
const generalName = ({ tag, bytes }: DerElement): GeneralName => ({ kind: tag & 0x1f, bytes })

function required(element: DerElement | undefined): DerElement {
  if (element === undefined) throw new Error('an element is missing')
  return element
}

function readExtensions(field: DerElement | undefined): {
  readonly extensions: ReadonlyMap<string, Uint8Array>
  readonly critical: readonly string[]
} {
  const extensions = new Map<string, Uint8Array>()
  const critical: string[] = []
  for (const one of field === undefined ? [] : sequence(field.bytes)) {
    const parts = derElements(one.bytes)
    const id = derObjectId(required(parts[0]))
    if (extensions.has(id)) throw new Error(`extension ${id} stands there twice`)
    if (parts[1]?.tag === derTag.boolean && parts[1].bytes[0] !== 0) critical.push(id)
    extensions.set(id, required(parts.find(({ tag }) => tag === derTag.octetString)).bytes)
  }
  return { extensions, critical }
}

function basicOf(bytes: Uint8Array): {
  readonly isAuthority: boolean
  readonly authoritiesBelowMax: number | undefined
} {
  const parts = sequence(bytes)
  const length = parts.find(({ tag }) => tag === derTag.integer)
  return {
    isAuthority: parts[0]?.tag === derTag.boolean && parts[0].bytes[0] !== 0,
    authoritiesBelowMax: length === undefined ? undefined : derInteger(length)
  }
}

/** The first octet of the bits; the second, of key usage, holds one that no server needs. */
const bitsOf = (bytes: Uint8Array | undefined): number | undefined =>
  bytes === undefined ? undefined : (derElement(bytes, derTag.bitString).bytes[1] ?? 0)

function constraintsOf(bytes: Uint8Array): NameConstraints {
  const parts = sequence(bytes)
  const subtrees = (number: number): readonly GeneralName[] =>
    parts
      .filter(({ tag }) => tag === contextTag(number, true))
      .flatMap((part) => derElements(part.bytes))
      .map((subtree) => generalName(required(derElements(subtree.bytes)[0])))
  return { permitted: subtrees(0), excluded: subtrees(1) }
}

function weakKeyOf(key: KeyObject): string | undefined {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  if (type === 'rsa' || type === 'rsa-pss') {
    const bits = details?.modulusLength ?? 0
    return bits < RSA_BITS_MIN ? `its RSA key has ${bits} bits, fewer than ${RSA_BITS_MIN}` : undefined
  }
  if (type === 'ec') {
    const curve = details?.namedCurve ?? 'unknown'
    return curves.has(curve) ? undefined : `its key is on the curve ${curve}`
  }
  if (type === 'ed25519' || type === 'ed448') return undefined
  return `its key is of the type ${type ?? 'unknown'}`
}
