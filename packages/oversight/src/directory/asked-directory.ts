import { type Clock, type OptionsSchema, parseOptions, untilAborted } from '@enablement/core'
import { z } from 'zod'
import { OversightError } from '../oversight-error.ts'
import type { Approver, ApproverDirectory } from './approver-directory.ts'
import { givenApproverSchema } from './approver-schema.ts'
import { identitySchema } from './identity.ts'

/** A directory whose answers are checked. Whatever goes wrong with one is thrown as `DIRECTORY_UNAVAILABLE`. */
export interface AskedDirectory {
  find(approver: string): Promise<Approver | undefined>
  /** Undefined also of a directory that knows no groups. */
  members(group: string): Promise<readonly string[] | undefined>
  /** Undefined also of a directory that knows no schedules. */
  onCall(schedule: string, at: number): Promise<readonly string[] | undefined>
}

type Asked = { readonly kind: 'approver' | 'group' | 'on-call'; readonly name: string }

/** A group of more people is everybody, or a mistake; a tier takes the first 50 of them. */
const MEMBERS_MAX = 10_000

const idsSchema: z.ZodType<readonly string[]> = z.array(identitySchema).max(MEMBERS_MAX)

/**
 * Asks somebody else's code. It is waited for no longer than until the signal aborts, whether it heeds the signal or not,
 * and an answer that is no answer, such as another person than the one asked for, is an outage and not a nobody.
 */
export function askedDirectory(
  directory: ApproverDirectory,
  { tenant, signal }: { readonly tenant: string; readonly signal: AbortSignal }
): AskedDirectory {
  async function ask<T>(
    asked: Asked,
    question: () => Promise<T | undefined> | undefined,
    schema: OptionsSchema<T>
  ): Promise<T | undefined> {
    let answer: T | undefined
    try {
      signal.throwIfAborted()
      // Asked in a promise's job, so that what throws at once is a rejection like any other.
      answer = await untilAborted(Promise.resolve().then(question), signal)
    } catch (error) {
      throw unavailable(tenant, asked, signal.aborted ? 'unanswered' : 'failed', error)
    }
    if (answer === undefined) return undefined
    try {
      return parseOptions(schema, `the answer for ${asked.kind}`, answer)
    } catch (error) {
      throw unavailable(tenant, asked, 'malformed', error)
    }
  }
  return {
    async find(name) {
      const asked = { kind: 'approver', name } as const
      const found = await ask(asked, () => directory.find(name, { tenant, signal }), givenApproverSchema)
      if (found === undefined || found.id === name) return found
      throw unavailable(tenant, asked, 'malformed', undefined)
    },
    members: (name) => ask({ kind: 'group', name }, () => directory.members?.(name, { tenant, signal }), idsSchema),
    onCall: (name, at) =>
      ask({ kind: 'on-call', name }, () => directory.onCall?.(name, { tenant, signal, at }), idsSchema)
  }
}

/** How long a directory may take for one person. */
const DIRECTORY_MS = 5_000

/** The person of this id, as the directory knows them now. Throws `DIRECTORY_UNAVAILABLE`, after 5 s at the latest. */
export async function findApprover(
  directory: ApproverDirectory,
  id: string,
  { tenant, clock, signal }: { readonly tenant: string; readonly clock: Clock; readonly signal?: AbortSignal }
): Promise<Approver | undefined> {
  const controller = new AbortController()
  const timer = clock.startTimer(DIRECTORY_MS, () => controller.abort())
  const within = signal === undefined ? controller.signal : AbortSignal.any([signal, controller.signal])
  try {
    return await askedDirectory(directory, { tenant, signal: within }).find(id)
  } finally {
    timer.cancel()
  }
}

const FAULTS = {
  failed: 'failed',
  unanswered: 'did not answer in time',
  malformed: 'gave a malformed answer'
} as const

function unavailable(
  tenant: string,
  asked: Asked,
  because: keyof typeof FAULTS,
  cause: unknown
): OversightError<'DIRECTORY_UNAVAILABLE'> {
  return new OversightError(
    'DIRECTORY_UNAVAILABLE',
    `the directory of ${tenant} ${FAULTS[because]} when it was asked for the ${asked.kind} ${asked.name}`,
    { tenant, asked, because },
    { cause }
  )
}
