import type { IncomingMessage, ServerResponse } from 'node:http'
import { createSecureServer, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'
import { createServer as createHttps } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Server } from 'node:tls'
import { type Asked, answersTo, type Respond } from './fake-name-server.ts'

export interface FakeDohOptions {
  readonly cert: string
  readonly key: string
  /** HTTP/2 unless this is true. */
  readonly http1?: boolean
  /** Headers and status that differ from an honest answer's. */
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
}

/** A real server for DNS over HTTPS on loopback. */
export interface FakeDohServer extends AsyncDisposable {
  readonly port: number
  readonly asked: Asked[]
  readonly requests: {
    readonly method: string
    readonly path: string
    readonly host: string
    readonly version: string
  }[]
  /** TLS connections that were made. */
  connections: number
  servernames: (string | false | null)[]
  respond: Respond
}

export async function fakeDohServer(respond: Respond, options: FakeDohOptions): Promise<FakeDohServer> {
  const sockets = new Set<Socket>()
  const serve = async (
    request: IncomingMessage | Http2ServerRequest,
    response: ServerResponse | Http2ServerResponse
  ) => {
    const parts: Buffer[] = []
    for await (const part of request as IncomingMessage) parts.push(part as Buffer)
    const { method = '', url: path = '', headers, httpVersion: version } = request
    made.requests.push({ method, path, host: String(headers[':authority'] ?? headers.host), version })
    const query =
      method === 'GET'
        ? Buffer.from(new URL(path, 'https://x').searchParams.get('dns') ?? '', 'base64url')
        : Buffer.concat(parts)
    const [answer] = await answersTo(made, query, 'https')
    if (answer === undefined) return
    const http1 = response as ServerResponse
    http1.writeHead(options.status ?? 200, { 'content-type': 'application/dns-message', ...options.headers })
    http1.end(answer)
  }
  const { cert, key } = options
  const server: Server =
    options.http1 === true
      ? createHttps({ cert, key }, (request, response) => void serve(request, response))
      : createSecureServer({ cert, key }, (request, response) => void serve(request, response))
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  server.on('secureConnection', (socket) => {
    made.connections += 1
    made.servernames.push(socket.servername)
    socket.on('error', () => {})
  })
  server.on('sessionError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const made: FakeDohServer = {
    port: (server.address() as AddressInfo).port,
    asked: [],
    requests: [],
    connections: 0,
    servernames: [],
    respond,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    }
  }
  return made
}
