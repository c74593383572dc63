import { OversightError } from '../oversight-error.ts'
import type { SlackMethod } from './slack-limits.ts'

/** Nobody reads what is sent to this address: the user, the conversation or the way to it is gone. */
const UNREACHABLE: ReadonlySet<string> = new Set([
  'channel_not_found',
  'user_not_found',
  'users_not_found',
  'user_disabled',
  'user_not_visible',
  'is_archived',
  'is_inactive',
  'not_in_channel',
  'cannot_dm_bot',
  'messages_tab_disabled',
  'restricted_action',
  'restricted_action_read_only_channel',
  'restricted_action_thread_only_channel',
  'restricted_action_non_threadable_channel'
])

/**
 * The app's own credentials are at fault, whoever is written to. `account_inactive` is among them: Slack says it of the
 * token's account, and `user_disabled` of the one that is written to.
 */
const UNAUTHORIZED: ReadonlySet<string> = new Set([
  'not_authed',
  'invalid_auth',
  'account_inactive',
  'token_revoked',
  'token_expired',
  'no_permission',
  'missing_scope',
  'not_allowed_token_type',
  'access_denied',
  'accesslimited',
  'ekm_access_denied',
  'enterprise_is_restricted',
  'org_login_required',
  'team_access_not_granted',
  'two_factor_setup_required'
])

/** What chat methods call a 429 that comes with status 200. */
const LIMITED: ReadonlySet<string> = new Set(['ratelimited', 'rate_limited'])

/** The message is not there any more, or not to be changed any more: there is nothing left to bring up to date. */
const PAST_UPDATE: ReadonlySet<string> = new Set([
  'message_not_found',
  'cant_update_message',
  'edit_window_closed',
  'channel_not_found',
  'is_archived',
  'is_inactive',
  'not_in_channel'
])

/** The message that a reminder should go under is gone. */
const NO_THREAD: ReadonlySet<string> = new Set(['thread_not_found', 'invalid_thread_ts', 'cannot_reply_to_message'])

/** The message that had our `client_msg_id` is gone. */
const NO_DUPLICATE: ReadonlySet<string> = new Set(['duplicate_message_not_found', 'duplicate_channel_not_found'])

export const isUnreachable = (error: string): boolean => UNREACHABLE.has(error)
export const isLimited = (error: string): boolean => LIMITED.has(error)
export const isPastUpdate = (error: string): boolean => PAST_UPDATE.has(error)
export const isWithoutThread = (error: string): boolean => NO_THREAD.has(error)
export const isWithoutDuplicate = (error: string): boolean => NO_DUPLICATE.has(error)

/** What an error of Slack's is thrown as, once it is no expected answer. */
export function slackError(method: SlackMethod, reason: string): OversightError {
  return UNAUTHORIZED.has(reason)
    ? slackUnauthorized(method, reason)
    : new OversightError('CHANNEL_FAILED', `slack refused ${method}: ${reason}`, { reason })
}

export function slackUnauthorized(method: SlackMethod, reason: string): OversightError<'CHANNEL_UNAUTHORIZED'> {
  return new OversightError('CHANNEL_UNAUTHORIZED', `slack does not let this app call ${method}: ${reason}`, { reason })
}

/** A call without a usable answer; whether it had its effect is not known. */
export function slackFailure(
  operation: string,
  reason: string,
  more: { readonly retryAfterMs?: number; readonly cause?: unknown } = {}
): OversightError<'CHANNEL_FAILED'> {
  const { cause, ...detail } = more
  const message = `slack did not do ${operation}: ${reason}`
  return new OversightError('CHANNEL_FAILED', message, { reason, ...detail }, cause === undefined ? {} : { cause })
}
