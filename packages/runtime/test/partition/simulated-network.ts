import { type TestPlatform, testPlatform } from '@enablement/core/testing'
import {
  type Attempt,
  type AttemptEnd,
  createPartitionGuard,
  createPartitionMonitor,
  type OutboundRequest,
  type PartitionEvent,
  type PartitionGuard,
  type PartitionGuardOptions,
  type PartitionMonitor
} from '@enablement/runtime/network'

/** What happens to one attempt. `early`: lost before it reached the server; `late`: the reply was. */
export type Fate = 'reply' | 'unsent' | 'early' | 'late' | 'failed' | 'silent'

/** A request whose attempts the test sees. */
type Probe = OutboundRequest<string> & { readonly name: string }

/** A network that is up or down, a server behind it, and a guard before it, on a virtual clock. */
export interface SimulatedNetwork {
  readonly platform: TestPlatform
  readonly monitor: PartitionMonitor
  readonly guard: PartitionGuard
  readonly events: readonly PartitionEvent[]
  /** What reached the server, by name, in order, repetitions included. */
  readonly arrivals: readonly string[]
  /** What attempts carried. */
  readonly keys: readonly (string | undefined)[]
  /** Whether probes get through. */
  up: boolean
  /** Of attempts while the network is up; a reply unless the test says otherwise. */
  fate: (name: string, attempt: number) => Fate
  request(name: string, options?: Partial<Omit<Probe, 'send'>> & { readonly idempotencyKey?: string }): Probe
  /** Lets a partition begin and be found. */
  partition(): Promise<void>
  /** Lets it end. */
  recover(): Promise<void>
  close(): Promise<void>
}

export function simulatedNetwork(
  options: Omit<PartitionGuardOptions, 'monitor' | 'platform' | 'observe'> = {},
  seed = 1
): SimulatedNetwork {
  const platform = testPlatform({ seed })
  const { clock } = platform
  const arrivals: string[] = []
  const keys: (string | undefined)[] = []
  const events: PartitionEvent[] = []
  const network = { up: true, fate: (): Fate => 'reply' } as Pick<SimulatedNetwork, 'up' | 'fate'>
  const monitor = createPartitionMonitor({
    endpoints: [
      { host: 'a.test', port: 443 },
      { host: 'b.test', port: 443 }
    ],
    probe: () => (network.up ? Promise.resolve() : Promise.reject(new Error('unreachable'))),
    platform
  })
  const guard = createPartitionGuard({ monitor, platform, observe: (event) => void events.push(event), ...options })

  const send = (name: string, { attempt, signal, idempotencyKey }: Attempt): Promise<AttemptEnd<string>> => {
    const fate = network.up ? network.fate(name, attempt) : network.fate(name, attempt) === 'late' ? 'late' : 'unsent'
    keys.push(idempotencyKey)
    if (fate === 'reply' || fate === 'late' || fate === 'silent') arrivals.push(name)
    if (fate === 'reply') return Promise.resolve({ outcome: 'replied', reply: name })
    if (fate === 'failed') return Promise.resolve({ outcome: 'failed', error: new Error('bad certificate') })
    if (fate === 'silent') {
      return new Promise((resolve) =>
        signal.addEventListener('abort', () => resolve({ outcome: 'lost', error: signal.reason }), { once: true })
      )
    }
    const outcome = fate === 'unsent' ? 'unsent' : 'lost'
    return Promise.resolve({ outcome, error: new Error(fate) })
  }

  return {
    platform,
    monitor,
    guard,
    events,
    arrivals,
    keys,
    get up() {
      return network.up
    },
    set up(up) {
      network.up = up
    },
    get fate() {
      return network.fate
    },
    set fate(fate) {
      network.fate = fate
    },
    request: (name, given = {}) =>
      ({ policy: 'idempotent', lane: 'x', ...given, name, send: (attempt: Attempt) => send(name, attempt) }) as Probe,
    async partition() {
      network.up = false
      while (monitor.state !== 'partitioned') await clock.advance(1_000)
    },
    async recover() {
      network.up = true
      while (monitor.state !== 'connected') await clock.advance(1_000)
    },
    async close() {
      await guard.close()
      await monitor.close()
    }
  }
}
