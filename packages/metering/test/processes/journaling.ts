import type { UsageEvent } from '@enablement/metering'

/** What a process that journals is started with. */
export interface JournalingChildCall {
  readonly file: string
  /** Its own journal's. */
  readonly folder: string
  readonly log: string
  readonly name: string
  readonly events: number
  readonly seed: number
}

/** Whether a process sends an event: a third are sent by both, the others by one alone, which only its journal may have. */
export const isSentBy = (name: string, id: number): boolean => id % 3 === 0 || (id % 3 === 1) === (name === 'one')

export const USED_AT = Date.UTC(2026, 0, 15)

/** An event, the same whoever sends it. */
export const usedOnce = (id: number): UsageEvent => ({
  tenant: 'org',
  subscription: 'sub',
  transactionId: `t${id}`,
  metric: 'tokens',
  quantity: 1 + id,
  at: USED_AT + id * 60_000
})
