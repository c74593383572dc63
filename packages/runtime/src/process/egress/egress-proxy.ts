import { lookup as systemLookup } from 'node:dns'
import { createServer, type IncomingMessage, request } from 'node:http'
import { isIP, connect as openSocket, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { allowList, canonicalHost } from './allow-list.ts'
import { isPrivateAddress } from './private-address.ts'

/** Gives the addresses of a name. */
export type EgressLookup = (host: string) => Promise<readonly string[]>

/** Begins a connection to an address. */
export type EgressConnect = (to: { readonly host: string; readonly port: number }) => Socket

/** A connection that a guest wanted. */
export interface EgressAttempt {
  readonly host: string
  readonly port: number
  readonly outcome: 'allowed' | 'refused' | 'failed'
  readonly reason?: string
}

export interface EgressProxyOptions {
  /** Path of the socket that it listens on. */
  readonly socket: string
  readonly allow: readonly string[]
  readonly lookup?: EgressLookup
  readonly connect?: EgressConnect
  readonly observe?: (attempt: EgressAttempt) => void
}

export interface EgressProxy {
  close(): Promise<void>
}

/** Connections at a time of one sandbox; of a guest that wants more, the next are refused. */
const CONNECTIONS_MAX = 256

/** Bytes of a request's head. */
const HEAD_MAX_BYTES = 16_384

const CONNECT_MS = 15_000

/** Headers that concern one connection alone, RFC 9110 §7.6.1, and what was meant for the proxy. */
const HOP_HEADERS = [
  'connection',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade'
]

const lookupAll: EgressLookup = (host) =>
  new Promise((resolve, reject) => {
    systemLookup(host, { all: true }, (error, found) =>
      error === null ? resolve(found.map(({ address }) => address)) : reject(error)
    )
  })

const connectDirectly: EgressConnect = ({ host, port }) => openSocket({ host, port, allowHalfOpen: true })

class Refusal extends Error {
  override readonly name = 'Refusal'
}

/**
 * The only way out of a sandbox: a forward proxy on a socket of its own. It takes CONNECT and requests in absolute form for
 * what is on the list, by exact name and port, and connects to the very address that it has judged, so that a name cannot
 * mean one thing when it is checked and another when it is used.
 */
export async function openEgressProxy(options: EgressProxyOptions): Promise<EgressProxy> {
  const { socket, allow, lookup = lookupAll, connect = connectDirectly, observe = () => undefined } = options
  const list = allowList(allow)
  const open = new Set<Duplex>()

  /** The address to connect to. Throws a `Refusal`. */
  const judge = async (host: string, port: number): Promise<string> => {
    const rule = list.match(host, port)
    if (rule === undefined) throw new Refusal('not on the list')
    const name = canonicalHost(host)
    if (isIP(name) !== 0) return name
    const addresses = await lookup(name)
    const [first] = addresses
    if (first === undefined) throw new Error('the name has no address')
    // All of them: one that is public beside one that is not is how a name is bent.
    if (addresses.some((address) => isPrivateAddress(address) && list.match(address, port) === undefined)) {
      throw new Refusal('its name leads to a private address')
    }
    return first
  }

  const reach = async (host: string, port: number): Promise<Socket> => {
    try {
      if (open.size > CONNECTIONS_MAX * 2) throw new Refusal('too many connections')
      const address = await judge(host, port)
      const outer = await new Promise<Socket>((resolve, reject) => {
        const connecting = connect({ host: address, port }).setTimeout(CONNECT_MS)
        connecting.once('connect', () => {
          connecting.setTimeout(0)
          resolve(connecting)
        })
        connecting.once('timeout', () => connecting.destroy(new Error('it did not answer')))
        connecting.once('error', reject)
      })
      observe({ host, port, outcome: 'allowed' })
      track(outer)
      return outer
    } catch (error) {
      const outcome = error instanceof Refusal ? 'refused' : 'failed'
      observe({ host: host.slice(0, 255), port, outcome, reason: (error as Error).message })
      throw error
    }
  }

  const track = (stream: Duplex): void => {
    open.add(stream)
    stream.on('error', () => undefined)
    stream.once('close', () => open.delete(stream))
  }

  const statusOf = (error: unknown): string => (error instanceof Refusal ? '403 Forbidden' : '502 Bad Gateway')

  const server = createServer({ maxHeaderSize: HEAD_MAX_BYTES }, (incoming, answer) => {
    const target = absolute(incoming)
    if (target === undefined) {
      answer.writeHead(400).end()
      return
    }
    const port = Number(target.port || 80)
    reach(target.hostname, port).then(
      (outer) => {
        const headers = Object.fromEntries(
          Object.entries(incoming.headers).filter(([name]) => !HOP_HEADERS.includes(name))
        )
        const onward = request(
          {
            createConnection: () => outer,
            method: incoming.method ?? 'GET',
            path: `${target.pathname}${target.search}`,
            // What the request is for, and not what it says that it is for.
            headers: { ...headers, host: target.host, connection: 'close' }
          },
          (response) => {
            answer.writeHead(response.statusCode ?? 502, response.headers)
            response.pipe(answer)
          }
        )
        onward.on('error', () => answer.destroy())
        answer.on('close', () => outer.destroy())
        incoming.pipe(onward)
      },
      (error: unknown) => {
        const [status, ...words] = statusOf(error).split(' ')
        answer.writeHead(Number(status), words.join(' '), { 'content-type': 'text/plain', connection: 'close' })
        answer.end(`${target.host}: ${(error as Error).message}\n`)
      }
    )
  })
  server.on('connect', (incoming: IncomingMessage, inner: Duplex, head: Buffer) => {
    inner.on('error', () => undefined)
    const [, host, portText] = /^(\[[0-9a-fA-F:.]+\]|[^:/@]+):(\d{1,5})$/.exec(incoming.url ?? '') ?? []
    if (host === undefined) {
      inner.end('HTTP/1.1 400 Bad Request\r\n\r\n')
      return
    }
    reach(host, Number(portText)).then(
      (outer) => {
        inner.write('HTTP/1.1 200 Connection established\r\n\r\n')
        outer.write(head)
        inner.pipe(outer).pipe(inner)
        inner.once('close', () => outer.destroy())
        outer.once('close', () => inner.destroy())
      },
      (error: unknown) => inner.end(`HTTP/1.1 ${statusOf(error)}\r\ncontent-length: 0\r\n\r\n`)
    )
  })
  server.on('connection', track)
  server.on('clientError', (_error, inner) => inner.destroy())
  server.maxConnections = CONNECTIONS_MAX
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(socket, resolve)
  })
  // The sandboxes keep the process up, not their way out.
  server.unref()
  return {
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const stream of open) stream.destroy()
      await closed
    }
  }
}

/** The target of a request in absolute form, `http` alone: what is encrypted goes through CONNECT. */
function absolute(incoming: IncomingMessage): URL | undefined {
  const { url = '' } = incoming
  if (!/^http:\/\//i.test(url) || !URL.canParse(url)) return undefined
  const target = new URL(url)
  return target.username === '' && target.password === '' ? target : undefined
}
