import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A server that does a thing once however often it is asked under one key, and writes down what it did. */
export interface IdempotentServer {
  readonly port: number
  /** Every effect, in order: the idempotency key, or the method and path of a request without one. */
  readonly effects: readonly string[]
  /** Every request that arrived whole, repetitions included, in the same form. */
  readonly arrivals: readonly string[]
  /** The body of the last request under a key or path. */
  readonly bodies: ReadonlyMap<string, string>
  close(): Promise<void>
}

export async function idempotentServer(): Promise<IdempotentServer> {
  const effects: string[] = []
  const arrivals: string[] = []
  const bodies = new Map<string, string>()
  const done = new Set<string>()
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const key = request.headers['idempotency-key']
      const name = typeof key === 'string' ? key : `${request.method} ${request.url}`
      arrivals.push(name)
      bodies.set(name, Buffer.concat(chunks).toString())
      const repeatable = typeof key === 'string' || request.method === 'PUT'
      if (request.method !== 'GET' && !(repeatable && done.has(name))) effects.push(name)
      done.add(name)
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ name }))
    })
    request.on('error', () => undefined)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    effects,
    arrivals,
    bodies,
    async close() {
      server.closeAllConnections()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    }
  }
}
