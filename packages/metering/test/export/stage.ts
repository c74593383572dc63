import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { type TestPlatform, testPlatform, withStoreClock } from '@enablement/core/testing'
import type { ExportEvent, UsageExport } from '@enablement/metering'
import { meteringSchema, sqlUsageFeed, sqlUsageStore } from '@enablement/metering/sql'

export const NOW = Date.UTC(2040, 0, 15, 10)
export const DAY = 86_400_000

/** What a server does with one call instead of answering it as documented. */
type Mishap =
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }
  /** Does what it is asked, and breaks the connection instead of saying so. */
  | 'lost'
  /** Breaks the connection at once. */
  | 'cut'

/** What a server answers. */
export interface Answer {
  readonly status: number
  readonly body?: unknown
}

/** A local server over HTTP; `answer` speaks the protocol of whom it stands for. */
export async function localServer(answer: (request: IncomingMessage, body: string) => Answer) {
  const mishaps: Mishap[] = []
  const calls: string[] = []
  let most = 0
  let open = 0
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    open += 1
    most = Math.max(most, open)
    response.once('close', () => {
      open -= 1
    })
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString()
      calls.push(`${request.method} ${request.url}`)
      const mishap = mishaps.shift()
      if (mishap === 'cut') return request.socket.destroy()
      if (typeof mishap === 'object') {
        response.writeHead(mishap.status, mishap.headers)
        return response.end(mishap.body ?? '')
      }
      const { status, body: answered } = answer(request, body)
      if (mishap === 'lost') return request.socket.destroy()
      response.writeHead(status, { 'content-type': 'application/json' })
      return response.end(answered === undefined ? undefined : JSON.stringify(answered))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    mishaps,
    calls,
    most: () => most,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }
}

/** A ledger and its feed, on one virtual clock. */
export async function ledger(given: { db?: SqlDatabase; platform?: TestPlatform } = {}) {
  const platform = given.platform ?? testPlatform({ now: NOW })
  const disk = given.db ?? sqliteDatabase({ path: ':memory:', platform })
  const db = withStoreClock(disk, platform.clock)
  if (given.db === undefined) await migrate(db, [meteringSchema])
  const store = sqlUsageStore(db)
  const events: ExportEvent[] = []
  let calling = 0
  /** Counts calls under way, so that a test moves the clock only while nobody waits for the network. */
  const fetch = async (url: string, init: RequestInit): Promise<Response> => {
    calling += 1
    try {
      const response = await globalThis.fetch(url, init)
      return new Response(await response.arrayBuffer().then((bytes) => (bytes.byteLength === 0 ? null : bytes)), {
        status: response.status,
        headers: response.headers
      })
    } finally {
      calling -= 1
    }
  }
  const use = (
    transactionId: string,
    more: { at?: number; subscription?: string; quantity?: number; metric?: string } = {}
  ) =>
    store.record([
      {
        tenant: 'org',
        subscription: more.subscription ?? 'sub',
        transactionId,
        metric: more.metric ?? 'calls',
        quantity: more.quantity ?? 1,
        at: more.at ?? platform.clock.now(),
        propertiesJson: '{"secret":"do-not-tell"}',
        payloadHash: 'h',
        receivedAt: platform.clock.now(),
        lateness: 'on-time',
        rollup: { rollup: 'sum' }
      }
    ])
  /** Waits for work, and moves the clock where it sleeps. */
  const settled = async <T>(work: Promise<T>): Promise<T> => {
    let isOver = false
    const end = (): void => {
      isOver = true
    }
    work.then(end, end)
    for (let idle = 0; !isOver; ) {
      await new Promise((resolve) => setImmediate(resolve))
      idle = calling === 0 ? idle + 1 : 0
      if (idle > 50 && platform.clock.pendingTimers > 0) {
        await platform.clock.advance(500)
        idle = 0
      }
    }
    return work
  }
  const runOnce = (exported: UsageExport) =>
    settled(exported.duties[0]?.run({ signal: new AbortController().signal }) as Promise<{ handled: number }>)
  /** Until nothing is due. */
  const run = async (exported: UsageExport): Promise<void> => {
    while ((await runOnce(exported)).handled > 0);
  }
  const later = (ms: number): Promise<void> => platform.clock.advance(ms)
  return {
    platform,
    disk,
    db,
    store,
    feed: sqlUsageFeed(db),
    events,
    observe: (event: ExportEvent) => events.push(event),
    fetch,
    use,
    settled,
    run,
    runOnce,
    later,
    [Symbol.asyncDispose]: () => disk.close()
  }
}

/** A ledger, the server that its events are sent to, and what sends them. */
export function exporting<Server extends AsyncDisposable, Export, More>(
  on: Awaited<ReturnType<typeof ledger>>,
  server: Server,
  make: (more?: More) => Export
) {
  return {
    ...on,
    server,
    make,
    exported: make(),
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]()
      await on[Symbol.asyncDispose]()
    }
  }
}

/** What an export has set aside, and why. */
export const reasons = async (exported: Pick<UsageExport, 'setAside'>) =>
  (await exported.setAside()).map(({ transactionId, reason }) => [transactionId, reason])
