import type { Duty } from '@enablement/core/schedule'
import type { QuotaEvent } from './quota-event.ts'
import type { QuotaStore } from './quota-store.ts'

/** Holds that one run ends: a store is busy with them for some milliseconds. */
const ENDED_AT_ONCE = 256

/** Ends holds whose time is over and that nobody asks for, so that what they held shows as free. */
export function expiredHoldsDuty(store: QuotaStore, report: ((event: QuotaEvent) => void) | undefined): Duty {
  return {
    name: 'metering.expired-holds',
    async run({ signal }) {
      const ended = await store.endExpired(ENDED_AT_ONCE, { signal })
      for (const { tenant, scope, key } of ended) report?.({ type: 'quota.hold-expired', tenant, scope, key })
      return { handled: ended.length }
    }
  }
}
