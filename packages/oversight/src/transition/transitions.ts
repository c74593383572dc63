import type { Channel } from '../channel/channel.ts'
import { evidenceOf, type Fact } from '../evidence/fact.ts'
import { identify } from '../evidence/identify.ts'
import { type GrantFact, grantEvidence } from '../grant/grant-fact.ts'
import type { GrantRecord } from '../grant/grant-record.ts'
import type { OversightEvent } from '../oversight-event.ts'
import type { Change, DueResult, Opened, Opening, OutgoingMessage, OversightStore } from '../oversight-store.ts'
import { type AddressedMessage, AGENT_CONTROL, ALERTS } from '../request/message.ts'
import type { RequestRecord } from '../request/request.ts'
import type { Step } from '../request/step.ts'
import type { WakeUps } from './wake-ups.ts'
import type { WorkHints } from './work-hints.ts'

/** What is to be opened. */
interface OpeningStep extends Pick<Opening, 'id' | 'tenant' | 'idempotencyKey' | 'identity' | 'grants'> {
  open(
    now: number,
    grants: readonly GrantRecord[]
  ): Step<unknown> & {
    readonly request: RequestRecord
    /** A grant that approved it, as it is after this use. */
    readonly used?: { readonly grant: GrantRecord; readonly fact: GrantFact }
  }
}

/** Takes requests through steps: commits them with their evidence, then tells observers and those who wait. */
export interface Transitions {
  open(opening: OpeningStep): Promise<Opened>
  /** Throws `UNKNOWN_REQUEST`, what `step` throws, and what the store throws. */
  apply<Answer>(requestId: string, step: (request: RequestRecord, now: number) => Step<Answer>): Promise<Answer>
  /** Takes those that are due through a step. Those that fail are told of, and named in the answer. */
  applyDue<Answer>(
    kind: 'escalation' | 'execution',
    options: { readonly limit: number; readonly skip: readonly string[] },
    step: (request: RequestRecord, now: number) => Step<Answer>
  ): Promise<readonly DueResult<Answer>[]>
  /** A step as what a store commits, for those who commit it themselves. `announce` is for after the commit. */
  changeOf(request: RequestRecord, step: Step<unknown>): Change<unknown>
  /** `now`: of the step, by the store's clock. */
  announce(request: RequestRecord, facts: readonly Fact[], messages: readonly OutgoingMessage[], now: number): void
}

export function createTransitions(options: {
  readonly store: OversightStore
  readonly wakeUps: WakeUps
  readonly hints: WorkHints
  readonly channels: { readonly [name: string]: Channel }
  /** Whether there is an `AgentControl` that wants to hear of verdicts. */
  readonly controlsAgents: boolean
  /** Whether there is somebody to tell about the place. */
  readonly alertsOps: boolean
  readonly emit: (event: OversightEvent) => void
}): Transitions {
  const { store, wakeUps, hints, channels, controlsAgents, alertsOps, emit } = options

  const announce: Transitions['announce'] = (request, facts, messages, now) => {
    hints.committed(request, messages, now)
    const { id: requestId, tenant, action } = request
    for (const fact of facts) emit({ ...fact, requestId, tenant, action })
    if (facts.length > 0 && request.status !== 'pending') wakeUps.hint(requestId)
  }

  /** What a channel cannot do is not put into the outbox; one that another process knows is that process's business. */
  const isWanted = ({ message, destination }: AddressedMessage): boolean => {
    if (destination === AGENT_CONTROL) return controlsAgents
    if (destination === ALERTS) return alertsOps
    const channel = channels[destination]
    if (channel === undefined || (message.kind !== 'verdict' && message.kind !== 'superseded')) return true
    return channel.update !== undefined
  }

  const outgoing = (tenant: string, { message, destination, approver }: AddressedMessage): OutgoingMessage => {
    const inLine = approver !== undefined && channels[destination]?.digest !== undefined
    const line = inLine ? { line: identify(tenant, destination, approver) } : {}
    return { payload: JSON.stringify(message), destination, ...line }
  }

  const changeOf = (request: RequestRecord, step: Step<unknown>): Change<unknown> => {
    const { facts, messages = [] } = step
    return {
      answer: undefined,
      ...(step.request === undefined ? {} : { request: step.request }),
      messages: messages.filter(isWanted).map((message) => outgoing(request.tenant, message)),
      evidence: facts.map((fact) => evidenceOf(request, fact))
    }
  }

  const taken = <Answer>(step: (request: RequestRecord, now: number) => Step<Answer>) => {
    return (request: RequestRecord, now: number) => {
      const made = step(request, now)
      const after = made.request ?? request
      const change = changeOf(after, made)
      const { facts } = made
      return { ...change, answer: { answer: made.answer, request: after, facts, messages: change.messages ?? [], now } }
    }
  }

  return {
    async open({ open, ...about }) {
      let facts: readonly Fact[] = []
      let messages: readonly OutgoingMessage[] = []
      let used: GrantFact | undefined
      let coalesced: readonly Fact[] = []
      let openedAt = 0
      const opened = await store.open({
        ...about,
        open(now, grants) {
          const step = open(now, grants)
          openedAt = now
          // A store that runs this again commits what the last run made.
          facts = step.facts
          used = step.used?.fact
          const { request } = step
          const change = { ...changeOf(request, step), request }
          messages = change.messages ?? []
          if (step.used === undefined) return change
          const evidence = [...(change.evidence ?? []), grantEvidence(request.tenant, step.used.fact)]
          return { ...change, evidence, grant: step.used.grant }
        },
        coalesce(request) {
          coalesced = [{ type: 'request.coalesced', idempotencyKey: about.idempotencyKey }]
          return coalesced.map((fact) => evidenceOf(request, fact))
        }
      })
      if (opened.outcome === 'opened') {
        announce(opened.request, facts, messages, openedAt)
        if (used !== undefined) emit({ ...used, tenant: opened.request.tenant })
      }
      if (opened.outcome === 'coalesced') announce(opened.request, coalesced, [], openedAt)
      return opened
    },
    async apply(requestId, step) {
      const { answer, request, facts, messages, now } = await store.change(requestId, taken(step))
      announce(request, facts, messages, now)
      return answer
    },
    async applyDue(kind, limits, step) {
      const done = await store.changeDue(kind, limits, taken(step))
      return done.map((one) => {
        if (one.outcome === 'failed') {
          emit({ type: 'duty.failed', duty: `oversight.${kind}`, requestId: one.requestId, error: one.error })
          return one
        }
        const { answer, request, facts, messages, now } = one.answer
        announce(request, facts, messages, now)
        return { outcome: 'changed', requestId: one.requestId, answer }
      })
    },
    changeOf,
    announce
  }
}
