import { type JsonObject, parseOptions, type Requester } from '@enablement/core'
import { z } from 'zod'
import { type Action, detailOf, excerptOf, screened } from '../action/action.ts'
import { argumentHash, identityOf, policyVersionOf } from '../action/argument-hash.ts'
import { identitySchema, keySchema, proseSchema } from '../directory/identity.ts'
import { SYSTEM_POLICY } from '../directory/system-names.ts'
import type { Fact } from '../evidence/fact.ts'
import type { GrantFact } from '../grant/grant-fact.ts'
import type { GrantAsk, GrantRecord } from '../grant/grant-record.ts'
import { useGrant } from '../grant/grant-step.ts'
import { matchGrant } from '../grant/match-grant.ts'
import { OversightError } from '../oversight-error.ts'
import { type OnTimeout, onTimeoutSchema } from '../policy/on-timeout.ts'
import { RISKS, type Risk, theGreater } from '../policy/risk.ts'
import { type ContextStatus, contextStatusSchema } from '../request/context-status.ts'
import { type RequestRecord, UNTOUCHED } from '../request/request.ts'
import { settle } from '../request/settlement.ts'
import type { Step } from '../request/step.ts'
import type { Transitions } from '../transition/transitions.ts'
import { begin, type EscalationRules } from './escalation.ts'
import type { Seater } from './seater.ts'
import { requestersOf } from './seating.ts'

/** What is asked. */
export interface OpenRequest<Input> {
  /**
   * Opens at most one request per tenant, however often it is called. Use what identifies the wish, such as the id of
   * the tool call: a wish that is asked again after a restart then finds its request.
   */
  readonly idempotencyKey: string
  readonly tenant: string
  /** Neither of the two may decide on the request. */
  readonly requestedBy: Requester
  /** What it is a part of, such as the id of the agent's run: standing grants may be limited to it. */
  readonly task?: string
  /** One line that an approver can decide on, at most 500 characters. No secrets. */
  readonly summary: string
  /** What would be done, in the shape of the action's schema. Approvers read it: no secrets. */
  readonly detail: Input
  /** How much harm it can do; what the action says, where that is more. */
  readonly risk?: Risk
  /** How much the agent knew when it asked: an outage of its memory is no empty memory, and approvers are told. */
  readonly context?: ContextStatus
  /** What happens at the deadline; the agent's or the policy's word unless given. */
  readonly onTimeout?: OnTimeout
}

/** What opening needs. */
export interface OpeningRoom {
  readonly transitions: Transitions
  readonly seater: Seater
  readonly nextId: () => string
  readonly autoApproval: () => boolean
  readonly agentTimeout: ((requestedBy: Requester) => OnTimeout | undefined) | undefined
  readonly controlsAgents: boolean
}

/** Characters of a summary: a line, as a chat message or a pager shows it. */
const SUMMARY_LENGTH_MAX = 500

/** Control characters too: a summary goes into pagers and terminals. */
const LINE_BREAK = /[\p{Cc}\p{Zl}\p{Zp}]/u

const openSchema = z.strictObject({
  idempotencyKey: keySchema,
  tenant: identitySchema,
  requestedBy: z.strictObject({ agent: identitySchema, onBehalfOf: identitySchema.exactOptional() }),
  task: keySchema.exactOptional(),
  summary: proseSchema(SUMMARY_LENGTH_MAX).refine((value) => !LINE_BREAK.test(value), 'must be one line'),
  detail: z.unknown(),
  risk: z.enum(RISKS).exactOptional(),
  context: contextStatusSchema.exactOptional(),
  onTimeout: onTimeoutSchema.exactOptional()
})

/** Opens a request for `action`, or finds the one that the key opened. Throws as `Oversight.open` says. */
export async function openRequest(
  action: Action,
  input: OpenRequest<unknown>,
  room: OpeningRoom
): Promise<RequestRecord> {
  const parsed = parseOptions(openSchema, 'open', input)
  const { idempotencyKey, tenant } = parsed
  const detail = await detailOf(action, parsed.detail)
  const hash = argumentHash(action.name, detail)
  const { outcome, request } = await room.transitions.open({
    tenant,
    idempotencyKey,
    ...(await openingOf(action, { ...parsed, detail, hash }, room))
  })
  // The name is part of the hash, so this also tells two actions apart. An edit changes what is asked, and not the wish.
  if (outcome !== 'opened' && request.openedHash !== hash) throw keyReused(parsed, request)
  return request
}

type ParsedAsk = z.infer<typeof openSchema> & { readonly detail: JsonObject; readonly hash: string }

async function openingOf(action: Action, ask: ParsedAsk, room: OpeningRoom): Promise<OpeningPart> {
  const { tenant, idempotencyKey, requestedBy, task, summary, detail, context, hash } = ask
  const { policy, reversible = false } = action
  const risk = theGreater(action.risk ?? 'medium', ask.risk ?? 'low')
  const screening = screened(action, { tenant, requestedBy, task, risk, detail })
  const onTimeout = ask.onTimeout ?? room.agentTimeout?.(requestedBy) ?? policy.onTimeout ?? 'resume'
  requireAgentControl(onTimeout, room.controlsAgents)

  const id = room.nextId()
  const about = { tenant, idempotencyKey, action: action.name, requestedBy, task, risk, summary, detail, context }
  const policyVersion = policyVersionOf(policy)
  const excerpt = await excerptOf(action, detail)
  const identity =
    policy.identical === 'separate'
      ? undefined
      : identityOf([tenant, requestedBy.agent, requestedBy.onBehalfOf, hash, policyVersion, risk, task])
  const bound = { policy, policyVersion, reversible, onTimeout, excerpt, argumentHash: hash, openedHash: hash }
  const seated = screening.outcome === 'ask' ? await room.seater.from({ policy, tenant, requestedBy }, 0) : undefined
  const principals = seated?.principals ?? requestersOf(requestedBy)

  return {
    id,
    identity,
    grants: policy.standingGrants === 'accepted',
    open(now, grants) {
      const { deadlineMs } = policy
      const deadlineAt = deadlineMs === undefined ? undefined : now + deadlineMs
      const request: RequestRecord = {
        ...UNTOUCHED,
        version: 1,
        status: 'pending',
        ...about,
        ...bound,
        id,
        identity,
        principals,
        openedAt: now,
        deadlineAt
      }
      const opened = openedFact(request)
      if (screening.outcome === 'deny') return denied(request, opened, screening.reason, now)
      // While the directory is away it is not known who is behind the request, and so not whether they issued the grant.
      const granted = seated?.seatings(0)?.outcome === 'seated' ? grantOf(grants, request, now) : undefined
      if (granted !== undefined) return approvedBy(granted, request, opened, now)
      const rules: EscalationRules = { seatings: (tier) => seated?.seatings(tier), autoApproval: room.autoApproval() }
      const asked = begin(request, rules, now)
      return { ...asked, facts: openedAsking(opened, asked.facts) }
    }
  }
}

type OpeningPart = Pick<Parameters<Transitions['open']>[0], 'id' | 'identity' | 'grants' | 'open'>
type Used = { readonly grant: GrantRecord; readonly fact: GrantFact }
type OpeningResult = Step<unknown> & { readonly request: RequestRecord; readonly used?: Used }

type OpenedFact = Extract<Fact, { readonly type: 'request.opened' }>

function openedFact({ requestedBy, argumentHash: hash, policyVersion, risk, context }: RequestRecord): OpenedFact {
  const knew = context === undefined ? {} : { context: context.outcome }
  return { type: 'request.opened', requestedBy, argumentHash: hash, policyVersion, risk, ...knew }
}

/** That the first tier is asked is a part of the opening, where it has anyone: it is no decision of its own. */
function openedAsking(opened: OpenedFact, facts: readonly Fact[]): readonly Fact[] {
  const [first, ...rest] = facts
  if (first?.type !== 'tier.asked') return [opened, ...facts]
  const { type: _, ...asked } = first
  return [{ ...opened, asked }, ...rest]
}

/** What the action's screen denies nobody is asked about. */
function denied(request: RequestRecord, opened: Fact, reason: string, now: number): OpeningResult {
  const { argumentHash: hash, policyVersion } = request
  const by = SYSTEM_POLICY
  const fact: Fact = { type: 'request.denied', by, argumentHash: hash, policyVersion, reason }
  const settled = settle(request, { status: 'denied', by, reason, fact }, now)
  return { ...settled, answer: undefined, facts: [opened, ...settled.facts] }
}

/** What a standing grant covers was approved when that was issued. */
function approvedBy(used: Used, request: RequestRecord, opened: Fact, now: number): OpeningResult {
  const { argumentHash: hash, policyVersion } = request
  const { id, reason } = used.grant
  const by = `grant:${id}`
  const fact: Fact = { type: 'request.approved', by, argumentHash: hash, policyVersion, reason }
  const settled = settle(request, { status: 'approved', by, reason, fact }, now)
  return { ...settled, answer: undefined, facts: [opened, ...settled.facts], used }
}

/** The grant that covers what is asked, as it is after this use; undefined when none does. */
function grantOf(grants: readonly GrantRecord[], request: RequestRecord, now: number): Used | undefined {
  if (grants.length === 0) return undefined
  const { task, ...asked } = request
  const ask: GrantAsk = { ...asked, ...(task === undefined ? {} : { task }) }
  const match = matchGrant(grants, ask, now)
  if (match.outcome !== 'matched') return undefined
  const used = useGrant(match.grant, ask, { now, requestId: asked.id })
  return used.outcome === 'used' ? used : undefined
}

function requireAgentControl(onTimeout: OnTimeout, controlsAgents: boolean): void {
  const end = typeof onTimeout === 'string' ? onTimeout : onTimeout.afterwards
  if (end !== 'terminate' || controlsAgents) return
  parseOptions(
    z.custom(() => false, 'needs an agentControl, which createOversight was not given'),
    'open',
    onTimeout
  )
}

function keyReused(
  { tenant, idempotencyKey }: { readonly tenant: string; readonly idempotencyKey: string },
  request: RequestRecord
): OversightError<'IDEMPOTENCY_KEY_REUSED'> {
  const message = `the key of tenant ${tenant} opened request ${request.id} before, for something else`
  return new OversightError('IDEMPOTENCY_KEY_REUSED', message, { tenant, idempotencyKey, requestId: request.id })
}
