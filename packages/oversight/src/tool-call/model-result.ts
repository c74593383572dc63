import type { JsonObject } from '@enablement/core'
import type { CarriedOut } from './gated-tool.ts'

/** The result of a call whose arguments a person changed before they were approved: the model has to be told. */
export interface ChangedCall<Result> {
  readonly outcome: 'carried-out-with-changes'
  /** What was approved and carried out. */
  readonly arguments: JsonObject
  readonly result: Result
  readonly message: string
}

const CHANGED =
  'A person changed the arguments of this call before it was approved. What was carried out is in "arguments".'

/** What the model gets of a call that was carried out: the effect's own result, unless something else was approved. */
export function modelResult<Result>({ result, changedTo }: CarriedOut<Result>): Result | ChangedCall<Result> {
  if (changedTo === undefined) return result
  return { outcome: 'carried-out-with-changes', arguments: changedTo, result, message: CHANGED }
}
