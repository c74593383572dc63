import type { X509Certificate } from 'node:crypto'
import { isIP, type LookupFunction } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import type { Clock } from '@enablement/core'

/** Where to connect. */
export interface ConnectionTarget {
  /** A name to look up, or an address. */
  readonly host: string
  /** Whom the certificate must be for; sent as the server name unless it is an address. */
  readonly name: string
  readonly port: number
  readonly lookup: LookupFunction | undefined
  readonly localAddress: string | undefined
  /** A connection that a proxy has opened, to speak TLS over. */
  readonly socket: unknown
  readonly roots: readonly string[] | undefined
  readonly protocols: readonly string[]
  readonly timeoutMs: number
}

/** What a handshake showed. */
export interface Handshake {
  /** OpenSSL's verdict by the machine's clock, such as `CERT_HAS_EXPIRED`; undefined when it found nothing wrong. */
  readonly fault: string | undefined
  /** What the server presented, its own first; the rest may be anything. */
  readonly presented: readonly X509Certificate[]
}

/** More than a chain has; the peer decides how many it sends. */
const PRESENTED_MAX = 32

/**
 * AUDITED: the one place where a TLS connection is made before its certificate has been accepted. A strict connection to a
 * server with an expired certificate shows no certificate at all, neither in its error nor on its socket, so that its
 * expiry could not be judged.
 *
 * What keeps it safe, line by line:
 * - Nobody outside gets the socket before `accept` has returned: it is called synchronously when the handshake ends, so that
 *   not a byte of the application's was written, and what the server has sent has been read by no one.
 * - Whatever `accept` does but return, an exception of its own included, destroys the socket and rejects.
 * - No session is offered and none is kept (`session` is never set): every connection is a full handshake with a certificate
 *   to judge. Should one be resumed all the same, it is refused.
 * - A client certificate is never offered, since it would be presented before the verdict.
 * - `rejectUnauthorized` is not an option of anything, and NODE_TLS_REJECT_UNAUTHORIZED changes nothing here: `accept` is
 *   told what OpenSSL found either way.
 */
export function connectUnjudged(
  target: ConnectionTarget,
  clock: Clock,
  accept: (handshake: Handshake) => void
): Promise<TLSSocket> {
  const { host, name, port, lookup, localAddress, roots, protocols } = target
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      servername: isIP(name) === 0 ? name : '',
      ...(lookup === undefined ? {} : { lookup }),
      ...(localAddress === undefined ? {} : { localAddress }),
      ...(target.socket === undefined ? {} : { socket: target.socket as TLSSocket }),
      ...(roots === undefined ? {} : { ca: [...roots] }),
      ALPNProtocols: [...protocols],
      // The name is held against the certificate by `accept`, whatever else is wrong with it.
      checkServerIdentity: () => undefined,
      rejectUnauthorized: false
    })
    const fail = (error: unknown): void => {
      timer.cancel()
      socket.destroy()
      reject(error)
    }
    const timer = clock.startTimer(target.timeoutMs, () =>
      fail(Object.assign(new Error(`no TLS connection after ${target.timeoutMs} ms`), { code: 'ETIMEDOUT' }))
    )
    const onClose = (): void => fail(Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' }))
    // Stays on: an error before its owner listens would end the process. Once settled it does nothing more.
    socket.on('error', fail)
    socket.once('close', onClose)
    socket.once('secureConnect', () => {
      timer.cancel()
      try {
        if (socket.isSessionReused()) throw new Error('the server resumed a session that was not offered')
        accept({ fault: faultOf(socket), presented: presentedOn(socket) })
      } catch (error) {
        return fail(error)
      }
      socket.off('close', onClose)
      resolve(socket)
    })
  })
}

/** `authorized` is the word that decides; a fault without a name would still be one. */
function faultOf(socket: TLSSocket): string | undefined {
  if (socket.authorized) return undefined
  const error: unknown = socket.authorizationError
  return typeof error === 'string' ? error : ((error as { code?: string } | null)?.code ?? 'UNKNOWN')
}

function presentedOn(socket: TLSSocket): readonly X509Certificate[] {
  const presented: X509Certificate[] = []
  let one = socket.getPeerX509Certificate()
  while (one !== undefined && presented.length < PRESENTED_MAX) {
    presented.push(one)
    const next: X509Certificate | undefined = one.issuerCertificate
    if (next?.fingerprint256 === one.fingerprint256) break
    one = next
  }
  return presented
}
