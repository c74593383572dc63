import { systemClock } from '@enablement/core'
import { integerOf, rows, type SqlDatabase, textOf } from '@enablement/core/sql'
import { withStoreClock } from '@enablement/core/testing'
import { type CreditEntry, deriveWallet, type Invoice, type UsageEvent } from '@enablement/metering'
import { expect } from 'vitest'
import {
  billingClock,
  card,
  eventOf,
  limitsOf,
  OVERDRAFT,
  type Rooms,
  roomsOn,
  type Sizes,
  SUBSCRIPTIONS,
  TENANT
} from './contest.ts'
import type { Witness } from './witness.ts'

/** What happened, for whoever wonders whether the contest was one. */
export interface Tally {
  readonly events: number
  /** Events on adjustments: they came, or were in the ledger, after their own invoice. */
  readonly adjusted: number
  readonly refused: number
  readonly reversed: number
}

const DAY_MS = 86_400_000
/** Longer than every hold and lease that a dead process may have left behind. */
const HOLDS_MS = 600_000
const PAGE = 1_000

/** Holds what the stores say against each other, and against what processes were told. */
export async function checkContest(
  disk: SqlDatabase,
  witness: Witness,
  { sizes, startedAt }: { readonly sizes: Sizes; readonly startedAt: number }
): Promise<Tally> {
  const db = withStoreClock(disk, { ...systemClock, now: () => systemClock.now() + HOLDS_MS })
  const clock = billingClock(startedAt)
  let aheadMs = 0
  const told = witness.lines().filter(([word]) => word === 'told')
  const failures: unknown[] = []
  const rooms = roomsOn(db, { ...clock, now: () => clock.now() + aheadMs }, sizes, {
    observe: (event) => {
      if (event.type !== 'invoice.finalized') failures.push(event)
    }
  })
  const answersOf = (kind: string): ReadonlyMap<string, readonly (readonly string[])[]> => {
    const answers = new Map<string, string[][]>()
    for (const [, , name = '', ...answer] of told) {
      if (name.replace(/\d+$/, '') !== kind) continue
      answers.set(name, [...(answers.get(name) ?? []), answer])
    }
    return answers
  }

  for (const { name, calendar, starts } of SUBSCRIPTIONS) {
    await rooms.invoicing.enroll({ tenant: TENANT, subscription: name, calendar, at: starts[0] as number })
  }
  // Until each period that has events is on an invoice, and two more for what came late.
  for (let months = 0; months < 5; months++) {
    for (const duty of rooms.invoicing.duties) {
      while ((await duty.run({ signal: new AbortController().signal })).handled > 0);
    }
    aheadMs += 30 * DAY_MS
  }
  expect(failures).toEqual([])
  await checkUsage(db, rooms, sizes, answersOf('e'))
  const { adjusted } = await checkInvoices(db, rooms, sizes)
  const { refused } = await checkQuotas(db, rooms, sizes, answersOf)
  const { reversed } = await checkWallet(db, rooms, sizes, answersOf)
  await checkEvidence(db, rooms, sizes)
  await rooms.quotas.close()
  return { events: sizes.events, adjusted, refused, reversed }
}

/** The outcomes that are none of those expected. */
const outcomesBut = (
  answers: readonly (readonly string[])[],
  ...expected: readonly string[]
): readonly (readonly string[])[] => answers.filter(([outcome = '']) => !expected.includes(outcome))

type Answers = ReadonlyMap<string, readonly (readonly string[])[]>

const all = (count: number, kind: string): string[] => Array.from({ length: count }, (_, number) => `${kind}${number}`)
const sorted = (names: Iterable<string>): string[] => [...names].sort()

/** Each event is in the ledger once, as it was sent, and whoever sent it was told so. */
async function checkUsage(db: SqlDatabase, { usage }: Rooms, sizes: Sizes, answers: Answers): Promise<void> {
  const ledger = await db.run(() =>
    rows('select subscription, transaction_id, metric, quantity, used_at, state from metering_usage')
  )
  expect(sorted(ledger.map((row) => textOf(row, 'transaction_id')))).toEqual(sorted(all(sizes.events, 'e')))
  for (const row of ledger) {
    const sent = eventOf(Number(textOf(row, 'transaction_id').slice(1)))
    const { subscription, metric, quantity, at } = sent
    expect(row).toMatchObject({ subscription, metric, quantity, used_at: at, state: 'counted' })
  }
  for (const [name, outcomes] of answers) {
    const firsts = outcomes.filter(([outcome]) => outcome !== 'duplicate')
    expect(firsts.length, `${name} was recorded`).toBeLessThanOrEqual(1)
    expect(outcomesBut(outcomes, 'recorded', 'late', 'duplicate')).toEqual([])
  }
  expect(answers.size).toBe(sizes.events)
  // The hours, which only ever are added to, say what the events say.
  for (const { name, starts } of SUBSCRIPTIONS) {
    const range = {
      tenant: TENANT,
      subscription: name,
      from: starts[0] as number,
      to: (starts.at(-1) as number) + 30 * DAY_MS
    }
    expect(await usage.totals({ ...range, late: 'included' })).toEqual(totalsOf(sentTo(name, sizes)))
  }
}

const sentTo = (subscription: string, { events }: Sizes): UsageEvent[] =>
  Array.from({ length: events }, (_, number) => eventOf(number)).filter((event) => event.subscription === subscription)

function totalsOf(events: readonly UsageEvent[]) {
  return ['seats', 'tokens'].flatMap((metric) => {
    const quantities = events.filter((event) => event.metric === metric).map(({ quantity }) => quantity)
    if (quantities.length === 0) return []
    const quantity = metric === 'seats' ? Math.max(...quantities) : quantities.reduce((sum, one) => sum + one, 0)
    const rollup = metric === 'seats' ? 'max' : 'sum'
    return [{ metric, rollup, quantity: BigInt(quantity), events: quantities.length }]
  })
}

/** Each period has one final invoice, and all of them together bill each event once, for what the whole costs. */
async function checkInvoices(
  db: SqlDatabase,
  { invoices }: Rooms,
  sizes: Sizes
): Promise<{ readonly adjusted: number }> {
  const found = await db.run(() =>
    rows('select subscription, period_from, period_to, status from metering_invoices order by period_from')
  )
  expect(found.every(({ status }) => status === 'final')).toBe(true)
  const made: Invoice[] = []
  for (const row of found) {
    const period = { from: integerOf(row, 'period_from'), to: integerOf(row, 'period_to') }
    made.push((await invoices.find(TENANT, textOf(row, 'subscription'), period)) as Invoice)
  }
  let adjusted = 0
  const credits: string[] = []
  for (const { lines, minorUnits } of made) {
    expect(lines.reduce((sum, line) => sum + line.minorUnits, 0n)).toBe(minorUnits)
    credits.push(...lines.filter(({ kind }) => kind === 'credit').map(({ description }) => description))
    for (const { kind, events = 0 } of lines) if (kind === 'adjustment') adjusted += events
  }
  expect(sorted(credits)).toEqual(sorted(all(sizes.adjustments, 'credit')))
  for (const { name, starts } of SUBSCRIPTIONS) {
    const own = made.filter(({ subscription }) => subscription === name)
    for (const from of starts) {
      const period = { from, to: from + 30 * DAY_MS }
      const used = sentTo(name, sizes).filter(({ at }) => at >= period.from && at < period.to)
      const due = totalsOf(used).map(({ metric, quantity, events }) => {
        return { metric, quantity, events, minorUnits: card.price(metric, quantity).minorUnits }
      })
      expect(await invoices.billed(TENANT, name, period)).toEqual(due)
      expect(own.filter((invoice) => invoice.period.from === from)).toHaveLength(1)
    }
    const billed = own.flatMap(({ lines }) => lines).reduce((sum, { events = 0 }) => sum + events, 0)
    expect(billed).toBe(sentTo(name, sizes).length)
    expect(await invoices.pending(TENANT, name)).toEqual([])
  }
  return { adjusted }
}

/** No more was sold than there is, each key took once what its callers were told, and nothing is held any more. */
async function checkQuotas(
  db: SqlDatabase,
  { quotas, quotaStore }: Rooms,
  sizes: Sizes,
  answersOf: (kind: string) => Answers
): Promise<{ readonly refused: number }> {
  expect((await quotaStore.endExpired(PAGE)).length).toBeLessThan(PAGE)
  const spends = await amountsIn(
    db,
    'select scope, idempotency_key as name, amount as charged from metering_quota_spends'
  )
  const holds = await amountsIn(
    db,
    'select scope, hold_key as name, coalesce(charged, 0) as charged from metering_quota_holds where forget_at is not null'
  )
  let refused = 0
  for (const [name, answers] of answersOf('spend')) {
    const spent = spends.filter((one) => one.name === name)
    expect(spent.length).toBeLessThanOrEqual(1)
    const bought = answers.filter(([outcome]) => outcome === 'consumed')
    refused += answers.length - bought.length
    for (const [, amount] of bought) expect(Number(amount)).toBe(spent[0]?.charged)
    expect(outcomesBut(answers, 'consumed', 'refused')).toEqual([])
  }
  for (const [name, answers] of answersOf('hold')) {
    const ended = holds.filter((one) => one.name === name)
    expect(ended.length).toBeLessThanOrEqual(1)
    const settled = answers.filter(([outcome]) => outcome === 'settled')
    refused += answers.length - settled.length
    const isShort = Number(name.slice(4)) % 5 === 0
    for (const [, , charged] of settled) {
      // One that was found to have expired may have been settled after that.
      if (!isShort || charged !== '0') expect(Number(charged)).toBe(ended[0]?.charged)
    }
    expect(outcomesBut(answers, 'settled', 'refused')).toEqual([])
  }
  const open = await db.run(() => rows('select hold_key from metering_quota_holds where forget_at is null'))
  expect(open).toEqual([])
  const [units, leased] = limitsOf(sizes)
  for (const [path, quantity] of [
    [[], units?.quantity],
    [['team'], units?.eachChild?.quantity]
  ] as const) {
    const level = await levelOf(quotas, 'units', path)
    const named = [...spends, ...holds].filter(({ scope, name }) => isUnits(scope, name, path.length === 1))
    expect(level).toMatchObject({ held: 0, used: named.reduce((sum, { charged }) => sum + charged, 0) })
    expect(level.used).toBeLessThanOrEqual(quantity as number)
  }
  const took = [...answersOf('take').values()].flat().filter(([outcome]) => outcome === 'consumed').length
  const { used, held } = await levelOf(quotas, 'leased', [])
  expect(held).toBe(0)
  expect(took).toBeLessThanOrEqual(used)
  expect(used).toBeLessThanOrEqual(leased?.quantity as number)
  expect(await levelOf(quotas, 'slots', [])).toMatchObject({ used: 0, held: 0 })
  return { refused }
}

/** Whether a key drew on `units`: every spend did, and the holds that were not of `slots`; every other one at the team. */
function isUnits(scope: string, name: string, ofTeam: boolean): boolean {
  const number = Number(name.replace(/^\D+/, ''))
  if (name.startsWith('hold') ? number % 4 === 3 : !name.startsWith('spend')) return false
  expect(scope).toContain('units')
  return !ofTeam || number % 2 === 1
}

async function levelOf(quotas: Rooms['quotas'], limit: string, path: readonly string[]) {
  const known = await quotas.bind({ tenant: TENANT, path, limit }).remaining()
  if (known.outcome !== 'known') throw new Error(`nothing is known of ${limit}`)
  return known.levels[0] as (typeof known.levels)[number]
}

async function amountsIn(db: SqlDatabase, text: string) {
  const found = await db.run(() => rows(text))
  return found.map((row) => ({
    scope: textOf(row, 'scope'),
    name: textOf(row, 'name'),
    charged: integerOf(row, 'charged')
  }))
}

/** The wallet is what its ledger adds up to, each key is in it once, and it never owed more than it may. */
async function checkWallet(
  db: SqlDatabase,
  { wallet }: Rooms,
  sizes: Sizes,
  answersOf: (kind: string) => Answers
): Promise<{ readonly reversed: number }> {
  // Books what has lapsed.
  const balance = await wallet.balance()
  const entries: CreditEntry[] = []
  for (;;) {
    const page = await wallet.entries({ after: entries.length, limit: PAGE })
    if (page.length === 0) break
    entries.push(...page)
  }
  expect(entries.map(({ sequence }) => sequence)).toEqual(entries.map((_, at) => at + 1))
  const exact = entries.map((entry) => ({ ...entry, amount: BigInt(entry.amount) }))
  const sums = deriveWallet(exact)
  expect(balance).toMatchObject({
    balance: `${sums.balance}`,
    free: `${sums.free}`,
    held: '0',
    waiting: '0',
    owed: `${sums.owed}`
  })
  expect(sums.held).toBe(0n)
  for (const [at, { balance: told }] of entries.entries()) {
    // Adding up a prefix each time is quadratic; a tenth of them is enough for the sums, and each is for the limit.
    expect(BigInt(told)).toBeGreaterThanOrEqual(BigInt(-OVERDRAFT))
    if (at % 10 === 0) expect(`${deriveWallet(exact.slice(0, at + 1)).balance}`).toBe(told)
  }
  const lots = await db.run(() => rows('select grant_id, free, held from metering_credit_lots'))
  expect(lots.reduce((sum, row) => sum + BigInt(integerOf(row, 'free')), 0n)).toBe(sums.free)
  expect(sorted(lots.map((row) => textOf(row, 'grant_id')))).toEqual(sorted(all(sizes.grants, 'grant')))
  const granted = exact.filter(({ kind }) => kind === 'granted').reduce((sum, { amount }) => sum + amount, 0n)
  expect(granted).toBe(BigInt(20 * sizes.grants))

  /** What entries of a call took: out of grants, or into debt. */
  const tookUnder = (call: string, reference: string): bigint =>
    exact
      .filter((entry) => entry.call === call && entry.reference === reference)
      .reduce((sum, { kind, amount }) => sum + (TAKES[kind] ?? 0n) * amount, 0n)
  let reversed = 0
  let net = 0n
  for (const [name, answers] of answersOf('charge')) {
    const number = Number(name.slice(6))
    const took = tookUnder('charge', name)
    const back = exact
      .filter(({ call, reference }) => call === 'reverse' && reference === `back-${name}`)
      .filter(({ kind }) => kind === 'reversed' || kind === 'repaid')
      .reduce((sum, { amount }) => sum + amount, 0n)
    expect([0n, BigInt(1 + (number % 6))]).toContain(took)
    const charged = answers.filter(([outcome]) => outcome === 'charged')
    if (charged.length > 0) expect(took).toBeGreaterThan(0n)
    if (charged.some(([, outcome]) => outcome === 'reversed')) expect(back).toBe(1n)
    expect(back).toBeLessThanOrEqual(took === 0n || number % 4 !== 0 ? 0n : 1n)
    expect(outcomesBut(answers, 'charged', 'insufficient-credits')).toEqual([])
    reversed += Number(back)
    net += took - back
  }
  for (const [name, answers] of answersOf('pin')) {
    const took = tookUnder('commit', name)
    expect(took).toBeLessThanOrEqual(3n)
    const isLate = Number(name.slice(3)) % 5 === 0
    // What a late commit finds no credits for is waived.
    if (answers.some(([outcome]) => outcome === 'committed') && !isLate) expect(took).toBe(3n)
    if (answers.some(([outcome]) => outcome === 'released')) expect(took).toBe(0n)
    net += took
  }
  expect(granted - net).toBe(sums.balance)
  return { reversed }
}

const TAKES: Readonly<Record<string, bigint>> = { charged: 1n, captured: 1n, overdrawn: 1n }

/** The record is whole, and says each thing once. */
async function checkEvidence(db: SqlDatabase, { audit }: Rooms, sizes: Sizes): Promise<void> {
  expect(await audit.verify(TENANT)).toMatchObject({ outcome: 'intact' })
  const said = new Map<string, number>()
  let count = 0
  for (;;) {
    const page = await audit.read(TENANT, { after: count, limit: PAGE })
    if (page.length === 0) break
    count += page.length
    for (const { action, subject } of page)
      said.set(`${action} ${subject}`, (said.get(`${action} ${subject}`) ?? 0) + 1)
  }
  const subjects = (action: string): string[] =>
    [...said.keys()].filter((key) => key.startsWith(`${action} `)).map((key) => key.slice(action.length + 1))
  expect([...said].filter(([key, times]) => times !== 1 && !key.startsWith('credits.reversed'))).toEqual([])
  expect(sorted(subjects('usage.recorded'))).toEqual(sorted(all(sizes.events, 'usage:e')))
  const invoiced = await db.run(() => rows('select invoice_id from metering_invoices'))
  expect(sorted(subjects('invoice.finalized'))).toEqual(
    sorted(invoiced.map((row) => `invoice:${textOf(row, 'invoice_id')}`))
  )
  const charges = await db.run(() => rows('select charge, state, made from metering_credit_charges'))
  const named = [...subjects('credits.charged'), ...subjects('credits.held')].map((subject) =>
    subject.replace(/^\w+:/, '')
  )
  expect(sorted(named)).toEqual(sorted(charges.map((row) => textOf(row, 'charge'))))
}
