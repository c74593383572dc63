import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { seededRandom, virtualClock, withStoreClock } from '@enablement/core/testing'
import { type CreditStore, createCredits, type Wallet } from '@enablement/metering'
import { memoryCreditStore } from '@enablement/metering/memory'
import { meteringSchema, sqlCreditStore } from '@enablement/metering/sql'
import { test } from '@fast-check/vitest'
import { describe, expect, inject, it } from 'vitest'
import { type Act, derived, type History, histories, perform, referenceWallet } from './reference-wallet.ts'

const scale = inject('scale')
const START_AT = Date.UTC(2040, 7, 10)

const walletIn = (store: CreditStore, account: string): Wallet =>
  createCredits({
    store,
    units: [{ name: 'credits', scale: 0 }],
    overdraft: { upTo: '20' },
    onOverrun: 'owe',
    expiredReversal: 'breakage'
  }).wallet({ tenant: 'org', account, unit: 'credits' })

/** A release that comes after the commit says so, and has no first answer to repeat. */
const isRepeatable = ({ act }: Act): boolean => act !== 'release'

async function playOnReference(store: CreditStore, clock: ReturnType<typeof virtualClock>, history: History) {
  const wallet = walletIn(store, 'acc')
  const model = referenceWallet()
  let now = 0
  const first = new Map<string, unknown>()
  for (const [step, { passMs, act, again }] of history.entries()) {
    now += passMs
    clock.jumpWallTo(START_AT + now)
    model.pass(now)
    const known = JSON.stringify([act.act === 'hold' ? 'hold' : act.act, act.key, 'amount' in act ? act.amount : 0])
    const answer = await perform(wallet, act, START_AT + now, step)
    if ('replayed' in answer && answer.replayed === true && act.act !== 'release') {
      expect(first.has(known)).toBe(true)
      continue
    }
    if (answer.outcome === 'ended') continue
    if (answer.outcome === 'expired') continue
    const expected =
      act.act === 'grant'
        ? model.grant(act.key, act.amount, act.ms)
        : act.act === 'charge'
          ? model.charge(act.key, act.amount)
          : act.act === 'hold'
            ? model.hold(act.key, act.amount, act.ms)
            : act.act === 'commit'
              ? model.commit(act.key, act.amount)
              : act.act === 'release'
                ? model.release(act.key)
                : model.reverse(act.key, act.amount)
    expect([known, answer.outcome]).toEqual([known, expected])
    first.set(known, answer)
    if (
      again &&
      isRepeatable(act) &&
      ['granted', 'charged', 'held', 'committed', 'reversed'].includes(answer.outcome)
    ) {
      expect(await perform(wallet, act, START_AT + now, step)).toEqual({ ...answer, replayed: true })
    }
    const { balance, owed, lots } = model.balance()
    const sums = await derived(wallet)
    expect([sums.balance, sums.owed]).toEqual([BigInt(balance), BigInt(owed)])
    for (const [grant, free] of lots) expect(sums.grants.get(grant)?.free ?? 0n).toBe(BigInt(free))
  }
}

const onSqlite = async () => {
  const clock = virtualClock()
  const db = withStoreClock(sqliteDatabase({ path: ':memory:' }), clock)
  await migrate(db, [meteringSchema])
  return { db, clock, store: sqlCreditStore(db) }
}
const inMemory = () => {
  const clock = virtualClock()
  return { clock, store: memoryCreditStore({ platform: { clock, random: seededRandom(1) } }) }
}

describe('a wallet', () => {
  test.prop([histories], { numRuns: Math.ceil(150 * scale) })(
    'answers as the reference does, and its ledger adds up to its balance after every call',
    async (history) => {
      const { store, clock } = inMemory()
      await playOnReference(store, clock, history)
    }
  )

  test.prop([histories], { numRuns: Math.ceil(15 * scale) })('does so on SQLite', async (history) => {
    const { db, store, clock } = await onSqlite()
    await using _ = db
    await playOnReference(store, clock, history)
  })

  test.prop([histories], { numRuns: Math.ceil(100 * scale) })(
    'comes to one ledger whether it is looked at once or many times (E9)',
    async (history) => {
      const { store, clock } = inMemory()
      const [once, often] = [walletIn(store, 'once'), walletIn(store, 'often')]
      const duty = createCredits({ store, onOverrun: 'owe', expiredReversal: 'breakage' })
      let now = START_AT
      for (const [step, { passMs, act, cuts }] of history.entries()) {
        for (const cut of cuts.toSorted((a, b) => a - b)) {
          clock.jumpWallTo(now + Math.floor((passMs * cut) / 100))
          await often.balance()
        }
        now += passMs
        clock.jumpWallTo(now)
        const [a, b] = [await perform(once, act, now, step), await perform(often, act, now, step)]
        expect(b).toEqual(a)
      }
      clock.jumpWallTo(now + 100)
      await duty.duty().run({ signal: new AbortController().signal })
      const bare = async (wallet: Wallet) =>
        (await wallet.entries({ limit: 1_000 })).map((entry) => ({ ...entry, bookedAt: 0 }))
      expect(await bare(often)).toEqual(await bare(once))
    }
  )
})

describe('the ledger of a wallet', () => {
  it('is read in pages', async () => {
    const { store, clock } = inMemory()
    clock.jumpWallTo(START_AT)
    const wallet = walletIn(store, 'acc')
    for (let at = 0; at < 5; at++) await wallet.grant({ id: `g${at}`, amount: '1' })
    expect((await wallet.entries({ after: 3, limit: 1 })).map(({ sequence }) => sequence)).toEqual([4])
    expect(await wallet.entries({ after: 5 })).toEqual([])
  })
})
