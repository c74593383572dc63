import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { scheduleSchema } from '@enablement/core/schedule'
import { migrate, rows, type SqlDatabase, textOf } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { testPlatform, withStoreClock } from '@enablement/core/testing'
import { createDunning, type DunningPolicy, type PaymentAnswer } from '@enablement/metering'
import { meteringSchema } from '@enablement/metering/sql'

export const FAILED_AT = Date.UTC(2040, 0, 1, 9)
export const SUBSCRIPTION = { tenant: 'org', subscription: 'sub' }
export const FAILURE = {
  ...SUBSCRIPTION,
  invoice: 'inv-1',
  currency: 'EUR',
  minorUnits: 9_900n,
  idempotencyKey: 'failure-1'
}

/** A world that keys its effects, as the ports ask of it. Survives the crashes of the process that calls it. */
export function makeWorld(answers: readonly PaymentAnswer['outcome'][] = []) {
  const told: string[] = []
  const keys = new Set<string>()
  const attempts = new Map<string, PaymentAnswer['outcome']>()
  const world = {
    told,
    /** Calls, repeated ones included. */
    calls: 0,
    restricted: false,
    order: 0,
    fails: new Set<string>(),
    /** Runs within `restrict`, before it takes effect. */
    onRestrict: async () => {},
    /** Runs within `retry`, before it is answered. */
    onRetry: async () => {},
    once(key: string, effect: () => void) {
      world.calls += 1
      if (keys.has(key)) return
      keys.add(key)
      effect()
    },
    obey(order: number, restricted: boolean) {
      if (order <= world.order) return
      world.order = order
      world.restricted = restricted
    }
  }
  return Object.assign(world, {
    notifier: {
      async notify({ channel, idempotencyKey }: { channel: string; idempotencyKey: string }) {
        if (world.fails.has(channel)) throw new Error('the provider is down')
        world.once(idempotencyKey, () => told.push(channel))
      }
    },
    payments: {
      async retry(attempt: { attempt: number; currency: string; minorUnits: bigint; idempotencyKey: string }) {
        if (world.fails.has('payments')) throw new Error('the bank is down')
        await world.onRetry()
        world.once(attempt.idempotencyKey, () => {
          const outcome = answers[attempts.size] ?? 'declined'
          attempts.set(attempt.idempotencyKey, outcome)
          told.push(`${attempt.currency} ${attempt.minorUnits} attempt ${attempt.attempt}: ${outcome}`)
        })
        return { outcome: attempts.get(attempt.idempotencyKey) ?? 'declined' }
      }
    },
    restriction: {
      async restrict({ order, idempotencyKey }: { order: number; idempotencyKey: string }) {
        await world.onRestrict()
        world.once(idempotencyKey, () => told.push('restrict'))
        world.obey(order, true)
      },
      async restore({ order, idempotencyKey }: { order: number; idempotencyKey: string }) {
        world.once(idempotencyKey, () => told.push('restore'))
        world.obey(order, false)
      }
    }
  })
}

export const schemas = [auditSchema, scheduleSchema, meteringSchema]

export function start(
  db: SqlDatabase,
  world: ReturnType<typeof makeWorld>,
  platform: ReturnType<typeof testPlatform>,
  policy?: DunningPolicy
) {
  const events: string[] = []
  const dunning = createDunning({
    db,
    notifier: world.notifier,
    payments: world.payments,
    restriction: world.restriction,
    audit: createAuditLog({ db, platform }),
    platform,
    observe: ({ type }) => events.push(type),
    ...(policy === undefined ? {} : { policy })
  })
  /** Everything that is due, and what falls due by it. */
  const work = async (): Promise<void> => {
    for (const duty of dunning.duties) {
      while ((await duty.run({ signal: new AbortController().signal })).handled > 0);
    }
  }
  const workAt = async (at: number): Promise<void> => {
    platform.clock.jumpWallTo(at)
    await work()
  }
  return { dunning, work, workAt, events }
}

export async function stage(options: { answers?: readonly PaymentAnswer['outcome'][]; policy?: DunningPolicy } = {}) {
  const platform = testPlatform({ now: FAILED_AT })
  const db = withStoreClock(sqliteDatabase({ path: ':memory:', platform }), platform.clock)
  await migrate(db, schemas)
  const world = makeWorld(options.answers)
  return { db, world, platform, ...start(db, world, platform, options.policy), [Symbol.asyncDispose]: () => db.close() }
}

export const actions = async (db: SqlDatabase): Promise<string[]> =>
  (await db.run(() => rows('select action from audit_entries order by position'))).map((row) => textOf(row, 'action'))
