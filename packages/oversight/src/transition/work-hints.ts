import type { Clock } from '@enablement/core'
import type { Duty } from '@enablement/core/schedule'
import type { OutgoingMessage } from '../oversight-store.ts'
import { executionDueAt, nextDueAt, type RequestRecord } from '../request/request.ts'

/** What duties of this process are run for at once, rather than when they look next. */
type Kind = 'escalation' | 'execution' | 'delivery'

/** Tells the duties of this process of work that its own commits have made. Other processes find it when they look. */
export interface WorkHints {
  /** The duty, run when there is work of its kind. */
  attachedTo(kind: Kind, duty: Duty): Duty
  /** A request was committed at `now` by the store's clock, with what is to go out because of it. */
  committed(request: RequestRecord, messages: readonly OutgoingMessage[], now: number): void
  /** How long until the next request falls due, as a duty has found: what falls due later is no news. */
  foundNext(kind: 'escalation' | 'execution', dueInMs: number | undefined): void
}

/**
 * Instants are compared on this process's monotonic clock: its wall clock may be hours away from the store's, and what falls
 * due first would seem to fall due last.
 */
export function createWorkHints(clock: Pick<Clock, 'monotonic'>): WorkHints {
  const wakes: { readonly [kind in Kind]: Set<() => void> } = {
    escalation: new Set(),
    execution: new Set(),
    delivery: new Set()
  }
  const next = { escalation: Number.POSITIVE_INFINITY, execution: Number.POSITIVE_INFINITY }

  const wake = (kind: Kind): void => {
    for (const one of wakes[kind]) one()
  }
  const fallsDue = (kind: 'escalation' | 'execution', dueAt: number | undefined, now: number): void => {
    if (dueAt === undefined) return
    const at = clock.monotonic() + dueAt - now
    if (at >= next[kind]) return
    next[kind] = at
    wake(kind)
  }

  return {
    attachedTo: (kind, duty) => ({
      ...duty,
      attach(wakeUp) {
        const detach = duty.attach?.(wakeUp)
        wakes[kind].add(wakeUp)
        return () => {
          wakes[kind].delete(wakeUp)
          detach?.()
        }
      }
    }),
    committed(request, messages, now) {
      fallsDue('escalation', nextDueAt(request), now)
      fallsDue('execution', executionDueAt(request), now)
      if (messages.length > 0) wake('delivery')
    },
    foundNext(kind, dueInMs) {
      next[kind] = dueInMs === undefined ? Number.POSITIVE_INFINITY : clock.monotonic() + dueInMs
    }
  }
}
