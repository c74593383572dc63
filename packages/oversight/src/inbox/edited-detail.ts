import { canonicalJson, isSuiteError, type JsonObject } from '@enablement/core'

/** What was typed as a detail. */
export type TypedDetail =
  | { readonly outcome: 'parsed'; readonly detail: JsonObject }
  | { readonly outcome: 'refused'; readonly faults: readonly string[] }

/** Reads what somebody typed as JSON. Whether it is a detail of its action, only the action's schema knows. */
export function typedDetail(text: string): TypedDetail {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    return { outcome: 'refused', faults: [`This is not JSON: ${(error as Error).message}`] }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { outcome: 'refused', faults: ['It must be an object: names and values within { }.'] }
  }
  try {
    return { outcome: 'parsed', detail: JSON.parse(canonicalJson(value)) as JsonObject }
  } catch (error) {
    if (!isSuiteError(error, 'NOT_JSON')) throw error
    const { path, reason } = error.detail as { readonly path: string; readonly reason: string }
    return { outcome: 'refused', faults: [`${path === '' ? '' : `${path}: `}${reason}`] }
  }
}

/** What the action's schema said against a detail, or undefined when the error is about something else. */
export function schemaFaults(error: unknown): readonly string[] | undefined {
  if (!isSuiteError(error, 'INVALID_DETAIL')) return undefined
  const { issues } = error.detail as { readonly issues: readonly { readonly path: string; readonly message: string }[] }
  return issues.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`))
}
