import type { SettledRequest } from '@enablement/oversight'

/** A request that ana approved after a second, unless said otherwise. */
export function row(changes: Partial<SettledRequest> = {}): SettledRequest {
  return {
    action: 'payments.refund',
    risk: 'medium',
    status: 'approved',
    decidedBy: 'person',
    openedAt: 1_000,
    settledAt: 2_000,
    tier: 0,
    asked: [{ approver: 'ana', askedAt: 1_000 }],
    votes: [{ approver: 'ana', decision: 'approve', votedAt: 2_000 }],
    ...changes
  }
}

/** One that took so long. */
export const taking = (durationMs: number, changes: Partial<SettledRequest> = {}): SettledRequest =>
  row({ openedAt: 0, settledAt: durationMs, asked: [], votes: [], ...changes })
