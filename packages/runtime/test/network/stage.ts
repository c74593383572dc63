import {
  createPartitionGuard,
  createPartitionMonitor,
  type NetworkDispatcherOptions,
  networkDispatcher,
  type PartitionEvent,
  type PartitionGuard,
  type PartitionGuardOptions,
  tcpProbe
} from '@enablement/runtime/network'
import * as undici from 'undici'
import { type FaultProxy, faultProxy } from './fault-proxy.ts'
import { type IdempotentServer, idempotentServer } from './idempotent-server.ts'

/** A dispatcher, the guard behind it, and a real server behind a proxy that fails. */
export interface Stage extends AsyncDisposable {
  readonly server: IdempotentServer
  readonly proxy: FaultProxy
  readonly guard: PartitionGuard
  readonly dispatcher: undici.Dispatcher
  readonly events: readonly PartitionEvent[]
  /** Resolves at the next event of the type, or at once if there was one since the last call for it. */
  seen(type: PartitionEvent['type']): Promise<void>
}

export async function stage(
  options: {
    readonly guard?: Omit<PartitionGuardOptions, 'monitor' | 'observe'>
    readonly dispatcher?: Omit<NetworkDispatcherOptions<typeof undici>, 'undici'>
    readonly intervalMs?: number
  } = {}
): Promise<Stage> {
  const server = await idempotentServer()
  const proxy = await faultProxy(server.port)
  const monitor = createPartitionMonitor({
    endpoints: [{ host: '127.0.0.1', port: proxy.port }],
    probe: tcpProbe(),
    probeMs: 2_000,
    intervalMs: options.intervalMs ?? 20,
    reconnect: { jitter: 'full', baseMs: 5, maxMs: 20 }
  })
  const events: PartitionEvent[] = []
  const unseen = new Map<string, number>()
  const waiters = new Map<string, (() => void)[]>()
  const guard = createPartitionGuard({
    monitor,
    retry: { jitter: 'full', baseMs: 5, maxMs: 20 },
    replay: { perSecond: 100_000, burst: 1_000 },
    ...options.guard,
    observe(event) {
      events.push(event)
      const waiter = waiters.get(event.type)?.shift()
      if (waiter === undefined) unseen.set(event.type, (unseen.get(event.type) ?? 0) + 1)
      else waiter()
    }
  })
  const dispatcher = networkDispatcher({ undici, guard, ...options.dispatcher })
  return {
    server,
    proxy,
    guard,
    dispatcher,
    events,
    seen(type) {
      if (unseen.get(type) !== undefined) {
        unseen.delete(type)
        return Promise.resolve()
      }
      return new Promise((resolve) => {
        const list = waiters.get(type) ?? []
        waiters.set(type, list)
        list.push(resolve)
      })
    },
    async [Symbol.asyncDispose]() {
      await guard.close()
      await dispatcher.destroy()
      await monitor.close()
      await proxy.close()
      await server.close()
    }
  }
}
