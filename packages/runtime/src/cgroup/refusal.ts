import { RuntimeError } from '../runtime-error.ts'

/** The `code` of a system error, `EUNKNOWN` for anything else. */
export function errnoOf(error: unknown): string {
  const code = (error as { readonly code?: unknown } | null | undefined)?.code
  return typeof code === 'string' ? code : 'EUNKNOWN'
}

export function refusal(what: string, path: string, cause: unknown): RuntimeError<'CGROUP_REFUSED'> {
  const errno = errnoOf(cause)
  return new RuntimeError('CGROUP_REFUSED', `${what}: ${path} answered ${errno}`, { path, errno }, { cause })
}

/** A refusal that no system call made. */
export function refusalOf(errno: string, what: string, path: string): RuntimeError<'CGROUP_REFUSED'> {
  return new RuntimeError('CGROUP_REFUSED', `${what}: ${path} (${errno})`, { path, errno })
}

/** Undefined instead of an error: for files that may not be there, and for tidying up after another error. */
export function attempt<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}
