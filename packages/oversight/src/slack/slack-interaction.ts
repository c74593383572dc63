import { z } from 'zod'
import { APPROVE, type ButtonValue, buttonValueSchema, DENY, decodeButton, jsonIn, REVIEW } from './slack-button.ts'
import { BALLOT, DECISION, REASON } from './slack-form.ts'

/** Who did something, as Slack names them. */
export interface SlackUser {
  /** Of the workspace that the person belongs to, which with Slack Connect is not the one where the app is. */
  readonly teamId: string
  readonly userId: string
}

interface Interaction {
  /** The workspace, or the organisation, in which the app is installed. */
  readonly workspace: string
  readonly user: SlackUser
  /** The same for a request that is received again, and for no other. */
  readonly key: string
  readonly value: ButtonValue
  readonly responseUrl: string | undefined
}

/** Somebody used a button of ours. */
export interface Click extends Interaction {
  readonly kind: 'click'
  readonly button: 'approve' | 'deny' | 'review'
  /** For a form, within 3 s. */
  readonly triggerId: string | undefined
  /** Of this one click. */
  readonly idempotencyKey: string
}

/** Somebody sent a form of ours. */
export interface Submission extends Interaction {
  readonly kind: 'submission'
  readonly decision: 'approve' | 'deny' | undefined
  readonly reason: string
  /** Whether the form belongs to a message of its own, rather than to a digest. */
  readonly single: boolean
  readonly idempotencyKey: string
}

const idSchema = z.string().regex(/^[A-Z0-9]{1,64}$/)
const short = z.string().min(1).max(255)
const idHolder = z.object({ id: idSchema }).nullish()

const senderSchema = {
  team: idHolder,
  enterprise: idHolder,
  user: z.object({ id: idSchema, team_id: idSchema.nullish() }),
  trigger_id: z.string().min(1).max(512).nullish()
}

const clickSchema = z.object({
  ...senderSchema,
  response_url: z.string().max(2_048).nullish(),
  actions: z
    .array(
      z.object({
        action_id: short,
        block_id: short,
        action_ts: z.string().regex(/^\d{1,16}\.\d{1,10}$/),
        value: z.string().max(2_000).nullish()
      })
    )
    .min(1)
    .max(25)
})

const submissionSchema = z.object({
  ...senderSchema,
  view: z.object({
    id: idSchema,
    callback_id: z.string().max(255),
    private_metadata: z.string().max(3_000),
    state: z.object({
      values: z.record(
        z.string(),
        z.record(
          z.string(),
          z.object({ value: z.string().max(3_000).nullish(), selected_option: z.object({ value: short }).nullish() })
        )
      )
    })
  })
})

/** What a form takes along. */
const metadataSchema = z.strictObject({
  value: buttonValueSchema,
  single: z.boolean(),
  url: z.string().max(2_048).optional()
})

const buttons: Readonly<Record<string, Click['button']>> = { [APPROVE]: 'approve', [DENY]: 'deny', [REVIEW]: 'review' }

/** What a payload asks for; `foreign` is somebody else's business, and `malformed` nobody's. */
export function readInteraction(text: string): Click | Submission | 'foreign' | 'malformed' {
  const payload = jsonIn(text)
  const { type } = (payload ?? {}) as { readonly type?: unknown }
  if (typeof type !== 'string') return 'malformed'
  if (type === 'block_actions') return readClick(payload)
  return type === 'view_submission' ? readSubmission(payload) : 'foreign'
}

function readClick(payload: unknown): Click | 'foreign' | 'malformed' {
  const parsed = clickSchema.safeParse(payload)
  if (!parsed.success) return 'malformed'
  const { actions, trigger_id, response_url } = parsed.data
  const [action] = actions
  const button = action === undefined ? undefined : buttons[action.action_id]
  if (action === undefined || button === undefined) return 'foreign'
  const value = decodeButton(action.value ?? '')
  const sender = senderOf(parsed.data)
  if (value === undefined || sender === undefined || action.block_id !== value.requestId) return 'malformed'
  // What a vote is for must be said; a form says it itself.
  if ((button === 'review') !== (value.argumentHash === undefined)) return 'malformed'
  const { user } = sender
  return {
    kind: 'click',
    ...sender,
    button,
    value,
    key: JSON.stringify(['click', user.teamId, user.userId, trigger_id ?? action.action_ts]),
    triggerId: trigger_id ?? undefined,
    responseUrl: response_url ?? undefined,
    idempotencyKey: `slack:${user.teamId}:${user.userId}:${action.action_ts}`
  }
}

function readSubmission(payload: unknown): Submission | 'foreign' | 'malformed' {
  const parsed = submissionSchema.safeParse(payload)
  if (!parsed.success) return 'malformed'
  const { view } = parsed.data
  if (view.callback_id !== BALLOT) return 'foreign'
  const metadata = metadataSchema.safeParse(jsonIn(view.private_metadata))
  const sender = senderOf(parsed.data)
  if (!metadata.success || sender === undefined || metadata.data.value.argumentHash === undefined) return 'malformed'
  const { value, single, url } = metadata.data
  const { user } = sender
  const { values } = view.state
  const trigger = parsed.data.trigger_id ?? JSON.stringify(values)
  const chosen = values[DECISION]?.[DECISION]?.selected_option?.value
  const decision = single ? 'deny' : chosen === 'approve' || chosen === 'deny' ? chosen : undefined
  return {
    kind: 'submission',
    ...sender,
    value,
    key: JSON.stringify(['form', user.teamId, user.userId, view.id, trigger]),
    decision,
    reason: values[REASON]?.[REASON]?.value ?? '',
    single,
    responseUrl: url,
    idempotencyKey: `slack:${user.teamId}:${user.userId}:${view.id}`
  }
}

function senderOf(payload: {
  readonly team?: { readonly id: string } | null | undefined
  readonly enterprise?: { readonly id: string } | null | undefined
  readonly user: { readonly id: string; readonly team_id?: string | null | undefined }
}): Pick<Interaction, 'workspace' | 'user'> | undefined {
  const workspace = payload.team?.id ?? payload.enterprise?.id
  const teamId = payload.user.team_id ?? workspace
  if (workspace === undefined || teamId === undefined) return undefined
  return { workspace, user: { teamId, userId: payload.user.id } }
}
