import { parseOptions, type Requester } from '@enablement/core'
import { z } from 'zod'
import { type Action, detailOf } from '../action/action.ts'
import { argumentHash } from '../action/argument-hash.ts'
import { identitySchema, keySchema, proseSchema } from '../directory/identity.ts'
import { OversightError } from '../oversight-error.ts'
import type { RequestRecord } from '../request/request.ts'
import type { Transitions } from '../request/transitions.ts'
import { begin } from './escalation.ts'

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
  /** One line that an approver can decide on, at most 500 characters. No secrets. */
  readonly summary: string
  /** What would be done, in the shape of the action's schema. Approvers read it: no secrets. */
  readonly detail: Input
}

/** Characters of a summary: a line, as a chat message or a pager shows it. */
const SUMMARY_LENGTH_MAX = 500

/** Control characters too: a summary goes into pagers and terminals. */
const LINE_BREAK = /[\p{Cc}\p{Zl}\p{Zp}]/u

const openSchema = z.strictObject({
  idempotencyKey: keySchema,
  tenant: identitySchema,
  requestedBy: z.strictObject({ agent: identitySchema, onBehalfOf: identitySchema.exactOptional() }),
  summary: proseSchema(SUMMARY_LENGTH_MAX).refine((value) => !LINE_BREAK.test(value), 'must be one line'),
  detail: z.unknown()
})

/** Opens a request for `action`, or finds the one that the key opened. Throws as `Oversight.open` says. */
export async function openRequest(
  action: Action,
  input: OpenRequest<unknown>,
  { transitions, nextId }: { readonly transitions: Transitions; readonly nextId: () => string }
): Promise<RequestRecord> {
  const { idempotencyKey, tenant, requestedBy, summary, detail: given } = parseOptions(openSchema, 'open', input)
  const detail = await detailOf(action, given)
  const { name, policy } = action
  const hash = argumentHash(name, detail)
  const id = nextId()
  const about = { id, tenant, idempotencyKey, action: name, argumentHash: hash, requestedBy, summary, detail, policy }
  const request = await transitions.open({ tenant, idempotencyKey }, (now) => {
    const { deadlineMs } = policy
    return begin(
      {
        ...about,
        openedAt: now,
        status: 'pending',
        tier: -1,
        tierEndsAt: undefined,
        startedLate: false,
        queued: false,
        deadlineAt: deadlineMs === undefined ? undefined : now + deadlineMs,
        settlement: undefined,
        refusedVotes: 0,
        execution: { state: 'idle', fence: 0 }
      },
      now
    )
  })
  // The name is part of the hash, so this also tells two actions apart.
  if (request.argumentHash !== hash) {
    const message = `the key of tenant ${tenant} opened request ${request.id} before, for something else`
    throw new OversightError('IDEMPOTENCY_KEY_REUSED', message, { tenant, idempotencyKey, requestId: request.id })
  }
  return request
}
