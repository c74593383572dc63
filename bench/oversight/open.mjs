// Requests opened per second, durably and with their audit entries and the invitations of the first tier in the outbox,
// against single adds of delayed jobs to BullMQ on a Redis that is as durable: one after another, and, in rows of their
// own, by as many callers, whose adds ioredis sends in one pipeline and Redis writes with one sync.
import { startRedis } from '../../tooling/services/src/index.ts'
import { openBullmq } from '../bullmq.mjs'
import { openPostgres, openSqlite } from '../databases.mjs'
import { countRate, medians, row, some } from '../measuring.mjs'
import { makeOversight } from './make-oversight.mjs'

const ON_SQLITE = { callers: 64, count: some(10_000) }
const ON_POSTGRES = { callers: 16, count: some(4_000) }
const PAYLOAD = { summary: 'Refund 12.00 for order 118', detail: { order: '118', cents: 1_200 }, agent: 'agent-7' }

export async function rows() {
  const [sqlite, postgres, redis] = [openSqlite(), await openPostgres(ON_POSTGRES.callers), await startRedis()]
  const bullmq = await openBullmq(redis.url, { durable: true, payload: PAYLOAD })
  const adding = async ({ callers, count }) => {
    const perSecond = await countRate(callers, count, (at) => bullmq.add(`request-${at}`))
    await bullmq.clear()
    return perSecond
  }
  try {
    const [onSqlite, onPostgres] = [await makeOversight(sqlite.db), await makeOversight(postgres.db)]
    const found = await medians({
      sqlite: () => countRate(ON_SQLITE.callers, ON_SQLITE.count, onSqlite.open),
      adds: () => adding({ ...ON_SQLITE, callers: 1 }),
      adds64: () => adding(ON_SQLITE),
      postgres: async () => {
        await postgres.tidy()
        return countRate(ON_POSTGRES.callers, ON_POSTGRES.count, onPostgres.open)
      },
      adds16: () => adding(ON_POSTGRES)
    })
    const unit = 'requests/s'
    const peer = (callers) => `BullMQ single add of a delayed job, appendfsync always, ${callers}`
    return [
      row({ id: 'open-sqlite', ours: found.sqlite, peer: peer('one after another'), theirs: found.adds, unit }),
      row({ id: 'open-postgres', ours: found.postgres, peer: peer('one after another'), theirs: found.adds, unit }),
      row({ id: 'open-sqlite-64-adders', ours: found.sqlite, peer: peer('64 callers'), theirs: found.adds64, unit }),
      row({ id: 'open-postgres-16-adders', ours: found.postgres, peer: peer('16 callers'), theirs: found.adds16, unit })
    ]
  } finally {
    await Promise.all([bullmq.close(), sqlite.close(), postgres.close()])
    await redis.stop()
  }
}
