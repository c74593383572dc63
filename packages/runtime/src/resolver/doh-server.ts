import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import type { Platform } from '@enablement/core'
import { decodeReply, encodeQuestion, MESSAGE_BYTES_MAX } from './dns-message.ts'
import { connectVerified, type HttpAnswer, overHttp1, overHttp2 } from './doh-exchange.ts'
import type { FailureReason, NameServer, Question, ServerAnswer } from './name-server.ts'

/** A server for DNS over HTTPS (RFC 8484). */
export interface DohEndpoint {
  /** `https://dns.example/dns-query`. */
  readonly url: string
  /**
   * Where it is, as addresses: its name is not looked up, for that is what it is for. Its certificate must still be for the
   * name in the URL. May be left out where the URL itself has an address.
   */
  readonly addresses?: readonly string[]
  /** `POST` unless given. `GET` can be answered by caches on the way, and puts the names asked for into their logs. */
  readonly method?: 'GET' | 'POST'
  /** Certificates in PEM to trust instead of Node's own, for a server of one's own. */
  readonly ca?: string | readonly string[]
}

export interface DohServerOptions {
  /** Asked in turn, the next when the one before fails. */
  readonly endpoints: readonly DohEndpoint[]
  /** For all of them together. */
  readonly timeoutMs: number
  readonly platform: Platform
}

/** A connection nobody has used for so long is closed: servers do the same after about as long. */
const IDLE_MS = 30_000

/**
 * A tier of servers for DNS over HTTPS: HTTP/2 over a connection that is kept while it is used, or HTTP/1.1 over one for each
 * question, as the server chooses (some public ones speak HTTP/2 alone). Redirects are not followed.
 */
export function dohServer(options: DohServerOptions): NameServer {
  const { timeoutMs, platform } = options
  const clients = options.endpoints.map((endpoint) => dohClient(endpoint, platform))
  return {
    async ask(question, { signal }) {
      let answer: ServerAnswer = failed('timed-out')
      for (const client of clients) {
        if (signal.aborted) break
        answer = await within(platform, timeoutMs / clients.length, signal, (cut) => client.ask(question, cut))
        if (answer.outcome !== 'failed') break
      }
      return answer
    },
    close() {
      for (const client of clients) client.close()
    }
  }
}

/** Gives `work` a signal that aborts after `timeoutMs` or with the caller's; what it rejects with then is `timed-out`. */
async function within(
  { clock }: Platform,
  timeoutMs: number,
  signal: AbortSignal,
  work: (cut: AbortSignal) => Promise<ServerAnswer>
): Promise<ServerAnswer> {
  const controller = new AbortController()
  const abort = (): void => controller.abort()
  signal.addEventListener('abort', abort, { once: true })
  const timer = clock.startTimer(timeoutMs, abort)
  try {
    return await work(controller.signal)
  } catch (error) {
    return controller.signal.aborted
      ? failed('timed-out')
      : failed(isUntrusted(error) ? 'untrusted' : 'unreachable', error)
  } finally {
    timer.cancel()
    signal.removeEventListener('abort', abort)
  }
}

const failed = (reason: FailureReason, cause?: unknown): ServerAnswer => ({
  outcome: 'failed',
  reason,
  ...(cause === undefined ? {} : { cause })
})

/** OpenSSL's verification codes, and Node's own for a certificate of another name. */
function isUntrusted(error: unknown): boolean {
  const code = (error as { readonly code?: unknown } | undefined)?.code
  return typeof code === 'string' && /CERT|SELF_SIGNED|ISSUER|CA_|CRL|CHAIN/.test(code)
}

interface DohClient {
  ask(question: Question, signal: AbortSignal): Promise<ServerAnswer>
  close(): void
}

function dohClient(endpoint: DohEndpoint, { clock }: Platform): DohClient {
  const url = new URL(endpoint.url)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const port = url.port === '' ? 443 : Number(url.port)
  const addresses = endpoint.addresses ?? [host]
  let kept: ClientHttp2Session | undefined
  let idle = { cancel: (): void => {} }
  let closed = false

  const drop = (): void => {
    idle.cancel()
    kept?.destroy()
    kept = undefined
  }

  const open = async (signal: AbortSignal): Promise<TLSSocket> => {
    let error: unknown
    for (const address of addresses) {
      if (signal.aborted) break
      try {
        return await connectVerified({ address, port, name: host, ca: endpoint.ca, signal })
      } catch (failure) {
        error = failure
      }
    }
    throw error ?? signal.reason
  }

  const exchange = async (path: string, body: Uint8Array | undefined, signal: AbortSignal): Promise<HttpAnswer> => {
    if (kept === undefined || kept.closed || kept.destroyed) {
      const socket = await open(signal)
      if (socket.alpnProtocol !== 'h2') return await overHttp1(socket, { authority: url.host, path, body, signal })
      const session = connectHttp2(url.origin, { createConnection: () => socket })
      // An error reaches whoever waits for a stream; without a listener an idle session's would end the process.
      session.on('error', () => {})
      session.on('close', () => {
        if (kept === session) kept = undefined
      })
      session.unref()
      // Of two that connected at once the later is kept, and the earlier ends by itself when its stream has.
      if (kept !== undefined) kept.close()
      kept = session
      if (closed) session.close()
    }
    idle.cancel()
    const session = kept
    try {
      return await overHttp2(session, { authority: url.host, path, body, signal })
    } catch (error) {
      // It may be half open. Other questions under way over it still have their time; the next one connects anew.
      if (kept === session) kept = undefined
      session.close()
      throw error
    } finally {
      idle.cancel()
      idle = clock.startTimer(IDLE_MS, drop, { background: true })
      if (closed) drop()
    }
  }

  return {
    async ask(question, signal) {
      // RFC 8484 §4.1: the id is 0, so that equal questions are equal requests to a cache.
      const message = encodeQuestion(question, 0, MESSAGE_BYTES_MAX)
      const get = endpoint.method === 'GET'
      const query = `${url.search === '' ? '?' : `${url.search}&`}dns=${Buffer.from(message).toString('base64url')}`
      const path = `${url.pathname}${get ? query : url.search}`
      const answer = await exchange(path, get ? undefined : message, signal)
      if (answer.status !== 200) return failed('refused', new Error(`the server answered HTTP ${answer.status}`))
      if (!/^application\/dns-message\s*(?:;|$)/i.test(answer.contentType)) {
        return failed('malformed', new Error('the answer is not application/dns-message'))
      }
      if (answer.body === undefined) return failed('malformed', new Error('the answer is longer than a message can be'))
      const reply = decodeReply(answer.body, question, 0)
      if (reply === undefined || reply.truncated)
        return failed('malformed', new Error('the answer is to another question, or cut short'))
      const read = reply.read()
      // RFC 8484 §5.1: what a cache on the way has held it for is no longer left of its time to live.
      return read.outcome === 'addresses'
        ? { ...read, ttlSeconds: Math.max(0, read.ttlSeconds - answer.ageSeconds) }
        : read
    },
    close() {
      closed = true
      drop()
    }
  }
}
