import { CoreError } from '@enablement/core'
import { testPlatform } from '@enablement/core/testing'
import {
  createMeter,
  type Meter,
  type MeteringEvent,
  type MeterOptions,
  type UsageDedup,
  type UsageEvent,
  type UsageJournal,
  type UsageStore
} from '@enablement/metering'
import { memoryUsageStore } from '@enablement/metering/memory'

export const AT = Date.UTC(2026, 0, 15, 10, 30)

export const event: UsageEvent = {
  tenant: 'org',
  subscription: 'sub',
  transactionId: 'call-1',
  metric: 'tokens',
  quantity: 5,
  at: AT
}

export const identity = { tenant: 'org', subscription: 'sub', transactionId: 'call-1' }
export const down = new CoreError('STORE_UNAVAILABLE', 'the server is down', { store: 'test', operation: 'write' })

/** A meter on a virtual clock, at `AT` unless given. */
export function setUp(options: Partial<MeterOptions> = {}, now = AT) {
  const platform = testPlatform({ now })
  const events: MeteringEvent[] = []
  const store = options.store ?? memoryUsageStore()
  const meter: Meter = createMeter({ ...options, store, platform, observe: (told) => events.push(told) })
  return { meter, platform, events, store, types: () => events.map(({ type }) => type) }
}

/** A store that can be switched off. */
export function switchable(store: UsageStore = memoryUsageStore()) {
  const power = { on: true, error: down as Error, calls: 0 }
  const through: UsageStore = {
    ...store,
    record(entries, options) {
      power.calls += 1
      return power.on ? store.record(entries, options) : Promise.reject(power.error)
    }
  }
  return { power, store: through }
}

/** Set-if-absent in this process, which can be switched off. */
export function dedupInMemory() {
  const known = new Map<string, { payloadHash: string; receivedAt: number; settled: boolean }>()
  const power = { on: true, settles: true, releases: true }
  const keyOf = (claim: { tenant: string; subscription: string; transactionId: string }): string =>
    JSON.stringify([claim.tenant, claim.subscription, claim.transactionId])
  const dedup: UsageDedup = {
    async claim(claims) {
      if (!power.on) throw down
      return claims.map((claim) => {
        const first = known.get(keyOf(claim))
        if (first === undefined) {
          known.set(keyOf(claim), { ...claim, settled: false })
          return { outcome: 'new' }
        }
        const { receivedAt: firstReceivedAt, settled } = first
        if (first.payloadHash !== claim.payloadHash) return { outcome: 'conflict', firstReceivedAt, settled }
        return { outcome: settled ? 'duplicate' : 'pending', firstReceivedAt }
      })
    },
    async settle(claims) {
      if (!power.on || !power.settles) throw down
      for (const claim of claims) known.set(keyOf(claim), { ...claim, settled: true })
    },
    async release(claims) {
      if (!power.on || !power.releases) throw down
      for (const claim of claims) if (known.get(keyOf(claim))?.settled === false) known.delete(keyOf(claim))
    }
  }
  return { dedup, known, power }
}

/** A journal in memory: what it has said is durable. `recordsMax` is its disk. */
export function journalInMemory(recordsMax = 1_000) {
  const records: { sequence: bigint; type: number; payload: Uint8Array }[] = []
  let last = 0n
  const journal: UsageJournal = {
    async append(payload, { type = 0 } = {}) {
      if (records.length >= recordsMax) {
        throw new CoreError('OVERLOADED', 'the folder is full', {
          what: 'folder',
          waiting: recordsMax,
          limit: recordsMax
        })
      }
      last += 1n
      records.push({ sequence: last, type, payload: payload.slice() })
      return last
    },
    async *replay({ after = 0n } = {}) {
      yield* records.filter(({ sequence }) => sequence > after)
    },
    async trim({ through }) {
      records.splice(0, records.filter(({ sequence }) => sequence <= through).length)
    }
  }
  return { journal, records }
}

/** Runs the meter's duties once. */
export async function work(meter: Meter): Promise<number> {
  const runs = await Promise.all(meter.duties.map((duty) => duty.run({ signal: new AbortController().signal })))
  return runs.reduce((sum, { handled }) => sum + handled, 0)
}
