import { createSocket } from 'node:dgram'
import { createServer, type Socket } from 'node:net'
import { type Answer, decode, encode, type Packet, RECURSION_AVAILABLE, RECURSION_DESIRED } from 'dns-packet'

/** What a name server was asked. */
export interface Asked {
  readonly name: string
  readonly type: 'A' | 'AAAA'
  readonly over: 'udp' | 'tcp' | 'https'
  /** The decoded query, for those who forge answers. */
  readonly query: Packet
}

/** Packets, or bytes as they are, to send back; nothing at all for undefined. */
type Reply = Packet | Uint8Array | readonly (Packet | Uint8Array)[] | undefined
export type Respond = (asked: Asked) => Reply | Promise<Reply>

/** The response codes that dns-packet puts into the flags. */
export const rcode = { noerror: 0, formerr: 1, servfail: 2, nxdomain: 3, refused: 5 } as const

/** An honest answer to a query, with whatever a test changes of it. */
export function reply(
  asked: Asked,
  answers: readonly Answer[],
  overrides: Partial<Packet> & { readonly code?: number } = {}
): Packet {
  const { code = rcode.noerror, ...packet } = overrides
  return {
    type: 'response',
    id: asked.query.id ?? 0,
    flags: RECURSION_DESIRED | RECURSION_AVAILABLE | code,
    questions: asked.query.questions ?? [],
    answers: [...answers],
    ...packet
  }
}

export const a = (name: string, data: string, ttl = 60): Answer => ({ type: 'A', name, ttl, data, class: 'IN' })
export const aaaa = (name: string, data: string, ttl = 60): Answer => ({ type: 'AAAA', name, ttl, data, class: 'IN' })
export const alias = (name: string, data: string, ttl = 60): Answer => ({ type: 'CNAME', name, ttl, data, class: 'IN' })

/** Answers A with these addresses, and AAAA with none. */
export const always =
  (address: string, ttl = 60): Respond =>
  (asked) =>
    reply(asked, asked.type === 'A' ? [a(asked.name, address, ttl)] : [])

export const failing =
  (code: number): Respond =>
  (asked) =>
    reply(asked, [], { code })

export const silent: Respond = () => undefined

/** A real name server on loopback, UDP and TCP on one port, that says what a test tells it to. */
export interface FakeNameServer extends AsyncDisposable {
  /** As `createResolver` takes it. */
  readonly address: string
  readonly port: number
  readonly asked: Asked[]
  respond: Respond
}

export async function fakeNameServer(respond: Respond): Promise<FakeNameServer> {
  for (;;) {
    const server = await listen(respond)
    if (server !== undefined) return server
  }
}

/** Undefined when somebody else has the port that UDP got for TCP. */
async function listen(first: Respond): Promise<FakeNameServer | undefined> {
  const asked: Asked[] = []
  const sockets = new Set<Socket>()
  let closed = false
  const udp = createSocket('udp4')
  const tcp = createServer()
  await new Promise<void>((resolve) => udp.bind(0, '127.0.0.1', resolve))
  const { port } = udp.address()
  const taken = await new Promise<boolean>((resolve) => {
    tcp.once('error', () => resolve(true))
    tcp.listen(port, '127.0.0.1', () => resolve(false))
  })
  if (taken) {
    udp.close()
    return undefined
  }
  const server: FakeNameServer = {
    address: `127.0.0.1:${port}`,
    port,
    asked,
    respond: first,
    async [Symbol.asyncDispose]() {
      closed = true
      for (const socket of sockets) socket.destroy()
      await Promise.all([
        new Promise<void>((resolve) => udp.close(resolve)),
        new Promise<void>((resolve) => tcp.close(() => resolve()))
      ])
    }
  }
  udp.on('message', (bytes, from) => {
    void answersTo(server, bytes, 'udp').then((messages) => {
      // A test that is over has closed the socket.
      if (!closed) for (const message of messages) udp.send(message, from.port, from.address)
    })
  })
  tcp.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    socket.on('data', (bytes: Buffer) => {
      void answersTo(server, bytes.subarray(2), 'tcp').then((messages) => {
        for (const message of messages) {
          const head = Buffer.alloc(2)
          head.writeUInt16BE(message.length)
          socket.write(Buffer.concat([head, message]))
        }
      })
    })
  })
  return server
}

export async function answersTo(
  server: { readonly asked: Asked[]; readonly respond: Respond },
  bytes: Uint8Array,
  over: Asked['over']
): Promise<readonly Uint8Array[]> {
  const query = decode(Buffer.from(bytes))
  const [question] = query.questions ?? []
  if (question === undefined) return []
  const one: Asked = { name: question.name, type: question.type as 'A' | 'AAAA', over, query }
  server.asked.push(one)
  const told = await server.respond(one)
  if (told === undefined) return []
  const all = (Array.isArray(told) ? told : [told]) as readonly (Packet | Uint8Array)[]
  return all.map((each) => (each instanceof Uint8Array ? each : encode(each)))
}
