import type { AuditDraft } from '@enablement/core/audit'
import type { Delivery } from './request/delivery.ts'
import type { Dossier } from './request/dossier.ts'
import type { RequestRecord } from './request/request.ts'
import type { Step } from './request/step.ts'

/** The part of a step that a store commits, with the facts as evidence. */
export interface Change<Answer> extends Omit<Step<Answer>, 'facts'> {
  readonly evidence: readonly AuditDraft[]
}

/**
 * Where requests, votes, deliveries and their evidence are kept. `now` is always the store's own clock, in epoch
 * milliseconds, read when nothing else can change the request any more. A store that cannot tell whether a write
 * happened throws.
 */
export interface OversightStore {
  /**
   * Opens a request unless its tenant and idempotency key opened one before. Commits it together with its deliveries
   * and evidence. `opening` may be called again.
   */
  open(
    key: { readonly tenant: string; readonly idempotencyKey: string },
    opening: (now: number) => Change<void> & { readonly request: RequestRecord }
  ): Promise<{ readonly opened: boolean; readonly request: RequestRecord }>

  /** The request as it is committed. */
  find(requestId: string): Promise<RequestRecord | undefined>

  /**
   * Takes one request through a step: reads all that is held about it, keeps everyone else from changing it, and
   * commits what the step makes of it, evidence included, or nothing. Steps on one request happen one after the other,
   * in every process. `step` may be called again and must not do anything but decide; what it throws is thrown, and
   * nothing is committed. Throws `UNKNOWN_REQUEST`.
   */
  change<Answer>(requestId: string, step: (dossier: Dossier, now: number) => Change<Answer>): Promise<Answer>

  /**
   * Ids of requests that are due, the longest overdue first: for the escalation by their next due instant, for the
   * execution by the end of a running lease. They are candidates: the step decides again. `skip` leaves some out.
   */
  due(
    kind: 'escalation' | 'execution',
    options: { readonly limit: number; readonly skip: readonly string[] }
  ): Promise<readonly string[]>

  /**
   * Takes deliveries that are due, the longest overdue first, for `leaseMs`: no other worker gets them meanwhile, and
   * their `attempts` have grown by one. One that is not reported back by then is due again.
   */
  claimDeliveries(options: { readonly limit: number; readonly leaseMs: number }): Promise<readonly Delivery[]>
}
