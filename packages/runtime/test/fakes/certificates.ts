import 'reflect-metadata'
import { generateKeyPairSync, type KeyObject, webcrypto } from 'node:crypto'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator
} from '@peculiar/x509'

const DAY_MS = 86_400_000

/** 2026-01-01T00:00:00Z, where the virtual clock starts. */
export const START_AT = 1_767_225_600_000

/** An extension as its bytes. */
export interface RawExtension {
  readonly id: string
  readonly critical: boolean
  readonly der: readonly number[]
}

/** A certificate with its key. */
export interface Issued {
  readonly pem: string
  readonly keyPem: string
  readonly signingKey: webcrypto.CryptoKey
  readonly name: string
}

export interface IssueOptions {
  /** Self-signed unless given. */
  readonly issuer?: Issued
  /** Signed with this key instead of the issuer's own: a forgery. */
  readonly forgedWith?: Issued
  readonly notBefore?: number
  readonly notAfter?: number
  /** DNS names; an address is told by its form. */
  readonly hosts?: readonly string[]
  readonly authority?: boolean
  readonly pathLength?: number
  /** Key usage, where it is not the usual one for its kind. */
  readonly usages?: number
  /** Extended key usage, by object id. */
  readonly purposes?: readonly string[]
  readonly extensions?: readonly RawExtension[]
  /** `rsa-1024` and `secp224r1` are weak. */
  readonly key?: 'p256' | 'rsa-1024' | 'rsa-2048' | 'secp224r1' | 'ed25519'
  /** What it is signed with. */
  readonly hash?: 'SHA-256' | 'SHA-1'
}

const algorithms = {
  p256: { name: 'ECDSA', namedCurve: 'P-256' },
  ed25519: { name: 'Ed25519' },
  'rsa-1024': {
    name: 'RSASSA-PKCS1-v1_5',
    modulusLength: 1_024,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: 'SHA-256'
  },
  'rsa-2048': {
    name: 'RSASSA-PKCS1-v1_5',
    modulusLength: 2_048,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: 'SHA-256'
  }
} as const

let serial = 1

/** Makes a certificate: a server's for `localhost` that is valid from a day before `START_AT` to 90 days after, unless told otherwise. */
export async function issue(name: string, options: IssueOptions = {}): Promise<Issued> {
  const { issuer, authority = false, key = 'p256', hash = 'SHA-256', hosts = authority ? [] : ['localhost'] } = options
  const weakCurve = key === 'secp224r1' ? generateKeyPairSync('ec', { namedCurve: 'secp224r1' }) : undefined
  const pair = (await webcrypto.subtle.generateKey(algorithms[key === 'secp224r1' ? 'p256' : key], true, [
    'sign',
    'verify'
  ])) as webcrypto.CryptoKeyPair
  const signer = (options.forgedWith ?? issuer)?.signingKey ?? pair.privateKey
  const { digitalSignature, keyCertSign, cRLSign } = KeyUsageFlags
  const usages = options.usages ?? (authority ? keyCertSign | cRLSign : digitalSignature)
  const made = await X509CertificateGenerator.create({
    serialNumber: (serial++).toString(16).padStart(4, '0'),
    subject: `CN=${name}`,
    issuer: `CN=${issuer?.name ?? name}`,
    notBefore: new Date(options.notBefore ?? START_AT - DAY_MS),
    notAfter: new Date(options.notAfter ?? START_AT + 90 * DAY_MS),
    publicKey: weakCurve === undefined ? pair.publicKey : weakCurve.publicKey.export({ type: 'spki', format: 'der' }),
    signingKey: signer,
    signingAlgorithm: { name: signer.algorithm.name, hash },
    extensions: [
      new BasicConstraintsExtension(authority, options.pathLength, true),
      new KeyUsagesExtension(usages, true),
      ...(hosts.length === 0
        ? []
        : [
            new SubjectAlternativeNameExtension(
              hosts.map((value) => ({ type: /^[\d.]+$|:/.test(value) ? ('ip' as const) : ('dns' as const), value }))
            )
          ]),
      ...(options.purposes === undefined ? [] : [new ExtendedKeyUsageExtension([...options.purposes])]),
      ...(options.extensions ?? []).map(({ id, critical, der }) => new Extension(id, critical, new Uint8Array(der)))
    ]
  })
  const pem = made.toString('pem')
  const { privateKey } = pair
  const keyPem = weakCurve === undefined ? await exported(privateKey) : pemOf(weakCurve.privateKey)
  return { pem, keyPem, signingKey: signingKeyOf(pair), name }
}

const signingKeyOf = ({ privateKey }: webcrypto.CryptoKeyPair): webcrypto.CryptoKey => privateKey
const pemOf = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString()
async function exported(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64')
  return `-----BEGIN PRIVATE KEY-----\n${der.replace(/.{64}/g, '$&\n')}\n-----END PRIVATE KEY-----\n`
}

/** A root and an intermediate, good for years on either side of `START_AT`. */
export interface Authority {
  readonly root: Issued
  readonly intermediate: Issued
}

export async function makeAuthority(name = 'test'): Promise<Authority> {
  const span = { notBefore: START_AT - 1_000 * DAY_MS, notAfter: START_AT + 3_000 * DAY_MS }
  const root = await issue(`${name} root`, { ...span, authority: true })
  const intermediate = await issue(`${name} intermediate`, { ...span, authority: true, issuer: root })
  return { root, intermediate }
}

/** As a server presents it: the leaf first. */
export const bundle = (...certificates: readonly Issued[]): string => certificates.map(({ pem }) => pem).join('\n')
