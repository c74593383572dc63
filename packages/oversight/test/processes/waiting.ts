import { type Action, createOversight, defineAction, type Oversight, type OversightStore } from '@enablement/oversight'
import type { Witness } from './witness.ts'

/** The tiers of both actions: nobody can reach the people of the first two. */
export const TIERS = ['nobody-1', 'nobody-2', 'third'] as const

/** Chains of three tiers that end in a denial, and with those who run the place. */
export interface Chains {
  readonly oversight: Oversight
  readonly denied: Action
  readonly alerted: Action
}

/** A process's own way to the store, whose channel and pager tell the witness. */
export function chainsOn(store: OversightStore, waitMs: number, witness: Witness): Chains {
  const tiers = TIERS.map((approver) => ({ approvers: [approver], channels: ['pager'], waitMs }))
  const detail = { '~standard': { version: 1, vendor: 'by-hand', validate: (value: unknown) => ({ value }) } } as const
  const denied = defineAction({ name: 'chain.denied', detail, policy: { tiers, onExhausted: 'deny' } })
  const alerted = defineAction({ name: 'chain.alerted', detail, policy: { tiers, onExhausted: 'alert-ops' } })
  const oversight = createOversight({
    store,
    actions: [denied, alerted],
    channels: {
      pager: {
        async deliver({ requestId, approver }) {
          witness.tell('invited', requestId, approver.id)
          return approver.id === 'third'
            ? { outcome: 'delivered' }
            : { outcome: 'unreachable', reason: 'no such pager' }
        }
      }
    },
    alertOps: async ({ requestId, reason }) => witness.tell('alert', requestId, reason)
  })
  return { oversight, denied, alerted }
}
