import type { Verdict } from '@enablement/core'
import type { RequestView } from '../request/request-view.ts'

/** Why a call was not carried out by whoever asked just now. */
export type ToolCallRefusal = {
  /** Undefined where no request was opened. */
  readonly requestId: string | undefined
  /** Says it in one or two sentences that a model can act on. Holds no name of an approver. */
  readonly message: string
} & (
  | { readonly outcome: 'pending' }
  /** `by` is an approver's id, or `system:…` where the policy denied because nobody had decided. */
  | { readonly outcome: 'denied'; readonly by: string; readonly reason: string }
  | { readonly outcome: 'timed-out' | 'cancelled' }
  /** The approval was withdrawn, or has run out, before it was used. */
  | { readonly outcome: 'revoked' }
  /** The id of this call belongs to a request for something else: the call was tampered with. */
  | { readonly outcome: 'altered' }
  /** The action's schema refused the arguments. Nobody was asked. */
  | { readonly outcome: 'invalid' }
  /** Somebody else is carrying it out, and had not ended when the time to wait for them was over. */
  | { readonly outcome: 'busy' }
  /** It was begun, and whether it took effect is not known. `cause` is what the effect just threw. */
  | { readonly outcome: 'in-doubt'; readonly cause?: unknown }
  /** The effect says that it had none (`noEffect`); the approval is still good for the same call. */
  | { readonly outcome: 'no-effect' }
)

/** The name under which the library itself decides begins so; no person's can. */
const SYSTEM = 'system:'

const sentences = {
  pending: 'This call waits for a person to approve it and has not been carried out. Do not call again meanwhile.',
  'timed-out':
    'Nobody decided on this call in time, so it was not carried out. That is no refusal by a person. Do not call again ' +
    'unless you are asked to.',
  cancelled: 'The request to approve this call was withdrawn before anybody decided. It was not carried out.',
  revoked: 'The approval of this call was withdrawn or has run out. It was not carried out.',
  altered:
    'This call is not the one that was asked for under its id: the tool or its arguments differ. It was refused.',
  busy: 'This call is being carried out at this moment, and its result is not known yet. Do not call again.',
  'in-doubt':
    'This call was begun, and whether it took effect is not known. Do not call again: a person has to look into it.'
} as const

/** What the arguments' refusal says names fields and their faults, as the action's schema words them. */
export function invalid(message: string): ToolCallRefusal {
  return { outcome: 'invalid', requestId: undefined, message: `${message}. Nobody was asked. Correct the arguments.` }
}

export function noEffectRefusal(requestId: string, reason: string): ToolCallRefusal {
  return { outcome: 'no-effect', requestId, message: `This call failed before anything took effect: ${reason}` }
}

export function inDoubt(requestId: string, cause: unknown): ToolCallRefusal {
  const refusal = { outcome: 'in-doubt', requestId, message: sentences['in-doubt'] } as const
  return cause === undefined ? refusal : { ...refusal, cause }
}

export function plainRefusal(
  outcome: 'pending' | 'timed-out' | 'cancelled' | 'revoked' | 'altered' | 'busy',
  requestId: string | undefined
): ToolCallRefusal {
  return { outcome, requestId, message: sentences[outcome] }
}

/** Why a request gives no leave to carry its call out; undefined when it is approved. */
export function refusalOf(
  requestId: string,
  { status, verdict }: { readonly status: RequestView['status']; readonly verdict: Verdict | undefined }
): ToolCallRefusal | undefined {
  switch (status) {
    case 'approved':
      return undefined
    case 'denied':
      return denied(requestId, verdict)
    default:
      return plainRefusal(status, requestId)
  }
}

function denied(requestId: string, verdict: Verdict | undefined): ToolCallRefusal {
  const { by, reason } = verdict?.outcome === 'denied' ? verdict : { by: SYSTEM, reason: 'no reason is on record' }
  const message = by.startsWith(SYSTEM)
    ? `This call was not carried out: no person approved it, and without one its policy denies. ${reason}`
    : `A person denied this call: ${reason}. It was not carried out. Do not call again with the same arguments.`
  return { outcome: 'denied', requestId, by, reason, message }
}
