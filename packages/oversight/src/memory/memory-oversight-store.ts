import { type Platform, parseOptions, systemPlatform } from '@enablement/core'
import type { AuditDraft } from '@enablement/core/audit'
import { z } from 'zod'
import type { GrantRecord } from '../grant/grant-record.ts'
import { isSpent } from '../grant/standing-grants.ts'
import { OversightError } from '../oversight-error.ts'
import type { Change, Opened, OversightStore, RecordedEntry } from '../oversight-store.ts'
import { askedApprovers, executionDueAt, nextDueAt, type RequestRecord } from '../request/request.ts'
import { createMemoryMail } from './memory-mail.ts'

export interface MemoryOversightStoreOptions {
  /** Its wall clock is the store's clock. */
  readonly platform?: Platform
  /** How long one attempt to deliver may take. 10 s unless given. */
  readonly attemptMs?: number
}

/** A store that forgets everything with its process: for tests and demonstrations. */
export interface MemoryOversightStore extends OversightStore {
  /** What was committed as evidence, in order. */
  evidence(tenant: string): readonly AuditDraft[]
}

const ATTEMPT_MS = 10_000

const optionsSchema: z.ZodType<MemoryOversightStoreOptions> = z.strictObject({
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional(),
  attemptMs: z.int().min(1).max(3_600_000).exactOptional()
})

/**
 * The model that other stores are held against: each call is one synchronous block, which is all that it takes here for a
 * step and its evidence to be one. Throws `INVALID_OPTIONS` (core).
 */
export function memoryOversightStore(options: MemoryOversightStoreOptions = {}): MemoryOversightStore {
  const { platform = systemPlatform, attemptMs = ATTEMPT_MS } = parseOptions(
    optionsSchema,
    'memoryOversightStore',
    options
  )
  const { clock } = platform
  const requests = new Map<string, RequestRecord>()
  const keys = new Map<string, string>()
  const standing = new Map<string, GrantRecord>()
  const recorded: RecordedEntry[] = []
  const mail = createMemoryMail({ platform, attemptMs, change: (requestId, step) => take(requestId, step) })

  const record = (evidence: readonly AuditDraft[]): void => {
    const at = clock.now()
    for (const draft of evidence) recorded.push({ ...draft, at })
  }

  const commit = ({ request, messages = [], evidence = [] }: Omit<Change<unknown>, 'answer'>): void => {
    if (request !== undefined) requests.set(request.id, request)
    record(evidence)
    mail.put(messages)
  }

  function take<Answer>(requestId: string, step: (request: RequestRecord, now: number) => Change<Answer>): Answer {
    const request = requests.get(requestId)
    if (request === undefined) {
      throw new OversightError('UNKNOWN_REQUEST', `there is no request ${requestId}`, { requestId })
    }
    const { answer, ...change } = step(request, clock.now())
    commit(change)
    return answer
  }

  const dueAt = { escalation: nextDueAt, execution: executionDueAt } as const

  const open = (opening: Parameters<OversightStore['open']>[0]): Opened => {
    const key = JSON.stringify([opening.tenant, opening.idempotencyKey])
    const known = requests.get(keys.get(key) ?? '')
    if (known !== undefined) return { outcome: 'found', request: known }
    const now = clock.now()
    const good = [...standing.values()].filter(
      (grant) => grant.tenant === opening.tenant && !isSpent(grant) && grant.expiresAt > now
    )
    const { request, grant, ...change } = opening.open(now, opening.grants ? good : [])
    const same = [...requests.values()].find(({ identity }) => identity !== undefined && identity === request.identity)
    if (same !== undefined) {
      keys.set(key, same.id)
      record(opening.coalesce(same))
      return { outcome: 'coalesced', request: same }
    }
    keys.set(key, request.id)
    if (grant !== undefined) standing.set(grant.id, grant)
    commit({ ...change, request })
    return { outcome: 'opened', request }
  }

  return {
    evidence: (tenant) => recorded.filter((draft) => draft.tenant === tenant).map(draftOf),
    async entries(tenant, subjects) {
      const wanted = new Set(subjects)
      return recorded.filter((entry) => entry.tenant === tenant && wanted.has(entry.subject))
    },
    async open(opening) {
      return open(opening)
    },
    async find(requestId) {
      return requests.get(requestId)
    },
    async change(requestId, step) {
      return take(requestId, step)
    },
    async changeDue(kind, { limit, skip }, step) {
      const now = clock.now()
      const due = [...requests.values()]
        .map((request) => ({ request, at: dueAt[kind](request) }))
        .filter(({ request, at }) => at !== undefined && at <= now && !skip.includes(request.id))
        .sort((one, other) => (one.at ?? 0) - (other.at ?? 0))
        .slice(0, limit)
      return due.map(({ request: { id: requestId } }) => {
        try {
          return { outcome: 'changed', requestId, answer: take(requestId, step) }
        } catch (error) {
          return { outcome: 'failed', requestId, error }
        }
      })
    },
    async nextDueInMs(kind) {
      const next = Math.min(
        ...[...requests.values()].map((request) => dueAt[kind](request) ?? Number.POSITIVE_INFINITY)
      )
      return Number.isFinite(next) ? Math.max(0, next - clock.now()) : undefined
    },
    async list({ tenant, status, approver, before, from, limit }) {
      const wanted = [...requests.values()].filter(
        (request) =>
          request.tenant === tenant &&
          (status === undefined || (request.status === 'pending') === (status === 'pending')) &&
          (approver === undefined || askedApprovers(request).includes(approver)) &&
          (before === undefined || request.id < before) &&
          (from === undefined || request.id >= from)
      )
      const newestFirst = wanted.sort((one, other) => (one.id < other.id ? 1 : -1))
      return (from === undefined ? newestFirst : newestFirst.reverse()).slice(0, limit)
    },
    async addGrant(make) {
      const { answer, grant, evidence } = make(clock.now())
      if (grant !== undefined) standing.set(grant.id, grant)
      record(evidence)
      return answer
    },
    async changeGrant(grantId, step) {
      const grant = standing.get(grantId)
      if (grant === undefined) return undefined
      const { answer, grant: after, evidence } = step(grant, clock.now())
      if (after !== undefined) standing.set(grantId, after)
      record(evidence)
      return answer
    },
    async grants({ tenant, before, limit }) {
      const wanted = [...standing.values()].filter(
        (grant) => grant.tenant === tenant && (before === undefined || grant.id < before)
      )
      return wanted.sort((one, other) => (one.id < other.id ? 1 : -1)).slice(0, limit)
    },
    deliverThrough(courier) {
      return [mail.duty(courier)]
    }
  }
}

function draftOf({ tenant, actor, action, subject, detail }: RecordedEntry): AuditDraft {
  return { tenant, actor, action, subject, ...(detail === undefined ? {} : { detail }) }
}
