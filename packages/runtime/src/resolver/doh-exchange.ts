import { request as requestHttp } from 'node:http'
import { type ClientHttp2Session, constants } from 'node:http2'
import { isIP } from 'node:net'
import { checkServerIdentity, connect, type TLSSocket } from 'node:tls'
import { MESSAGE_BYTES_MAX } from './dns-message.ts'

/** One request for a DNS message. */
export interface HttpQuestion {
  /** Host and port, as they stand in the URL. */
  readonly authority: string
  readonly path: string
  /** The message to post; undefined for GET, where it is in the path. */
  readonly body: Uint8Array | undefined
  readonly signal: AbortSignal
}

export interface HttpAnswer {
  readonly status: number
  readonly contentType: string
  /** How long a cache on the way has held it. */
  readonly ageSeconds: number
  /** Undefined when it is longer than a message can be. */
  readonly body: Uint8Array | undefined
}

const MEDIA_TYPE = 'application/dns-message'

/** A TLS connection to `address` whose certificate is for `name`. Rejects when it does not come about or verify. */
export function connectVerified(to: {
  readonly address: string
  readonly port: number
  readonly name: string
  readonly ca: string | readonly string[] | undefined
  readonly signal: AbortSignal
}): Promise<TLSSocket> {
  const { address, port, name, ca, signal } = to
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: address,
      port,
      // An address cannot be sent as a server name (RFC 6066 §3); the certificate is held against it all the same.
      servername: isIP(name) === 0 ? name : '',
      checkServerIdentity: (_servername, certificate) => checkServerIdentity(name, certificate),
      ALPNProtocols: ['h2', 'http/1.1'],
      // Said here, so that NODE_TLS_REJECT_UNAUTHORIZED=0 does not turn it off.
      rejectUnauthorized: true,
      ...(ca === undefined ? {} : { ca: typeof ca === 'string' ? [ca] : [...ca] })
    })
    const onAbort = (): void => {
      socket.destroy()
      reject(signal.reason as Error)
    }
    const settled = (): void => signal.removeEventListener('abort', onAbort)
    signal.addEventListener('abort', onAbort, { once: true })
    socket.once('secureConnect', () => {
      settled()
      resolve(socket)
    })
    // Stays: an error after the exchange has nobody else to hear it, and would end the process.
    socket.on('error', (error) => {
      settled()
      socket.destroy()
      reject(error)
    })
  })
}

/** One exchange, after which the connection is closed. */
export function overHttp1(socket: TLSSocket, { authority, path, body, signal }: HttpQuestion): Promise<HttpAnswer> {
  return new Promise<HttpAnswer>((resolve, reject) => {
    const request = requestHttp({
      createConnection: () => socket,
      method: body === undefined ? 'GET' : 'POST',
      path,
      headers: {
        host: authority,
        accept: MEDIA_TYPE,
        connection: 'close',
        ...(body === undefined ? {} : { 'content-type': MEDIA_TYPE, 'content-length': body.length })
      },
      signal
    })
    request.on('error', reject)
    request.on('response', (response) => {
      const { statusCode = 0, headers } = response
      const head = { status: statusCode, contentType: headers['content-type'] ?? '', ageSeconds: ageOf(headers.age) }
      collect(response, (whole) => resolve({ ...head, body: whole }), reject)
    })
    request.end(body)
  }).finally(() => socket.destroy())
}

/** One exchange in a stream of its own. */
export function overHttp2(
  session: ClientHttp2Session,
  { authority, path, body, signal }: HttpQuestion
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const stream = session.request(
      {
        ':method': body === undefined ? 'GET' : 'POST',
        ':authority': authority,
        ':path': path,
        accept: MEDIA_TYPE,
        ...(body === undefined ? {} : { 'content-type': MEDIA_TYPE, 'content-length': body.length })
      },
      { signal }
    )
    stream.on('error', reject)
    // A session that ends under a stream closes it without an error.
    stream.on('close', () =>
      reject(new Error(`the stream was closed, code ${stream.rstCode ?? constants.NGHTTP2_NO_ERROR}`))
    )
    stream.on('response', (headers) => {
      const head = {
        status: Number(headers[':status']),
        contentType: headers['content-type'] ?? '',
        ageSeconds: ageOf(headers.age)
      }
      collect(stream, (whole) => resolve({ ...head, body: whole }), reject)
    })
    stream.end(body)
  })
}

/** Reads to the end, or gives up, and ends the transfer, as soon as it is more than a message can be. */
function collect(
  from: NodeJS.ReadableStream & { destroy(): unknown },
  resolve: (body: Uint8Array | undefined) => void,
  reject: (error: Error) => void
): void {
  const parts: Buffer[] = []
  let length = 0
  from.on('error', reject)
  from.on('data', (part: Buffer) => {
    length += part.length
    if (length <= MESSAGE_BYTES_MAX) return void parts.push(part)
    resolve(undefined)
    from.destroy()
  })
  from.on('end', () => resolve(Buffer.concat(parts)))
  from.on('close', () => reject(new Error('the answer ended before its end')))
}

/** RFC 9111 §5.1; anything but a count of seconds is none. */
const ageOf = (age: string | undefined): number => (age !== undefined && /^\d{1,9}$/.test(age) ? Number(age) : 0)
