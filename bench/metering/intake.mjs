// One usage event checked, against zod's safeParse of the same shape: events of one source, as a batch of them has, and
// events of which no two share a text, so that nothing remembered helps; and `record` from 64 callers on SQLite, from the
// event to the synced ledger with its totals, against one transaction for each event.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { DatabaseSync } from 'node:sqlite'
import { migrate } from '@enablement/core/sql'
import { createMeter, parseUsageEvent } from '@enablement/metering'
import { meteringSchema, sqlUsageStore } from '@enablement/metering/sql'
import { z } from 'zod'
import { openSqlite } from '../databases.mjs'
import { countRate, medians, row, some } from '../measuring.mjs'

const AT = Date.now()
const eventOf = (at) => ({
  tenant: 'org_42',
  subscription: 'sub_42',
  transactionId: `0f9c1c2e-5b1d-7000-8000-${at.toString(16).padStart(12, '0')}`,
  metric: 'llm-tokens',
  quantity: 1 + (at % 4_096),
  at: AT,
  properties: { model: 'small', region: 'eu-1', cached: false }
})

/** Shares no text with another, but for the names of its fields. */
const strangerOf = (at) => ({
  ...eventOf(at),
  tenant: `org_${at}`,
  subscription: `sub_${at}`,
  metric: `tokens-${at}`,
  properties: { model: `small-${at}`, region: `eu-${at}`, cached: false }
})

// Ours checks in addition the bytes of the names, and that the properties are well-formed, plain and within their bounds.
async function validate() {
  const events = Array.from({ length: 4_096 }, (_, at) => eventOf(at))
  const strangers = Array.from({ length: 4_096 }, (_, at) => JSON.stringify(strangerOf(at)))
  const name = z
    .string()
    .min(1)
    .max(255)
    .regex(/^(?=.*\S)[^\p{Cc}\p{Cs}]+$/u)
  const schema = z.strictObject({
    tenant: name,
    subscription: name,
    transactionId: name,
    metric: name,
    quantity: z.number().int().min(0).max(9_000_000_000_000_000),
    at: z.number().int().min(946_684_800_000).lt(253_402_300_800_000),
    properties: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])).optional()
  })
  const rate = (count, check) => {
    const startedAt = performance.now()
    for (let at = 0; at < count; at++) if (!check(events[at & 4_095])) throw new Error('a good event was refused')
    return (count * 1_000) / (performance.now() - startedAt)
  }
  /** Each event is parsed from JSON before it is checked, which is not timed, and checked once. */
  const rateOfStrangers = (count, check) => {
    let spentMs = 0
    let done = 0
    for (; done < count; done += strangers.length) {
      const parsed = strangers.map((text) => JSON.parse(text))
      const startedAt = performance.now()
      for (const event of parsed) if (!check(event)) throw new Error('a good event was refused')
      spentMs += performance.now() - startedAt
    }
    return (done * 1_000) / spentMs
  }
  const ours = (event) => parseUsageEvent(event).outcome === 'accepted'
  const theirs = (event) => schema.safeParse(event).success
  const found = await medians({
    ours: () => rate(some(4_000_000), ours),
    theirs: () => rate(some(400_000), theirs),
    strangers: () => rateOfStrangers(some(1_000_000), ours),
    theirStrangers: () => rateOfStrangers(some(200_000), theirs)
  })
  const peer = 'zod 4.6.7 safeParse'
  const unit = 'events/s'
  return [
    row({ id: 'validate', ours: found.ours, peer, theirs: found.theirs, unit }),
    row({ id: 'validate-no-text-twice', ours: found.strangers, peer, theirs: found.theirStrangers, unit })
  ]
}

/** The same rows, each event in a transaction of its own. */
function openOneByOne() {
  const folder = mkdtempSync(join(tmpdir(), 'enablement-bench-'))
  const db = new DatabaseSync(join(folder, 'peer.db'))
  db.exec('pragma journal_mode = wal; pragma synchronous = full')
  db.exec(`create table usage(tenant text, subscription text, transaction_id text, metric text, quantity integer,
    used_at integer, properties text, received_at integer, primary key (tenant, subscription, transaction_id))`)
  db.exec(`create table hours(tenant text, subscription text, metric text, hour_at integer, quantity integer,
    events integer, primary key (tenant, subscription, metric, hour_at))`)
  const insert = db.prepare('insert into usage values (?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing')
  const add = db.prepare(`insert into hours values (?, ?, ?, ?, ?, 1) on conflict do update set
    quantity = quantity + excluded.quantity, events = events + 1`)
  return {
    record({ tenant, subscription, transactionId, metric, quantity, at, properties }) {
      db.exec('begin immediate')
      insert.run(tenant, subscription, transactionId, metric, quantity, at, JSON.stringify(properties), Date.now())
      add.run(tenant, subscription, metric, at - (at % 3_600_000), quantity)
      db.exec('commit')
    },
    close() {
      db.close()
      rmSync(folder, { recursive: true })
    }
  }
}

async function durable() {
  const [sqlite, peer] = [openSqlite(), openOneByOne()]
  try {
    await migrate(sqlite.db, [meteringSchema])
    const meter = createMeter({ store: sqlUsageStore(sqlite.db) })
    let made = 0
    const next = () => {
      made += 1
      return eventOf(made)
    }
    const found = await medians({
      ours: () => countRate(64, some(60_000), () => meter.record(next())),
      theirs: () => countRate(1, some(6_000), async () => peer.record(next()))
    })
    return row({
      id: 'sqlite-durable',
      ours: found.ours,
      peer: 'one transaction for each event, node:sqlite, synchronous=full',
      theirs: found.theirs,
      unit: 'events/s'
    })
  } finally {
    await sqlite.close()
    peer.close()
  }
}

export const rows = async () => [...(await validate()), await durable()]
