import { canonicalJson, isSuiteError, type JsonObject, parseOptions, type Requester } from '@enablement/core'
import { z } from 'zod'
import { OversightError } from '../oversight-error.ts'
import { type ApprovalPolicy, policySchema } from '../policy/policy.ts'
import { RISKS, type Risk } from '../policy/risk.ts'
import type { ReconcileCall, Reconciled } from './reconciliation.ts'
import { isStandardSchema, pathOf, type StandardSchema } from './standard-schema.ts'

/** Something an agent may only do when a human says yes: its name, the shape of its detail, and who is asked. */
export interface Action<Detail = unknown, Input = Detail> {
  /** Dotted, such as `payments.refund`. */
  readonly name: string
  /** What the detail must be. Its output is what is stored, shown, hashed and handed to the effect. */
  readonly detail: StandardSchema<Input, Detail>
  readonly policy: ApprovalPolicy
  /** How much harm it can do; a request may state more, never less. `medium` unless given. */
  readonly risk?: Risk
  /** Whether it can be undone. Not unless given. */
  readonly reversible?: boolean
  /**
   * What of the detail may leave in messages: its output is the invitation's `excerpt`. Nothing unless given: chats and
   * mailboxes are read by more people, and kept for longer, than this store.
   */
  readonly inMessages?: StandardSchema<unknown, unknown>
  /**
   * Looks at what is asked before anyone else does, at what an approver would make of it, and at what is approved before it
   * is done. A denial here is final: no person is asked and no standing grant counts, an edit is refused, and an approval is
   * revoked. Synchronous and without effects. What it throws, `open`, `edit` and `execute` throw.
   */
  screen?(ask: ScreenedAsk<Detail>): Screening
  /** Asks the action's target what became of an execution in doubt. Without it a person has to find out. */
  reconcile?(call: ReconcileCall<Detail>): Promise<Reconciled>
}

/** What a screen is shown. */
export interface ScreenedAsk<Detail> {
  readonly tenant: string
  readonly requestedBy: Requester
  readonly task: string | undefined
  readonly risk: Risk
  readonly detail: Detail
}

/** What a screen says: people are asked, or nobody is and it is denied. */
export type Screening = { readonly outcome: 'ask' } | { readonly outcome: 'deny'; readonly reason: string }

/** Characters of a screen's reason that are kept. */
const SCREEN_REASON_LENGTH_MAX = 1_000

/** Characters of a detail's canonical JSON: far above what an approver can read, far below what a row may hold. */
const DETAIL_LENGTH_MAX = 65_536

const NAME = /^[a-z0-9]+(?:[-_][a-z0-9]+)*(?:\.[a-z0-9]+(?:[-_][a-z0-9]+)*)*$/

const isFunction = (value: unknown): boolean => typeof value === 'function'

const actionSchema = z.strictObject({
  name: z.string().max(128).regex(NAME, 'must be dotted lower-case words, such as payments.refund'),
  detail: z.custom<StandardSchema<unknown, unknown>>(isStandardSchema, 'must be a Standard Schema (version 1)'),
  policy: policySchema,
  risk: z.enum(RISKS).exactOptional(),
  reversible: z.boolean().exactOptional(),
  inMessages: z
    .custom<StandardSchema<unknown, unknown>>(isStandardSchema, 'must be a Standard Schema (version 1)')
    .exactOptional(),
  screen: z.custom<NonNullable<Action['screen']>>(isFunction, 'must be a function').exactOptional(),
  reconcile: z.custom<NonNullable<Action['reconcile']>>(isFunction, 'must be a function').exactOptional()
})

/**
 * Defines an action. The policy is copied into every request that is opened for it, so that a later change of the
 * definition does not change who may decide on those that are open.
 *
 * Throws `INVALID_OPTIONS` (core) with the path of every issue, such as `policy.tiers.1.waitMs`.
 */
export function defineAction<Detail, Input = Detail>(definition: Action<Detail, Input>): Action<Detail, Input> {
  const { name, policy } = parseOptions(actionSchema, 'defineAction', definition)
  return Object.freeze({ ...definition, name, policy: Object.freeze(policy) })
}

/** Whether `value` is what `defineAction` returns, or at least would. */
export function isAction(value: unknown): value is Action {
  return actionSchema.safeParse(value).success
}

/**
 * The detail as the action's schema makes it, as plain JSON of its own: later changes to what the caller passed do not
 * reach it. Throws `INVALID_DETAIL`.
 */
export function detailOf(action: Action, input: unknown): Promise<JsonObject> {
  return outputOf(action.name, action.detail, input)
}

/** As much of the detail as messages may carry. Throws `INVALID_DETAIL`. */
export async function excerptOf(action: Action, detail: JsonObject): Promise<JsonObject> {
  return action.inMessages === undefined ? {} : outputOf(action.name, action.inMessages, detail)
}

async function outputOf(action: string, schema: StandardSchema<unknown, unknown>, input: unknown): Promise<JsonObject> {
  const result = await schema['~standard'].validate(input)
  if (result.issues !== undefined) {
    throw invalidDetail(
      action,
      result.issues.map((issue) => ({ path: pathOf(issue), message: issue.message }))
    )
  }
  const { value } = result
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidDetail(action, [{ path: '', message: 'must be an object' }])
  }
  try {
    return JSON.parse(canonicalJson(value, { lengthMax: DETAIL_LENGTH_MAX })) as JsonObject
  } catch (error) {
    if (!isSuiteError(error, 'NOT_JSON')) throw error
    const { path, reason } = error.detail as { readonly path: string; readonly reason: string }
    throw invalidDetail(action, [{ path, message: `has no JSON form: ${reason}` }])
  }
}

/** What the action's screen says, its reason as it goes on record. Throws what the screen throws. */
export function screened(action: Action | undefined, ask: ScreenedAsk<unknown>): Screening {
  const { tenant, requestedBy, task, risk, detail } = ask
  const screening = action?.screen?.({ tenant, requestedBy, task, risk, detail }) ?? { outcome: 'ask' }
  if (screening.outcome === 'ask') return screening
  const reason = screening.reason.slice(0, SCREEN_REASON_LENGTH_MAX).replaceAll('\0', '').toWellFormed()
  return { outcome: 'deny', reason }
}

/** Throws `INVALID_DETAIL` for what the action's screen denies. */
export function requireScreened(action: Action, ask: ScreenedAsk<unknown>): void {
  const screening = screened(action, ask)
  if (screening.outcome === 'deny') throw invalidDetail(action.name, [{ path: '', message: screening.reason }])
}

function invalidDetail(
  action: string,
  issues: readonly { readonly path: string; readonly message: string }[]
): OversightError<'INVALID_DETAIL'> {
  const summary = issues.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join('; ')
  return new OversightError('INVALID_DETAIL', `${action} refused its detail: ${summary}`, { action, issues })
}
