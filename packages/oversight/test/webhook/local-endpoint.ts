import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { certificate, privateKey } from './certificate.ts'

interface Received {
  readonly headers: IncomingHttpHeaders
  readonly body: string
  readonly path: string
}

/** A real endpoint on the loopback that answers as its script says, and remembers what it got. */
export interface LocalEndpoint extends AsyncDisposable {
  readonly port: number
  readonly url: string
  readonly received: readonly Received[]
  /** How many requests are being answered, and were at most at a time. */
  readonly busy: { now: number; most: number }
  /** What it does from now on. */
  answer(script: Script): void
  /** Resolves when it has got this many requests in all. */
  got(count: number): Promise<void>
}

export type Script = (response: ServerResponse, request: Received) => void

export const status =
  (code: number, headers: Readonly<Record<string, string>> = {}): Script =>
  (response) => {
    response.writeHead(code, headers).end('whatever')
  }

/** Takes the request and says nothing. */
export const hang: Script = () => {}

export async function localEndpoint(options: { readonly tls?: boolean } = {}): Promise<LocalEndpoint> {
  const received: Received[] = []
  const busy = { now: 0, most: 0 }
  const waiting: { readonly count: number; readonly resolve: () => void }[] = []
  let script: Script = status(200)
  const server = options.tls === true ? createTlsServer({ cert: certificate, key: privateKey }) : createServer()
  server.on('request', (request, response) => {
    busy.now += 1
    busy.most = Math.max(busy.most, busy.now)
    response.on('close', () => {
      busy.now -= 1
    })
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const one = { headers: request.headers, body: Buffer.concat(chunks).toString(), path: request.url ?? '' }
      received.push(one)
      for (const { count, resolve } of waiting) if (received.length >= count) resolve()
      script(response, one)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `http://127.0.0.1:${port}/hook`,
    received,
    busy,
    answer: (next) => {
      script = next
    },
    got: (count) =>
      received.length >= count ? Promise.resolve() : new Promise((resolve) => waiting.push({ count, resolve })),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }
}
