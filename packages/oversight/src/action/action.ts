import { canonicalJson, isSuiteError, type JsonObject, parseOptions } from '@enablement/core'
import { z } from 'zod'
import { OversightError } from '../oversight-error.ts'
import { type ApprovalPolicy, policySchema } from '../policy/policy.ts'
import { isStandardSchema, pathOf, type StandardSchema } from './standard-schema.ts'

/** Something an agent may only do when a human says yes: its name, the shape of its detail, and who is asked. */
export interface Action<Detail = unknown, Input = Detail> {
  /** Dotted, such as `payments.refund`. */
  readonly name: string
  /** What the detail must be. Its output is what is stored, shown, hashed and handed to the effect. */
  readonly detail: StandardSchema<Input, Detail>
  readonly policy: ApprovalPolicy
}

/** Characters of a detail's canonical JSON: far above what an approver can read, far below what a row may hold. */
const DETAIL_LENGTH_MAX = 65_536

const NAME = /^[a-z0-9]+(?:[-_][a-z0-9]+)*(?:\.[a-z0-9]+(?:[-_][a-z0-9]+)*)*$/

const actionSchema = z.strictObject({
  name: z.string().max(128).regex(NAME, 'must be dotted lower-case words, such as payments.refund'),
  detail: z.custom<StandardSchema<unknown, unknown>>(isStandardSchema, 'must be a Standard Schema (version 1)'),
  policy: policySchema
})

/**
 * Defines an action. The policy is copied into every request that is opened for it, so that a later change of the
 * definition does not change who may decide on those that are open.
 *
 * Throws `INVALID_OPTIONS` (core) with the path of every issue, such as `policy.tiers.1.waitMs`.
 */
export function defineAction<Detail, Input = Detail>(definition: Action<Detail, Input>): Action<Detail, Input> {
  const { name, policy } = parseOptions(actionSchema, 'defineAction', definition)
  return Object.freeze({ name, detail: definition.detail, policy })
}

/** Whether `value` is what `defineAction` returns, or at least would. */
export function isAction(value: unknown): value is Action {
  return actionSchema.safeParse(value).success
}

/**
 * The detail as the action's schema makes it, as plain JSON of its own: later changes to what the caller passed do not
 * reach it. Throws `INVALID_DETAIL`.
 */
export async function detailOf(action: Action, input: unknown): Promise<JsonObject> {
  const result = await action.detail['~standard'].validate(input)
  if (result.issues !== undefined) {
    throw invalidDetail(
      action.name,
      result.issues.map((issue) => ({ path: pathOf(issue), message: issue.message }))
    )
  }
  const { value } = result
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidDetail(action.name, [{ path: '', message: 'must be an object' }])
  }
  try {
    return JSON.parse(canonicalJson(value, { lengthMax: DETAIL_LENGTH_MAX })) as JsonObject
  } catch (error) {
    if (!isSuiteError(error, 'NOT_JSON')) throw error
    const { path, reason } = error.detail as { readonly path: string; readonly reason: string }
    throw invalidDetail(action.name, [{ path, message: `has no JSON form: ${reason}` }])
  }
}

function invalidDetail(
  action: string,
  issues: readonly { readonly path: string; readonly message: string }[]
): OversightError<'INVALID_DETAIL'> {
  const summary = issues.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join('; ')
  return new OversightError('INVALID_DETAIL', `${action} refused its detail: ${summary}`, { action, issues })
}
