import type { Clock, Timer } from '@enablement/core'
import { askWithin, type Enforcement, type QuotaIdentity } from './enforcement.ts'
import type { QuotaEvent } from './quota-event.ts'
import type { SettleRequest, SpendAnswer } from './quota-store.ts'
import { askToSettle } from './settlement.ts'

/** What waits to be booked. Each is a few hundred bytes; an outage that fills it has gone on for long. */
const BACKLOG_MAX = 100_000

/** The store is asked so often whether it answers again; the breaker may say no before it is. */
const RETRY_MS = 1_000

/** Spends that are booked with one call. */
const BOOKED_AT_ONCE = 256

interface Spend {
  readonly kind: 'spend'
  readonly identity: QuotaIdentity
  readonly amount: number
  readonly key: string
}

interface Settlement {
  readonly kind: 'settle'
  readonly identity: QuotaIdentity
  readonly request: SettleRequest
  readonly unmade: boolean
}

/** What was used while the store failed, told to it when it answers again. In memory: it ends with the process. */
export interface Backlog {
  readonly size: number
  /** False, with an event, when it is full. */
  spend(identity: QuotaIdentity, amount: number, key: string): boolean
  settle(identity: QuotaIdentity, request: SettleRequest, unmade: boolean): boolean
  /** Tries once more; what is left then is reported as unbooked. */
  close(): Promise<void>
}

type Unbooked = Extract<QuotaEvent, { readonly type: 'quota.unbooked' }>['because']

export function createBacklog(clock: Clock, shared: () => Enforcement): Backlog {
  let entries: (Spend | Settlement)[] = []
  let timer: Timer | undefined
  let draining: Promise<void> | undefined
  let closed = false

  const amountOf = (entry: Spend | Settlement): number => (entry.kind === 'spend' ? entry.amount : entry.request.actual)

  const unbooked = (entry: Spend | Settlement, because: Unbooked): void => {
    const amount = amountOf(entry)
    if (amount > 0) shared().report?.({ type: 'quota.unbooked', ...entry.identity.subject, amount, because })
  }

  const put = (entry: Spend | Settlement): boolean => {
    if (entries.length >= BACKLOG_MAX || closed) {
      unbooked(entry, closed ? 'closed' : 'backlog-full')
      return false
    }
    entries.push(entry)
    arm()
    return true
  }

  const arm = (): void => {
    if (timer !== undefined || draining !== undefined || closed || entries.length === 0) return
    timer = clock.startTimer(
      RETRY_MS,
      () => {
        timer = undefined
        void drain()
      },
      { background: true }
    )
  }

  const drain = (): Promise<void> => {
    draining ??= work().finally(() => {
      draining = undefined
      arm()
    })
    return draining
  }

  const disarm = (): void => {
    timer?.cancel()
    timer = undefined
  }

  /** Until all are booked or the store fails. What cannot be booked for another reason keeps no other quota's waiting. */
  const work = async (): Promise<void> => {
    const aside: (Spend | Settlement)[] = []
    while (entries.length > 0) {
      const first = entries[0] as Spend | Settlement
      const sameQuota = (entry: Spend | Settlement): boolean =>
        entry.kind === 'spend' && entry.identity === first.identity
      const others = first.kind === 'spend' ? entries.findIndex((entry) => !sameQuota(entry)) : 1
      const count = Math.min(others === -1 ? entries.length : others, BOOKED_AT_ONCE)
      const taken = entries.slice(0, count)
      entries = entries.slice(count)
      try {
        const answered = first.kind === 'spend' ? await bookSpends(taken as Spend[]) : await bookSettlement(first)
        if (answered) continue
        // Behind the others: where only a part of the store fails, the next attempt begins with another quota.
        aside.push(...taken)
        break
      } catch (error) {
        shared().report?.({ type: 'quota.backlog-failed', ...first.identity.subject, error })
        aside.push(...taken)
      }
    }
    entries.push(...aside)
  }

  const booked = (entry: Spend | Settlement): void => {
    const amount = amountOf(entry)
    if (amount > 0) shared().report?.({ type: 'quota.booked', ...entry.identity.subject, amount })
  }

  /** Each under its key, so that one whose answer was lost, then or now, is spent once. */
  const bookSpends = async (spends: readonly Spend[]): Promise<boolean> => {
    const { identity } = spends[0] as Spend
    const { store, idempotencyMs } = shared()
    const amounts = spends.map(({ amount }) => amount)
    const keys = spends.map(({ key }) => key)
    const asked = await askWithin(shared(), identity, 'book what was let through', async (charges) => {
      const group = { scope: identity.scope, charges, amounts, keys, idempotencyMs }
      const [answers = []] = await store.consume(identity.subject.tenant, [group])
      return answers.find((answer) => answer.outcome === 'elsewhere') ?? answers
    })
    if (asked.outcome === 'unknown-limit') {
      for (const spend of spends) unbooked(spend, 'unknown-limit')
      return true
    }
    if (asked.outcome === 'down' || 'outcome' in asked.value) return false
    spends.forEach((spend, at) => {
      const { outcome } = (asked.value as readonly SpendAnswer[])[at] as SpendAnswer
      if (outcome === 'consumed') booked(spend)
      else unbooked(spend, outcome === 'conflict' ? 'conflict' : 'exceeded')
    })
    return true
  }

  const bookSettlement = async (entry: Settlement): Promise<boolean> => {
    const { identity, request, unmade } = entry
    const asked = await askToSettle(shared(), identity, request)
    if (asked.outcome === 'down') return false
    const { value } = asked
    if (value.outcome === 'conflict') unbooked(entry, 'conflict')
    else if (value.outcome === 'settled') {
      booked(entry)
      const { subject } = identity
      const { overrun } = value
      if (overrun > 0) {
        shared().report?.({ type: 'quota.unbooked', ...subject, amount: overrun, because: 'exceeded' })
      }
    } else if (!unmade) unbooked(entry, 'unknown-hold')
    else if (request.actual > 0) {
      entries.push({ kind: 'spend', identity, amount: request.actual, key: request.key })
    }
    return true
  }

  return {
    get size() {
      return entries.length
    },
    spend: (identity, amount, key) => put({ kind: 'spend', identity, amount, key }),
    settle: (identity, request, unmade) => put({ kind: 'settle', identity, request, unmade }),
    async close() {
      disarm()
      await draining
      await drain()
      closed = true
      disarm()
      for (const entry of entries) unbooked(entry, 'closed')
      entries = []
    }
  }
}
