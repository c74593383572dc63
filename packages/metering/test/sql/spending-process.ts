/**
 * Uses a quota as one of several processes, until it is refused or killed. Arguments: `sqlite` and a file, or `postgres`,
 * a URL and a schema; then its name. Prints a line for each answer: a key and what was charged under it.
 */
import { postgresDatabase } from '@enablement/core/postgres'
import type { SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { sqlQuotaStore } from '@enablement/metering/sql'
import { Pool } from 'pg'
import { charges, quota, TENANT } from './spending-quota.ts'

const [kind, where = '', ...rest] = process.argv.slice(2)
const name = rest.at(-1) ?? ''

function database(): SqlDatabase {
  if (kind === 'sqlite') return sqliteDatabase({ path: where, durability: 'process' })
  return postgresDatabase(new Pool({ connectionString: where, max: 4, options: `-c search_path=${rest[0]}` }))
}

const db = database()
const store = sqlQuotaStore(db)
let refusals = 0

/** Spends and holds in turn; every fifth key is one that the other processes use, too. */
async function consumer(index: number): Promise<void> {
  for (let call = 0; refusals < 16; call++) {
    const isShared = call % 5 === 4
    const key = isShared ? `shared-${index}-${call}` : `${name}-${index}-${call}`
    const amount = isShared ? 2 : 1 + ((index + call) % 5)
    if (call % 3 === 2) await hold(key, amount)
    else await spend(key, amount)
    if (call % 7 === 0) await store.endExpired(10)
  }
}

async function spend(key: string, amount: number): Promise<void> {
  const [[answer] = []] = await store.consume(TENANT, [{ ...quota, charges, amounts: [amount], keys: [key] }])
  if (answer?.outcome === 'consumed') process.stdout.write(`spend:${key} ${amount}\n`)
  else refusals += 1
}

async function hold(key: string, amount: number): Promise<void> {
  const made = await store.hold(TENANT, {
    ...quota,
    charges,
    key,
    amount,
    amountMin: amount,
    ttlMs: 60_000,
    onExpiry: 'returned'
  })
  if (made.outcome === 'refused') refusals += 1
  if (made.outcome !== 'held') return
  const end = await store.settle(TENANT, { ...quota, charges, key, actual: amount - 1 })
  if (end.outcome === 'settled') process.stdout.write(`hold:${key} ${end.charged}\n`)
}

await Promise.all(Array.from({ length: 8 }, (_, index) => consumer(index)))
await db.close()
// The event loop would wait for its idle connections.
process.exit()
