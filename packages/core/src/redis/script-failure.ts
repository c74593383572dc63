import { CoreError } from '../failure/core-error.ts'
import type { Script } from './script.ts'

/** How this store is named in errors. Its address stays out. */
export const REDIS = 'redis'

/**
 * Replies with which Redis refuses to run a command, or a script's first write, because of its own state: nothing was
 * written. Redis Cluster specification; `redis.conf` on `min-replicas-to-write`, `maxmemory`, `stop-writes-on-bgsave-error`.
 */
const REFUSALS: ReadonlySet<string> = new Set([
  'ASK',
  'BUSY',
  'CLUSTERDOWN',
  'LOADING',
  'MASTERDOWN',
  'MISCONF',
  'MOVED',
  'NOREPLICAS',
  'OOM',
  'READONLY',
  'TRYAGAIN'
])

/** What ioredis says of a command that it did not send. */
const NOT_SENT = /^(?:Stream isn't writeable|Cluster isn't ready)/

/** The code with which Redis begins an error reply, or undefined when the error is not one. */
export function replyCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || error.name !== 'ReplyError') return undefined
  return /^[A-Z][A-Z0-9]*(?= |$)/.exec(error.message)?.[0] ?? 'ERR'
}

/**
 * What a rejected call means. `resent` says that the client may have sent it before the attempt that failed, so that
 * even a plain refusal leaves the first attempt open.
 */
export function scriptFailure(script: Script, error: unknown, resent: boolean): CoreError {
  const cause = withoutArguments(error)
  const reply = replyCode(error)
  if (reply !== undefined && !REFUSALS.has(reply)) {
    const message = `redis answered ${reply} to the script ${script.name}`
    return new CoreError('SCRIPT_FAILED', message, { script: script.name, reply }, { cause })
  }
  if (!resent && (reply !== undefined || NOT_SENT.test(cause.message))) {
    return unavailable(script, reply === undefined ? 'the connection is down' : `redis answered ${reply}`, cause)
  }
  const message = `no reply to the script ${script.name} arrived: it may have run, and nobody can tell`
  return new CoreError('COMMIT_UNKNOWN', message, { store: REDIS }, { cause })
}

/** The script had no effect. */
export function unavailable(script: Script, reason: string, cause?: unknown): CoreError<'STORE_UNAVAILABLE'> {
  return new CoreError(
    'STORE_UNAVAILABLE',
    `the script ${script.name} did not run: ${reason}`,
    { store: REDIS, operation: script.name },
    { cause }
  )
}

/**
 * The error without what ioredis hangs on it: the command with all its arguments, which `inspect` would print. Redis
 * quotes arguments in one kind of message, that of an unknown command.
 */
export function withoutArguments(error: unknown): Error {
  const { name, message } = error instanceof Error ? error : new Error(String(error))
  const clean = new Error(message.replace(/, with args beginning with:.*$/s, ''))
  clean.name = name
  return clean
}
