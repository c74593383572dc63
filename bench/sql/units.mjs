// Durable units of work per second from 64 callers on one SQLite file, against the usual way to use it: one transaction
// each. Both run the same statements under the same pragmas through `node:sqlite`, and both are durable when they
// answer; ours lets units that wait share a commit. Rounds are interleaved, and the medians are compared.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { DatabaseSync } from 'node:sqlite'
import { changes, execute } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'

const CALLERS = 64
const ROUNDS = 9
const ROUND_MS = 400

const TABLES = [
  'create table wallets (id text primary key, units integer not null check (units >= 0)) strict',
  'create table entries (id integer primary key, wallet text not null, body text not null) strict'
]
const SPEND = 'update wallets set units = units - ? where id = ? and units >= ?'
const RECORD = 'insert into entries(wallet, body) values (?, ?)'
const BODY = JSON.stringify({ action: 'wallet.spent', units: 1, at: 1_760_000_000_000, note: 'x'.repeat(120) })
const FUNDS = 1_000_000_000

/** Units that `CALLERS` callers finish in a round, per second. */
async function rate(unit) {
  const startedAt = performance.now()
  const endsAt = startedAt + ROUND_MS
  let done = 0
  const caller = async (number) => {
    while (performance.now() < endsAt) {
      await unit(number)
      done += 1
    }
  }
  await Promise.all(Array.from({ length: CALLERS }, (_, number) => caller(number)))
  return (done * 1_000) / (performance.now() - startedAt)
}

async function openOurs(path) {
  const db = sqliteDatabase({ path, durability: 'power-loss' })
  for (const table of TABLES) await db.run(() => execute(table))
  await db.run(function* () {
    for (let number = 0; number < CALLERS; number++) {
      yield* execute('insert into wallets values (?, ?)', `wallet-${number}`, FUNDS)
    }
  })
  return {
    unit: (number) =>
      db.run(function* () {
        if ((yield* changes(SPEND, 1, `wallet-${number}`, 1)) !== 1) throw new Error('no funds')
        yield* execute(RECORD, `wallet-${number}`, BODY)
      }),
    close: () => db.close()
  }
}

function openTheirs(path) {
  const db = new DatabaseSync(path)
  db.exec('pragma journal_mode = wal; pragma synchronous = full')
  for (const table of TABLES) db.exec(table)
  for (let number = 0; number < CALLERS; number++) {
    db.prepare('insert into wallets values (?, ?)').run(`wallet-${number}`, FUNDS)
  }
  const begin = db.prepare('begin immediate')
  const commit = db.prepare('commit')
  const spend = db.prepare(SPEND)
  const record = db.prepare(RECORD)
  return {
    unit: async (number) => {
      begin.run()
      try {
        if (spend.run(1, `wallet-${number}`, 1).changes !== 1) throw new Error('no funds')
        record.run(`wallet-${number}`, BODY)
        commit.run()
      } catch (error) {
        db.exec('rollback')
        throw error
      }
    },
    close: async () => db.close()
  }
}

const median = (rates) => rates.toSorted((one, other) => one - other)[rates.length >> 1]

/** The row of the bench protocol; `ratio` above 1 means that ours is better. */
export async function rows() {
  const folder = mkdtempSync(join(tmpdir(), 'enablement-bench-sql-'))
  const ours = await openOurs(join(folder, 'ours.db'))
  const theirs = openTheirs(join(folder, 'theirs.db'))
  const rates = { ours: [], theirs: [] }
  try {
    for (let round = -1; round < ROUNDS; round++) {
      const [our, their] = [await rate(ours.unit), await rate(theirs.unit)]
      // The first round warms both up.
      if (round < 0) continue
      rates.ours.push(our)
      rates.theirs.push(their)
    }
  } finally {
    await ours.close()
    await theirs.close()
    rmSync(folder, { recursive: true })
  }
  const [our, their] = [median(rates.ours), median(rates.theirs)]
  return [
    {
      id: 'units-64-callers',
      ours: Math.round(our),
      peer: 'node:sqlite, one transaction each',
      theirs: Math.round(their),
      unit: 'durable units/s',
      ratio: Number((our / their).toFixed(2))
    }
  ]
}
