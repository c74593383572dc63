import { createSocket } from 'node:dgram'
import { createConnection, isIPv6 } from 'node:net'
import type { Platform } from '@enablement/core'
import { DATAGRAM_BYTES, decodeReply, encodeQuestion, MESSAGE_BYTES_MAX, type Reply } from './dns-message.ts'
import type { NameServer, Question, ServerAnswer } from './name-server.ts'
import type { ServerAddress } from './server-address.ts'

export interface DnsServerOptions {
  /** Asked in turn, the next when the one before fails. */
  readonly addresses: readonly ServerAddress[]
  /** For all of them together, so that one that is silent leaves time for the next. */
  readonly timeoutMs: number
  readonly platform: Platform
}

/** Datagrams get lost. The question is sent again, once, after this share of the time that its server has. */
const RESEND_RATIO = 0.4

/**
 * A tier of name servers over UDP, and over TCP where an answer is cut short.
 *
 * Not Node's own `dns.Resolver`: c-ares overshoots its timeouts by half a second and more, and takes any address record in
 * an answer, whoever's it is. Each question has a socket, and with it a port, of its own, a random id, and is answered
 * only from the address it was sent to: an answer that is made up elsewhere would have to guess all three.
 */
export function dnsServer(options: DnsServerOptions): NameServer {
  const { addresses, timeoutMs, platform } = options
  return {
    async ask(question, { signal }) {
      let answer: ServerAnswer = timedOut
      for (const address of addresses) {
        if (signal.aborted) break
        answer = await askOne(address, question, signal, timeoutMs / addresses.length, platform)
        if (answer.outcome !== 'failed') break
      }
      return answer
    },
    close: () => {}
  }
}

const timedOut: ServerAnswer = { outcome: 'failed', reason: 'timed-out' }

async function askOne(
  address: ServerAddress,
  question: Question,
  signal: AbortSignal,
  timeoutMs: number,
  platform: Platform
): Promise<ServerAnswer> {
  const startedAt = platform.clock.monotonic()
  const reply = await overUdp(address, question, signal, timeoutMs, platform)
  if ('outcome' in reply) return reply
  if (!reply.truncated) return reply.read()
  const leftMs = timeoutMs - (platform.clock.monotonic() - startedAt)
  const whole = await overTcp(address, question, signal, leftMs, platform)
  if ('outcome' in whole) return whole
  return whole.truncated ? malformed('an answer over TCP was cut short') : whole.read()
}

type Exchange = Reply | (ServerAnswer & { readonly outcome: 'failed' })

const malformed = (why: string): ServerAnswer & { readonly outcome: 'failed' } => ({
  outcome: 'failed',
  reason: 'malformed',
  cause: new Error(why)
})

function overUdp(
  address: ServerAddress,
  question: Question,
  signal: AbortSignal,
  timeoutMs: number,
  { clock, random }: Platform
): Promise<Exchange> {
  return new Promise((resolve) => {
    const id = random.below(65_536)
    const message = encodeQuestion(question, id, DATAGRAM_BYTES)
    const socket = createSocket(isIPv6(address.host) ? 'udp6' : 'udp4')
    let ended = false
    const end = (result: Exchange): void => {
      if (ended) return
      ended = true
      deadline.cancel()
      resend.cancel()
      signal.removeEventListener('abort', onAbort)
      socket.close()
      resolve(result)
    }
    const unreachable = (cause: unknown): void => end({ outcome: 'failed', reason: 'unreachable', cause })
    const onAbort = (): void => end({ outcome: 'failed', reason: 'timed-out' })
    const deadline = clock.startTimer(timeoutMs, onAbort)
    const send = (): void => {
      if (!ended) socket.send(message, (error) => void (error === null || unreachable(error)))
    }
    const resend = clock.startTimer(timeoutMs * RESEND_RATIO, () => connected && send())
    let connected = false
    signal.addEventListener('abort', onAbort, { once: true })
    // A connected socket hears from nobody else, and learns at once when nothing listens there.
    socket.on('error', unreachable)
    socket.on('connect', () => {
      connected = true
      send()
    })
    socket.on('message', (bytes) => {
      // Whatever does not answer this question may be forged, and must not keep the true answer from being heard.
      const reply = decodeReply(bytes, question, id)
      if (reply !== undefined) end(reply)
    })
    socket.connect(address.port, address.host)
  })
}

function overTcp(
  address: ServerAddress,
  question: Question,
  signal: AbortSignal,
  timeoutMs: number,
  { clock, random }: Platform
): Promise<Exchange> {
  return new Promise((resolve) => {
    const id = random.below(65_536)
    const message = encodeQuestion(question, id, DATAGRAM_BYTES)
    const socket = createConnection({ host: address.host, port: address.port })
    const end = (result: Exchange): void => {
      deadline.cancel()
      signal.removeEventListener('abort', onAbort)
      socket.destroy()
      resolve(result)
    }
    const onAbort = (): void => end({ outcome: 'failed', reason: 'timed-out' })
    const deadline = clock.startTimer(timeoutMs, onAbort)
    let received = Buffer.alloc(0)
    signal.addEventListener('abort', onAbort, { once: true })
    socket.on('error', (cause) => end({ outcome: 'failed', reason: 'unreachable', cause }))
    socket.on('close', () => end(malformed('the connection ended before the answer did')))
    socket.on('connect', () => {
      // RFC 1035 §4.2.2: the length in two octets, in one write with the message, for servers that read once.
      const framed = Buffer.alloc(2 + message.length)
      framed.writeUInt16BE(message.length)
      framed.set(message, 2)
      socket.write(framed)
    })
    socket.on('data', (bytes: Buffer) => {
      received = Buffer.concat([received, bytes])
      if (received.length > MESSAGE_BYTES_MAX + 2) return end(malformed('the answer is longer than a message can be'))
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return
      const reply = decodeReply(received.subarray(2, 2 + received.readUInt16BE(0)), question, id)
      end(reply ?? malformed('the answer is to another question'))
    })
  })
}
