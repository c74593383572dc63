import type { OversightEvent } from '../evidence/event.ts'
import { evidenceOf, type Fact } from '../evidence/fact.ts'
import type { Change, OversightStore } from '../oversight-store.ts'
import type { Dossier } from './dossier.ts'
import type { RequestRecord } from './request.ts'
import type { Step } from './step.ts'
import type { WakeUps } from './wake-ups.ts'

/** Takes requests through steps: commits them with their evidence, then tells observers and those who wait. */
export interface Transitions {
  open(
    key: { readonly tenant: string; readonly idempotencyKey: string },
    opening: (now: number) => Step<unknown> & { readonly request: RequestRecord }
  ): Promise<RequestRecord>
  /** Throws `UNKNOWN_REQUEST`, what `step` throws, and what the store throws. */
  apply<Answer>(requestId: string, step: (dossier: Dossier, now: number) => Step<Answer>): Promise<Answer>
}

export function createTransitions(options: {
  readonly store: OversightStore
  readonly wakeUps: WakeUps
  readonly emit: (event: OversightEvent) => void
}): Transitions {
  const { store, wakeUps, emit } = options

  const announce = (request: RequestRecord, facts: readonly Fact[]): void => {
    const { id: requestId, tenant, action } = request
    for (const fact of facts) emit({ ...fact, requestId, tenant, action })
    if (facts.length > 0 && request.status !== 'pending') wakeUps.hint(requestId)
  }

  return {
    async open(key, opening) {
      let facts: readonly Fact[] = []
      const { opened, request } = await store.open(key, (now) => {
        const step = opening(now)
        // A store that runs this again commits what the last run made.
        facts = step.facts
        return { ...changeOf(step.request, step), request: step.request, answer: undefined }
      })
      if (opened) announce(request, facts)
      return request
    },
    async apply(requestId, step) {
      const { answer, request, facts } = await store.change(requestId, (dossier, now) => {
        const taken = step(dossier, now)
        const request = taken.request ?? dossier.request
        return { ...changeOf(request, taken), answer: { answer: taken.answer, request, facts: taken.facts } }
      })
      announce(request, facts)
      return answer
    }
  }
}

function changeOf(request: RequestRecord, step: Step<unknown>): Omit<Change<unknown>, 'answer'> {
  const { facts, answer: _, ...change } = step
  return { ...change, evidence: facts.map((fact) => evidenceOf(request, fact)) }
}
