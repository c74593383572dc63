import type { X509Certificate } from 'node:crypto'
import type { LookupFunction, Socket } from 'node:net'
import { getCACertificates, type TLSSocket } from 'node:tls'
import { type Platform, parseOptions, reporter, systemPlatform } from '@enablement/core'
import { z } from 'zod'
import { RuntimeError } from '../runtime-error.ts'
import type { CertificateEvent } from './certificate-event.ts'
import { rootsFrom, type TrustedRoots } from './certification-path.ts'
import { type JudgingStandards, judgeChain, judgeHandshake } from './judging.ts'
import { readPem } from './pem-chain.ts'
import { connectPlain } from './plain-connection.ts'
import { connectUnjudged, type Handshake } from './unjudged-connection.ts'
import { type CertificateVerdict, type Rejection, type RejectionReason, rejected } from './verdict.ts'

/** How certificates are judged. */
export interface CertificateJudgeOptions {
  /** Fewer whole days left than this, for any certificate of a chain, is a warning. 0 for none; usual are 30, 14 and 3. */
  readonly warningDays: number
  /** Whether a leaf that has expired may pass, with a warning, when all else about its chain is right. Not unless given. */
  readonly allowExpired?: boolean
  /**
   * How far a certificate's first instant may lie ahead, for authorities that issue on the spot on a clock a little ahead of
   * this one: 0 ms unless given, 5 minutes at the most. Public authorities date back by an hour and need none.
   */
  readonly notBeforeSkewMs?: number
  /** Certificates in PEM to trust instead of those that Node trusts (`tls.getCACertificates()`). */
  readonly ca?: string | readonly string[]
  /** For connections: how names are looked up, such as a resolver's `lookup`. Node's own unless given. */
  readonly lookup?: LookupFunction
  /** For connections: how long one may take until it is judged, 10,000 ms unless given. */
  readonly connectTimeoutMs?: number
  /** For connections: whether HTTP/2 is offered. Not unless given. */
  readonly allowH2?: boolean
  readonly platform?: Platform
  readonly observe?: (event: CertificateEvent) => void
}

/** Where to, as undici tells its `connect`. */
export interface ConnectOptions {
  readonly hostname: string
  readonly host?: string | undefined
  readonly protocol: string
  readonly port: string
  readonly servername?: string | undefined
  readonly localAddress?: string | null | undefined
  readonly httpSocket?: Socket | undefined
}

export type ConnectCallback = (
  ...answer: [error: null, socket: Socket | TLSSocket] | [error: Error, socket: null]
) => void

/** A connection that was judged. */
export interface JudgedConnection {
  readonly socket: TLSSocket
  readonly verdict: Exclude<CertificateVerdict, { readonly outcome: 'rejected' }>
}

/** Judges certificates by an injected clock. */
export interface CertificateJudge {
  /**
   * Judges a chain for a host, at this moment: PEM, or certificates, the leaf first and the rest in any order. Signatures up
   * to a trusted root, host name, what each certificate may do, keys, and validity. Never throws: what cannot be read is
   * `malformed`.
   */
  judge(chain: string | readonly X509Certificate[], host: string): CertificateVerdict
  /**
   * A TLS connection whose certificate was accepted, for `servername` where that is not the host. Throws `CERTIFICATE_REJECTED`, and `CONNECTION_FAILED` with what Node
   * said as its cause. Nothing has been sent in either case.
   */
  open(target: {
    readonly host: string
    readonly port: number
    readonly servername?: string
  }): Promise<JudgedConnection>
  /** The `connect` option of undici's dispatchers: `new Agent({ connect: judge.connect })`. Bound. Plain HTTP is not judged. */
  readonly connect: (options: ConnectOptions, callback: ConnectCallback) => void
}

const CONNECT_TIMEOUT_MS = 10_000
const SKEW_MAX_MS = 300_000
/** undici's own default. */
const KEEP_ALIVE_MS = 60_000

const optionsSchema: z.ZodType<CertificateJudgeOptions> = z.strictObject({
  warningDays: z.number().min(0).max(36_500),
  allowExpired: z.boolean().exactOptional(),
  notBeforeSkewMs: z.number().min(0).max(SKEW_MAX_MS).exactOptional(),
  ca: z
    .union([z.string(), z.array(z.string()).min(1)])
    .refine((ca) => (readPem([ca].flat().join('\n')) ?? []).length > 0, 'must be certificates in PEM')
    .exactOptional(),
  lookup: z.custom<LookupFunction>((value) => typeof value === 'function').exactOptional(),
  connectTimeoutMs: z.number().min(1).max(300_000).exactOptional(),
  allowH2: z.boolean().exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional(),
  observe: z.custom<(event: CertificateEvent) => void>((value) => typeof value === 'function').exactOptional()
})

/**
 * Connects to servers whose certificates it judges itself, because two things are not Node's to decide: what time it is, and
 * whether an expired leaf may pass.
 *
 * OpenSSL verifies too, and what it finds stands, but for time. Even then its word is not enough to go on: it reports the
 * last fault it met, and time is looked at last, so that `CERT_HAS_EXPIRED` may hide an untrusted issuer. Whenever it
 * complains of time the whole chain is therefore verified here: signatures, authorities, path lengths, usage, name
 * constraints. Throws `INVALID_OPTIONS`.
 */
export function createCertificateJudge(options: CertificateJudgeOptions): CertificateJudge {
  const parsed = parseOptions(optionsSchema, 'createCertificateJudge', options)
  const { platform = systemPlatform, connectTimeoutMs = CONNECT_TIMEOUT_MS, allowH2 = false, lookup } = parsed
  const { clock } = platform
  const report = reporter(parsed.observe)
  const ca = parsed.ca === undefined ? undefined : [parsed.ca].flat()
  const rules = {
    warningDays: parsed.warningDays,
    allowExpired: parsed.allowExpired ?? false,
    notBeforeSkewMs: parsed.notBeforeSkewMs ?? 0
  }
  let known: TrustedRoots | undefined
  // Node trusts some 150 to 270 roots: reading them takes about 15 ms, once, when the first certificate comes. One that
  // cannot be read, as an operator may have added, is passed over.
  const roots = (): TrustedRoots => {
    known ??= rootsFrom((ca ?? getCACertificates('default')).flatMap((pem) => readPem(pem) ?? []))
    return known
  }
  const standards = (): JudgingStandards => ({ roots: roots(), rules, now: clock.now() })

  const connectTls = async (target: {
    readonly host: string
    readonly name: string
    readonly port: number
    readonly localAddress?: string | undefined
    readonly socket?: unknown
  }): Promise<JudgedConnection> => {
    const { host, name, port } = target
    let verdict: CertificateVerdict | undefined
    const accept = (handshake: Handshake): void => {
      verdict = judgeHandshake(handshake, name, standards())
      if (verdict.outcome === 'rejected') throw rejectionError(name, verdict, handshake.fault)
    }
    try {
      const socket = await connectUnjudged(
        {
          host,
          name,
          port,
          lookup,
          localAddress: target.localAddress,
          socket: target.socket,
          roots: ca,
          protocols: allowH2 ? ['h2', 'http/1.1'] : ['http/1.1'],
          timeoutMs: connectTimeoutMs
        },
        clock,
        accept
      )
      const accepted = verdict as unknown as JudgedConnection['verdict']
      if (accepted.outcome === 'warned') report({ type: 'certificate.warned', host: name, warnings: accepted.warnings })
      return { socket, verdict: accepted }
    } catch (error) {
      if (verdict?.outcome === 'rejected') {
        report({ type: 'certificate.rejected', host: name, reason: verdict.reason, message: verdict.message })
        throw error
      }
      throw connectionError(host, port, error)
    }
  }

  return {
    judge(chain, host) {
      const certificates = typeof chain === 'string' ? readPem(chain) : chain
      if (certificates === undefined) return rejected('malformed', 'a block of the PEM text is not a certificate')
      return judgeChain(certificates, bareHost(host), standards())
    },
    open: ({ host, port, servername = host }) => connectTls({ host: bareHost(host), name: bareHost(servername), port }),
    connect(target, callback) {
      const { protocol, port, httpSocket, localAddress } = target
      const isTls = protocol === 'https:'
      const hostname = bareHost(target.hostname)
      const where = { port: port === '' ? (isTls ? 443 : 80) : Number(port), localAddress: localAddress ?? undefined }
      const connection = isTls
        ? connectTls({
            ...where,
            host: hostname,
            name: bareHost(target.servername ?? '') || hostname,
            socket: httpSocket
          })
        : connectPlain({ ...where, host: hostname, lookup, timeoutMs: connectTimeoutMs }, clock).catch(
            (error: unknown) => {
              throw connectionError(hostname, where.port, error)
            }
          )
      connection.then(
        (made) => {
          const socket = 'verdict' in made ? made.socket : made
          socket.setNoDelay(true)
          socket.setKeepAlive(true, KEEP_ALIVE_MS)
          queueMicrotask(() => callback(null, socket))
        },
        (error: Error) => queueMicrotask(() => callback(error, null))
      )
    }
  }
}

/** Addresses stand in brackets in URLs, and without them everywhere else. */
const bareHost = (host: string): string => host.replace(/^\[(.*)\]$/, '$1')

/** The code that Node would have failed with: libraries look for it, on an error or on its cause. */
const codes: Readonly<Record<RejectionReason, string>> = {
  expired: 'CERT_HAS_EXPIRED',
  'not-yet-valid': 'CERT_NOT_YET_VALID',
  'host-mismatch': 'ERR_TLS_CERT_ALTNAME_INVALID',
  untrusted: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  weak: 'EE_KEY_TOO_SMALL',
  malformed: 'CERT_REJECTED'
}

function rejectionError(
  host: string,
  { reason, message }: Rejection,
  fault: string | undefined
): RuntimeError<'CERTIFICATE_REJECTED'> {
  const code = reason === 'untrusted' || reason === 'weak' ? (fault ?? codes[reason]) : codes[reason]
  const cause = Object.assign(new Error(message), { code })
  return new RuntimeError(
    'CERTIFICATE_REJECTED',
    `the certificate of ${host} was refused: ${message}`,
    { host, reason },
    { cause }
  )
}

function connectionError(host: string, port: number, cause: unknown): RuntimeError<'CONNECTION_FAILED'> {
  const { code } = cause as { readonly code?: unknown }
  const reason = typeof code === 'string' ? code : 'unknown'
  return new RuntimeError(
    'CONNECTION_FAILED',
    `no connection to ${host} on port ${port}: ${reason}`,
    { host, port, reason },
    { cause }
  )
}
