import { CoreError, createIdSource, type Platform } from '@enablement/core'
import { replyInteger, replyList, replyText, type ScriptRunner } from '@enablement/core/redis'
import type { Charge } from '../quota/charge.ts'
import { EXPIRED_PER_CALL } from '../quota/hold-expiry.ts'
import type { QuotaStep } from '../quota/quota-ledger.ts'
import {
  type CounterReading,
  type Elsewhere,
  type ExpiredHold,
  type ExtendAnswer,
  HOLDS_MAX,
  type HoldAnswer,
  type HoldEnd,
  type QuotaStore,
  type SettleAnswer,
  type SpendAnswer
} from '../quota/quota-store.ts'
import {
  checkConsume,
  checkEndExpired,
  checkExtend,
  checkHold,
  checkRead,
  checkSettle
} from '../quota/request-checks.ts'
import { CallerPlaces } from './caller-places.ts'
import { chargeShape } from './charge-shapes.ts'
import { type ConsumeCall, type PlannedGroup, planCalls, replanned } from './consume-plan.ts'
import { answersIn, entriesIn, instantIn, refusalIn, unknownReply } from './consume-reply.ts'
import { holdIn } from './hold-text.ts'
import type { QuotaDurability, QuotaPlace } from './quota-durability.ts'
import { holdName } from './quota-keys.ts'
import { consumeScript, expiredScript, holdScript, readScript } from './quota-scripts.ts'
import { stepOf } from './quota-step.ts'

/**
 * How long the reply to a call is kept for the same call sent again, in milliseconds: longer than a client with a sane
 * number of retries goes on.
 */
const REPLY_KEPT_MS = 60_000

/**
 * Times that one call is sent: expired holds are ended, an epoch that another process began is waited for, and begun anew
 * if nothing comes of it. Each is rare by itself, and all of them together are fewer.
 */
const TURNS_MAX = 12

/** Tenants whose expired holds `endExpired` looks for. The one that was served least recently gives way. */
const SERVED_MAX = 100_000

/** Holds that one script ends: each has up to a counter for each charge, or more when it was extended. */
const ENDED_PER_SCRIPT = 64

/** What a script says instead of an answer. */
type Detour = 'expired' | 'overdue' | 'fenced' | 'restoring'

const isFence = (found: string): found is 'fenced' | 'restoring' => found === 'fenced' || found === 'restoring'

/** The store on a script runner. `clock` stands in for the server's in tests. */
export function quotaStoreOn(
  runner: ScriptRunner,
  durability: QuotaDurability,
  platform: Platform,
  clock?: { now(): number }
): QuotaStore {
  const callers = new CallerPlaces(createIdSource(platform)())
  const served = new Set<string>()
  const time = (): number | '' => clock?.now() ?? ''
  const epochOf = ({ epoch }: QuotaPlace): number | '' => epoch ?? ''

  const serve = (tenant: string): void => {
    served.delete(tenant)
    if (served.size >= SERVED_MAX) served.delete(served.values().next().value as string)
    served.add(tenant)
  }

  /** Whether what a script did stands. */
  const secure = async (place: QuotaPlace, step: () => QuotaStep): Promise<boolean> =>
    durability.secure === undefined || durability.secure(place, step)

  /**
   * Asks until there is an answer, and does what stands in its way. `mayEnd` says that expired holds are ended first;
   * `name`, which hold the call is about. Calls are sent in the order in which they were made.
   */
  const decide = async <Answer>(
    tenant: string,
    name: string | undefined,
    ask: (place: QuotaPlace, mayEnd: '0' | '1') => Promise<Answer | Detour>,
    known?: QuotaPlace
  ): Promise<Answer> => {
    serve(tenant)
    let mayEnd: '0' | '1' = '1'
    for (let turn = 0; turn < TURNS_MAX; turn++) {
      const place = turn === 0 && known !== undefined ? known : await durability.place(tenant)
      const found = await ask(place, mayEnd)
      if (found === 'fenced' || found === 'restoring') {
        await durability.fenced?.(place, found as 'fenced' | 'restoring')
      } else if (found === 'expired') {
        await endExpired(place, EXPIRED_PER_CALL)
        mayEnd = '0'
      } else if (found === 'overdue') await endHolds(place, [name as string])
      else return found
    }
    throw new CoreError(
      'STORE_UNAVAILABLE',
      `the quotas of a tenant were not to be had in ${TURNS_MAX} turns: their epoch is being changed, or their holds are`,
      { store: 'redis', operation: 'metering.quotas' }
    )
  }

  const consumeOnce = async (
    place: QuotaPlace,
    call: ConsumeCall,
    mayEnd: '0' | '1'
  ): Promise<readonly string[] | Detour> => {
    const { keys } = place
    const caller = callers.take()
    const reply = replyText(
      await runner.run(
        consumeScript,
        [keys.reply(caller.id), keys.holds, keys.fence, ...call.keys],
        [
          time(),
          caller.call,
          REPLY_KEPT_MS,
          epochOf(place),
          mayEnd,
          JSON.stringify(call.memories),
          call.shapes,
          call.spends
        ]
      )
    )
    callers.giveBack(caller)
    if (isFence(reply) || reply === 'expired') return reply
    const [lines = '', ...step] = reply.split('\x1e')
    if (!(await secure(place, () => stepOf(step[0], step[1], call, step[2])))) return 'fenced'
    return lines.split('\n')
  }

  const runHold = async (
    place: QuotaPlace,
    operation: 'hold' | 'extend' | 'settle' | 'end',
    mayEnd: '0' | '1',
    holds: readonly string[],
    counters: readonly string[],
    rules: string,
    request: readonly (string | number)[]
  ): Promise<string> => {
    const { keys } = place
    const names = [...holds, ...counters]
    const [answer, revision, stepped, told] = replyList(
      await runner.run(
        holdScript,
        [keys.holds, keys.fence, ...holds.map(keys.hold), ...counters.map(keys.counter)],
        [operation, time(), epochOf(place), mayEnd, JSON.stringify(names), holds.length, rules, JSON.stringify(request)]
      )
    )
    const stands = await secure(place, () => stepOf(revision, stepped, { names, first: 3 }, undefined, told))
    return stands ? replyText(answer) : 'fenced'
  }

  /** Asks for one hold, once more with the counters that it has besides those of the call. */
  const decideHold = async <Answer>(
    tenant: string,
    operation: 'hold' | 'extend' | 'settle',
    { scope, key, charges }: { readonly scope: string; readonly key: string; readonly charges: readonly Charge[] },
    request: readonly (string | number)[],
    answerIn: (found: string) => Answer
  ): Promise<Answer> => {
    const name = holdName(scope, key)
    const shape = chargeShape(charges)
    const own = [...new Set(shape.names)]
    const placeOf = new Map(own.map((counter, at) => [counter, at + 4]))
    const rules = `[${shape.rules},${JSON.stringify(shape.names.map((counter) => placeOf.get(counter)))}]`
    let counters = own
    return decide(tenant, name, async (place, mayEnd): Promise<Answer | Detour> => {
      for (;;) {
        const found = await runHold(place, operation, mayEnd, [name], counters, rules, request)
        if (isFence(found) || found === 'expired' || found === 'overdue') return found
        if (!found.startsWith('counters\n')) return answerIn(found)
        counters = [...counters, ...found.split('\n').slice(1)]
      }
    })
  }

  /** Ends holds by name, those of them whose time is over; says which. */
  const endHolds = async (place: QuotaPlace, names: readonly string[]): Promise<ExpiredHold[]> => {
    const ended: ExpiredHold[] = []
    for (let from = 0; from < names.length; from += ENDED_PER_SCRIPT) {
      const some = names.slice(from, from + ENDED_PER_SCRIPT)
      const keys = [place.keys.holds, ...some.map(place.keys.hold)]
      const texts = replyList(await runner.run(expiredScript, keys, [time(), some.length]))
      const parts = texts.flatMap((text) => (text === null ? [] : holdIn(replyText(text)).parts))
      const counters = new Set(parts.map(({ counter }) => counter))
      const found = await runHold(place, 'end', '0', some, [...counters], '[]', [])
      if (isFence(found)) return ended
      for (const naming of found.split('\n').slice(1)) ended.push({ tenant: place.tenant, ...namedBy(naming) })
    }
    return ended
  }

  const endExpired = async (place: QuotaPlace, limit: number): Promise<ExpiredHold[]> => {
    const names = replyList(await runner.run(expiredScript, [place.keys.holds], [time(), limit])).map(replyText)
    return endHolds(place, names)
  }

  return {
    // With a ledger every call is a transaction of its.
    supports: { durable: durability.durable, shared: true, pipelined: durability.secure === undefined },

    async consume(tenant, groups, { signal } = {}) {
      signal?.throwIfAborted()
      checkConsume(tenant, groups)
      const answers: SpendAnswer[][] = groups.map(() => [])
      const planned = await durability.place(tenant)
      for (const call of planCalls(planned.keys, groups)) {
        const lines = await decide(
          tenant,
          undefined,
          (place, mayEnd) => consumeOnce(place, place === planned ? call : replanned(place.keys, call), mayEnd),
          planned
        )
        addAnswers(answers, call, lines)
      }
      return answers
    },

    async hold(tenant, request, { signal } = {}) {
      signal?.throwIfAborted()
      checkHold(tenant, request)
      const { scope, key, amount, amountMin, ttlMs, onExpiry, keepMs } = request
      const naming = JSON.stringify([scope, key])
      const expiry = onExpiry === 'spent' ? 'S' : 'R'
      const asked = [amount, amountMin, ttlMs, expiry, keepMs, HOLDS_MAX, naming]
      return decideHold(tenant, 'hold', request, asked, (found): HoldAnswer => {
        if (found === 'full') throw full(tenant)
        if (found.startsWith('x')) return { outcome: 'conflict', firstAmount: replyInteger(found.slice(1)) }
        const answer = holdAnswerIn(found)
        return answer.outcome === 'held' ? { ...answer.hold, replayed: answer.replayed } : answer
      })
    },

    async settle(tenant, request, { signal } = {}) {
      signal?.throwIfAborted()
      checkSettle(tenant, request)
      const { actual, keepMs } = request
      return decideHold(tenant, 'settle', request, [actual, keepMs], (found): SettleAnswer => {
        if (found === 'unknown') return { outcome: 'unknown-hold' }
        if (found.startsWith('x')) return { outcome: 'conflict', firstActual: replyInteger(found.slice(1)) }
        return endIn(found)
      })
    },

    async extend(tenant, request, { signal } = {}) {
      signal?.throwIfAborted()
      checkExtend(tenant, request)
      const { ttlMs, amount } = request
      return decideHold(tenant, 'extend', request, [ttlMs, amount], (found): ExtendAnswer => {
        if (found === 'unknown') return { outcome: 'unknown-hold' }
        const answer = holdAnswerIn(found)
        return answer.outcome === 'held' ? answer.hold : answer
      })
    },

    async read(tenant, charges, { signal } = {}) {
      signal?.throwIfAborted()
      checkRead(tenant, charges)
      const shape = chargeShape(charges)
      const own = [...new Set(shape.names)]
      const places = shape.names.map((name) => own.indexOf(name) + 3)
      return decide(tenant, undefined, async (place, mayEnd) => {
        const { keys } = place
        const found = replyText(
          await runner.run(
            readScript,
            [keys.holds, keys.fence, ...own.map(keys.counter)],
            [time(), epochOf(place), mayEnd, `[${shape.rules},${JSON.stringify(places)}]`]
          )
        )
        if (isFence(found) || found === 'expired') return found
        return readingsIn(found, charges)
      })
    },

    async endExpired(limit, { signal } = {}) {
      signal?.throwIfAborted()
      checkEndExpired(limit)
      const ended: ExpiredHold[] = []
      // A copy: calls that are served meanwhile move their tenants to the end.
      for (const tenant of Array.from(served)) {
        signal?.throwIfAborted()
        if (ended.length >= limit) break
        ended.push(...(await endExpired(await durability.place(tenant), limit - ended.length)))
      }
      return ended
    }
  }
}

/** Adds what the lines of a reply say to the answers of the groups. */
function addAnswers(
  answers: SpendAnswer[][],
  { groups, lines: together }: ConsumeCall,
  lines: readonly string[]
): void {
  let next = 0
  for (let at = 0; at < together.length; at++) {
    const line = lines[at] ?? ''
    const count = together[at] as number
    if (count > 1) {
      for (const answer of entriesIn(line, count)) answers[(groups[next++] as PlannedGroup).group] = [answer]
    } else {
      const { group, amounts } = groups[next++] as PlannedGroup
      const found = answersIn(line, amounts)
      if (answers[group]?.length === 0) answers[group] = found
      else answers[group]?.push(...found)
    }
  }
}

function namedBy(naming: string): { readonly scope: string; readonly key: string } {
  const [scope, key] = JSON.parse(naming) as [string, string]
  return { scope, key }
}

type HeldIn =
  | {
      readonly outcome: 'held'
      readonly hold: {
        readonly outcome: 'held'
        readonly amount: number
        readonly expiresAt: number
        readonly now: number
      }
      readonly replayed: boolean
    }
  | HoldEnd
  | ReturnType<typeof refusalIn>
  | Elsewhere

function holdAnswerIn(found: string): HeldIn {
  if (found.startsWith('held ')) {
    const [amount, expiresAt, now, replayed] = found.slice(5).split(',')
    const hold = {
      outcome: 'held',
      amount: replyInteger(amount),
      expiresAt: replyInteger(expiresAt),
      now: replyInteger(now)
    } as const
    return { outcome: 'held', hold, replayed: replayed === '1' }
  }
  if (found.startsWith('r')) return refusalIn(found.slice(1))
  if (found.startsWith('e')) return { outcome: 'elsewhere', now: replyInteger(found.slice(1)) }
  return endIn(found)
}

function endIn(found: string): HoldEnd {
  if (!found.startsWith('settled ')) throw unknownReply()
  const [actual, charged, overrun, expired, replayed] = found.slice(8).split(',')
  return {
    outcome: 'settled',
    actual: replyInteger(actual),
    charged: replyInteger(charged),
    overrun: replyInteger(overrun),
    expired: expired === '1',
    replayed: replayed === '1'
  }
}

function readingsIn(found: string, charges: readonly Charge[]): readonly CounterReading[] | Elsewhere {
  if (found.startsWith('e')) return { outcome: 'elsewhere', now: replyInteger(found.slice(1)) }
  const readings = found.split(';')
  return charges.map(({ limit, path, quantity }, at) => {
    const [used, held, remaining, resets] = (readings[at] ?? '').split(',')
    return {
      limit,
      path,
      quantity,
      used: replyInteger(used),
      held: replyInteger(held),
      remaining: replyInteger(remaining),
      resetsAt: instantIn(resets)
    }
  })
}

function full(tenant: string): CoreError<'OVERLOADED'> {
  const what = `the open holds of ${tenant}`
  return new CoreError('OVERLOADED', `${what} are ${HOLDS_MAX} and no more are made`, {
    what,
    waiting: HOLDS_MAX,
    limit: HOLDS_MAX
  })
}
