import type { AddressInfo, Socket } from 'node:net'
import { createServer, type TlsOptions } from 'node:tls'

/** A real TLS server on loopback, and all that it was sent. */
export interface TlsServer extends AsyncDisposable {
  readonly port: number
  /** Bytes of the application's that came, over all connections. */
  received: number
  /** Server names that clients asked for. */
  readonly servernames: (string | false | null)[]
  readonly resumed: boolean[]
}

export async function tlsServer(options: TlsOptions, serve: (socket: Socket) => void = () => {}): Promise<TlsServer> {
  const sockets = new Set<Socket>()
  const server = createServer(options, (socket) => {
    made.servernames.push(socket.servername)
    made.resumed.push(socket.isSessionReused())
    socket.on('data', (bytes: Buffer) => {
      made.received += bytes.length
    })
    serve(socket)
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  server.on('secureConnection', (socket) => socket.on('error', () => {}))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const made: TlsServer = {
    port: (server.address() as AddressInfo).port,
    received: 0,
    servernames: [],
    resumed: [],
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    }
  }
  return made
}
