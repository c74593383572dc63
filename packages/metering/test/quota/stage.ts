import { CoreError } from '@enablement/core'
import { type TestPlatform, testPlatform } from '@enablement/core/testing'
import {
  createQuotas,
  type Limit,
  type MeteringEvent,
  type QuotaStore,
  type Quotas,
  type QuotasOptions
} from '@enablement/metering'
import { memoryQuotaStore } from '@enablement/metering/memory'

export const HOUR_MS = 3_600_000

export const limits: readonly Limit[] = [
  { name: 'llm-tokens', quantity: 10_000, period: { everyMs: HOUR_MS } },
  { name: 'daily', quantity: 50_000, period: { everyMs: 24 * HOUR_MS } },
  { name: 'seats', quantity: 3, period: 'lifetime' },
  { name: 'parallel', quantity: 2, period: 'concurrent' }
]

/** A store that can be told to fail, to lose its answers, or to stand still, and that keeps what it was asked. */
export interface FaultyStore extends QuotaStore {
  /** `down`: fails before it does anything. `lost`: does it, and fails. `bug`: throws what is no failure of a store. */
  fault: 'none' | 'down' | 'lost' | 'bug'
  readonly calls: { readonly method: keyof QuotaStore; readonly args: readonly unknown[] }[]
  /** Makes calls wait until the function that it returns is called. */
  stall(): () => void
}

export const storeDown = () =>
  new CoreError('STORE_UNAVAILABLE', 'redis is down', { store: 'redis', operation: 'consume' })

export function faulty(store: QuotaStore): FaultyStore {
  let gate: Promise<void> = Promise.resolve()
  let stalled = false
  const calls: FaultyStore['calls'] = []
  const wrap = (method: Exclude<keyof QuotaStore, 'supports'>) =>
    (async (...args: unknown[]) => {
      calls.push({ method, args })
      if (self.fault === 'bug') throw new TypeError('a bug')
      if (self.fault === 'down') throw storeDown()
      if (stalled) await gate
      const answer = await (store[method] as (...all: unknown[]) => Promise<unknown>)(...args)
      if ((self.fault as string) === 'lost') throw storeDown()
      return answer
    }) as never
  const self: FaultyStore = {
    supports: store.supports,
    fault: 'none',
    calls,
    stall() {
      stalled = true
      let open = (): void => undefined
      gate = new Promise((resolve) => {
        open = resolve
      })
      return () => {
        stalled = false
        open()
      }
    },
    consume: wrap('consume'),
    hold: wrap('hold'),
    settle: wrap('settle'),
    extend: wrap('extend'),
    read: wrap('read'),
    endExpired: wrap('endExpired')
  }
  return self
}

export interface Stage {
  readonly quotas: Quotas
  readonly store: FaultyStore
  readonly platform: TestPlatform
  readonly events: MeteringEvent[]
  /** The events of one type. */
  told<Type extends MeteringEvent['type']>(type: Type): Extract<MeteringEvent, { readonly type: Type }>[]
}

export function stage(options: Partial<QuotasOptions> & { readonly underlying?: QuotaStore } = {}): Stage {
  const { underlying, ...rest } = options
  const platform = (options.platform as TestPlatform | undefined) ?? testPlatform()
  const store = faulty(underlying ?? memoryQuotaStore({ platform }))
  const events: MeteringEvent[] = []
  const quotas = createQuotas({
    store,
    limits,
    onStoreFailure: 'refuse',
    platform,
    observe: (event) => events.push(event),
    ...rest
  })
  return {
    quotas,
    store,
    platform,
    events,
    told: (type) => events.filter((event) => event.type === type) as never
  }
}

/** Lets promise chains settle without moving the clock. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 16; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
}
