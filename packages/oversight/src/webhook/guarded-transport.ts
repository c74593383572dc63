import { CoreError, parseOptions } from '@enablement/core'
import { z } from 'zod'
import { type EgressAllowance, egressAllowanceSchema, egressGuard } from './egress.ts'
import type { WebhookPost, WebhookReply, WebhookTransport } from './webhook-transport.ts'

export interface GuardedTransportOptions {
  readonly allow?: EgressAllowance
  /** Certificate authorities in PEM that are trusted in place of the system's, for endpoints inside. */
  readonly ca?: string | readonly string[]
  /** The addresses of a name, in place of the system's resolver. */
  readonly resolve?: (host: string) => Promise<readonly string[]>
}

/** Addresses of one name that are tried: more than any honest name has. */
const ADDRESSES_MAX = 16

const optionsSchema: z.ZodType<GuardedTransportOptions> = z.strictObject({
  allow: egressAllowanceSchema.exactOptional(),
  ca: z.union([z.string().min(1), z.array(z.string().min(1)).max(1_000)]).exactOptional(),
  resolve: z
    .custom<NonNullable<GuardedTransportOptions['resolve']>>(
      (value) => typeof value === 'function',
      'must be a function'
    )
    .exactOptional()
})

/**
 * The transport of Node (and of what has its modules): no endpoint can make this process call what only this process
 * reaches. A name is resolved once, all its addresses are checked, and the connection is made to one of them under the
 * name for TLS and `Host`, so that a name which resolves anew to something else (DNS rebinding) gains nothing. Proxies
 * of the environment are not used. Throws `INVALID_OPTIONS`, also on a runtime without Node's modules: give
 * `fetchTransport` there.
 */
export function guardedTransport(options: GuardedTransportOptions = {}): WebhookTransport {
  const { allow, ca, resolve } = parseOptions(optionsSchema, 'guardedTransport', options)
  const guard = egressGuard(allow)
  const sockets = nodeSockets()
  const addressesOf = resolve ?? sockets.resolve

  return {
    async post(url, post, { signal }) {
      const checked = guard.url(url)
      if (checked.outcome === 'refused') return checked
      const { hostname } = checked.url
      const isLiteral = hostname.startsWith('[') || guard.address(hostname) !== 'malformed-address'
      // The guard has judged an address that stands in the URL itself.
      const addresses = isLiteral ? [] : await addressesOf(hostname)
      if (!isLiteral && addresses.length === 0) return { outcome: 'refused', because: 'unresolved' }
      // One address that is inside makes a name suspicious as a whole.
      const because = addresses.map((address) => guard.address(address)).find((refusal) => refusal !== undefined)
      if (because !== undefined) return { outcome: 'refused', because }
      signal.throwIfAborted()
      return sockets.post(checked.url, post, { addresses: addresses.slice(0, ADDRESSES_MAX), ca, signal })
    }
  }
}

interface Sockets {
  resolve(host: string): Promise<readonly string[]>
  post(
    url: URL,
    post: WebhookPost,
    options: {
      readonly addresses: readonly string[]
      readonly ca: string | readonly string[] | undefined
      readonly signal: AbortSignal
    }
  ): Promise<WebhookReply>
}

/** Node's modules are asked for at run time, so that this file loads where there are none. */
function nodeSockets(): Sockets {
  const load = globalThis.process?.getBuiltinModule as typeof process.getBuiltinModule | undefined
  const [dns, http, https] = [load?.('node:dns/promises'), load?.('node:http'), load?.('node:https')]
  if (dns === undefined || http === undefined || https === undefined) {
    const issue = { path: '', message: 'this runtime has no sockets to guard: give fetchTransport({ fetch })' }
    throw new CoreError('INVALID_OPTIONS', `guardedTransport refused its options: ${issue.message}`, {
      subject: 'guardedTransport',
      issues: [issue]
    })
  }
  return {
    async resolve(host) {
      const found = await dns.lookup(host, { all: true, order: 'verbatim' })
      return found.map(({ address }) => address)
    },
    post: (url, { headers, body }, { addresses, ca, signal }) =>
      new Promise((resolve, reject) => {
        const known = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
        const { request } = url.protocol === 'https:' ? https : http
        const sent = request(url, {
          method: 'POST',
          headers: { ...headers, 'content-length': body.length },
          // A connection of its own: a pooled one would have been made to what the name resolved to then.
          agent: false,
          lookup: (_host, { all }, done) => {
            if (all === true) done(null, known)
            else done(null, known[0]?.address ?? '', known[0]?.family)
          },
          ...(ca === undefined ? {} : { ca: ca as string | string[] }),
          signal
        })
        sent.on('error', reject)
        sent.on('response', (response) => {
          const { statusCode = 0, headers } = response
          // The head says it all; an endless body costs nothing.
          response.on('error', () => undefined).destroy()
          resolve({ outcome: 'answered', status: statusCode, retryAfter: headers['retry-after'] })
        })
        sent.end(body)
      })
  }
}
