// Decisions with their audit entries per second, from 16 connections of one tenant to a Postgres that syncs: an entry
// that a sealer makes a leaf of later, against the usual way, a hash chain whose head each unit locks. Both units write
// the same decision and an entry of the same text; rounds are interleaved, and the medians are compared.
import { createHash } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { auditSchema, createAuditLog } from '@enablement/core/audit'
import { postgresDatabase } from '@enablement/core/postgres'
import { execute, firstRow, migrate } from '@enablement/core/sql'
import pg from 'pg'
import { startPostgres } from '../../tooling/services/src/index.ts'

const CALLERS = 16
const ROUNDS = 9
const ROUND_MS = 400

const detail = { amountCents: 1_200, currency: 'EUR', reason: 'within the budget of the team' }
let made = 0

/** Units that `CALLERS` callers finish in a round, per second. */
async function rate(unit) {
  const startedAt = performance.now()
  const endsAt = startedAt + ROUND_MS
  let done = 0
  const caller = async () => {
    while (performance.now() < endsAt) {
      await unit()
      done += 1
    }
  }
  await Promise.all(Array.from({ length: CALLERS }, caller))
  return (done * 1_000) / (performance.now() - startedAt)
}

function* decide() {
  made += 1
  yield* execute('insert into decisions(id) values (?)', made)
  return { tenant: 'org_42', actor: 'approver:bo', action: 'request.approved', subject: `request:${made}`, detail }
}

/** A chain with one head: lock it, hash the entry onto it, move it. */
function* chain(draft) {
  const head = yield* firstRow('select sequence, hash from chain_heads where tenant = ? for update', draft.tenant)
  const sequence = head.sequence + 1
  const entry = JSON.stringify({ ...draft, sequence, at: Date.now() })
  const hash = createHash('sha256').update(head.hash).update(entry).digest('hex')
  yield* execute(
    'insert into chain(tenant, sequence, entry, hash) values (?, ?, ?, ?)',
    draft.tenant,
    sequence,
    entry,
    hash
  )
  yield* execute('update chain_heads set sequence = ?, hash = ? where tenant = ?', sequence, hash, draft.tenant)
}

const median = (rates) => rates.toSorted((one, other) => one - other)[rates.length >> 1]

/** The row of the bench protocol; `ratio` above 1 means that ours is better. */
export async function rows() {
  const server = await startPostgres({ fsync: true })
  const pool = new pg.Pool({ connectionString: server.url, max: CALLERS })
  const rates = { ours: [], theirs: [] }
  try {
    const db = postgresDatabase(pool)
    await migrate(db, [auditSchema])
    await pool.query(`create table decisions (id bigint primary key);
      create table chain_heads (tenant text primary key, sequence bigint not null, hash text not null);
      create table chain (tenant text, sequence bigint, entry text not null, hash text not null, primary key (tenant, sequence));
      insert into chain_heads values ('org_42', 0, '')`)
    const log = createAuditLog({ db })
    const ours = () =>
      db.run(function* () {
        yield* log.append(yield* decide())
      })
    const theirs = () =>
      db.run(function* () {
        yield* chain(yield* decide())
      })
    for (let round = -1; round < ROUNDS; round++) {
      const our = await rate(ours)
      const their = await rate(theirs)
      // The first round warms both up.
      if (round < 0) continue
      rates.ours.push(our)
      rates.theirs.push(their)
    }
  } finally {
    await pool.end()
    await server.stop()
  }
  const [our, their] = [median(rates.ours), median(rates.theirs)]
  return [
    {
      id: 'audited-units-16',
      ours: Math.round(our),
      peer: 'a hash chain with a locked head, by hand',
      theirs: Math.round(their),
      unit: 'units/s on Postgres, one tenant',
      ratio: Number((our / their).toFixed(2))
    }
  ]
}
