import type { Duty } from '@enablement/core/schedule'
import { isPassing } from '../metering-error.ts'
import type { CreditStore } from './credit-store.ts'
import { settleDue } from './due-step.ts'

/** Wallets that one run looks after: each is a unit of its own, of some 20 ms at most. */
const WALLETS_PER_RUN = 64

/**
 * Books what is due in wallets that nobody calls, a unit of a wallet at a time. One that cannot be booked, such as by a
 * calendar in a zone that is no more, keeps none of the others waiting: the run throws its fault in the end.
 */
export function expiryDuty(store: CreditStore): Duty {
  return {
    name: 'metering.credits',
    run: async ({ signal }) => {
      let handled = 0
      const faults: unknown[] = []
      for (const name of await store.dueWallets(WALLETS_PER_RUN, { signal })) {
        if (signal.aborted) break
        try {
          handled += (await store.transact(name, settleDue, {})).handled
        } catch (error) {
          if (isPassing(error)) throw error
          faults.push(error)
        }
      }
      if (faults.length > 0) throw faults[0]
      return { handled }
    }
  }
}
