/** What a service needs is not on this machine and could not be fetched; the message is the advice, on one line. */
export class MissingServiceError extends Error {
  override readonly name = 'MissingServiceError'
}

export interface Advice {
  /** What is missing: `redis-server`. */
  readonly what: string
  /** The variable that makes it unnecessary, with what to put there: `REDIS_URL to a running server`. */
  readonly variable: string
  readonly debian: string
  readonly macos: string
}

export function missing(advice: Advice, reason?: string): MissingServiceError {
  const tried = reason === undefined ? '' : ` (${reason.trim().replace(/\s+/g, ' ').slice(0, 300)})`
  return new MissingServiceError(
    `${advice.what} not found${tried}: set ${advice.variable}, or install it ` +
      `(Debian, Ubuntu: apt-get install ${advice.debian}; macOS: brew install ${advice.macos}).`
  )
}
