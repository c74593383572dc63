import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/**
 * What a proxy does to traffic. `drop-replies`: requests go through, and their connection is reset when the reply comes;
 * `hang`: connections are taken, and nothing goes through; `garbage`: answers with something that is no HTTP.
 */
type ProxyMode = 'pass' | 'reset' | 'hang' | 'drop-replies' | 'garbage'

/** A TCP proxy on loopback, in front of a server, that fails as networks do. */
export interface FaultProxy {
  readonly port: number
  readonly origin: string
  /** For connections from now on, and for bytes of those that there are. */
  mode: ProxyMode
  /** So many replies are dropped, and their connections reset, before others go through. */
  repliesToDrop: number
  /** Connections taken so far. */
  readonly accepted: number
  /** Nobody can connect any more; what is connected is reset, or goes silent as half-open connections do. */
  partition(standing: 'reset' | 'silent'): Promise<void>
  /** Takes connections again, on the same port. Silent ones stay silent. */
  heal(): Promise<void>
  close(): Promise<void>
}

export async function faultProxy(upstreamPort: number): Promise<FaultProxy> {
  const sockets = new Set<Socket>()
  let mode: ProxyMode = 'pass'
  let accepted = 0
  let repliesToDrop = 0
  let era = 0

  const keep = (socket: Socket): void => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
  }

  const onConnection = (client: Socket): void => {
    accepted += 1
    keep(client)
    if (mode === 'reset') {
      client.resetAndDestroy()
      return
    }
    const mine = era
    const server = connect(upstreamPort, '127.0.0.1')
    keep(server)
    client.on('data', (bytes) => {
      if (mine !== era || mode === 'hang') return
      if (mode === 'garbage') client.end('\u0000\u0001 this is no HTTP \r\n\r\n\r\n')
      else if (mode === 'reset') client.resetAndDestroy()
      else server.write(bytes)
    })
    server.on('data', (bytes) => {
      if (mine !== era || mode === 'hang') return
      if (mode === 'drop-replies' || repliesToDrop-- > 0) client.resetAndDestroy()
      else client.write(bytes)
    })
    client.on('close', () => server.destroy())
    server.on('close', () => {
      if (mine === era) client.destroy()
    })
  }

  let listener = createServer(onConnection)
  const listen = async (port: number): Promise<number> => {
    listener = createServer(onConnection).listen(port, '127.0.0.1')
    await once(listener, 'listening')
    return (listener.address() as AddressInfo).port
  }
  const port = await listen(0)

  return {
    port,
    origin: `http://127.0.0.1:${port}`,
    get mode() {
      return mode
    },
    set mode(next) {
      mode = next
    },
    get repliesToDrop() {
      return repliesToDrop
    },
    set repliesToDrop(next) {
      repliesToDrop = next
    },
    get accepted() {
      return accepted
    },
    async partition(standing) {
      era += 1
      const stopped = new Promise<void>((resolve) => listener.close(() => resolve()))
      if (standing === 'reset') for (const socket of sockets) socket.resetAndDestroy()
      // A listener that is closed resolves only when its connections are gone; the port is free at once.
      await (standing === 'reset' ? stopped : undefined)
    },
    async heal() {
      await listen(port)
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => listener.close(() => resolve()))
    }
  }
}
