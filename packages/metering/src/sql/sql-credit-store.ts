import { parseOptions } from '@enablement/core'
import type { AuditLog } from '@enablement/core/audit'
import {
  execute,
  firstRow,
  jsonRows,
  rows,
  type Sql,
  type SqlDatabase,
  type SqlRow,
  textOf
} from '@enablement/core/sql'
import { z } from 'zod'
import type { CreditStore, WalletName, WalletRecord, WalletRows } from '../credit/credit-store.ts'
import { walletKey } from '../credit/wallet-key.ts'
import { storeNow } from '../store-clock.ts'
import { auditOption } from './audit-option.ts'
import { callOf, chargeOf, creditWriter, entryOf, fundingOf, lotOf, read, walletOf } from './credit-rows.ts'

/** What goes with the wallets. */
export interface SqlCreditStoreOptions {
  /** A log in the same database: each grant, charge, hold, reversal and expiry is appended in the unit that books it. */
  readonly audit?: AuditLog
}

/** Drafts that one append takes. */
const DRAFTS_MAX = 1_000

const optionsSchema: z.ZodType<SqlCreditStoreOptions> = z.strictObject({
  audit: auditOption.exactOptional()
})

/** Wallets in a database that has taken `meteringSchema`. Expiry follows the database's clock. Throws `INVALID_OPTIONS`. */
export function sqlCreditStore(db: SqlDatabase, options: SqlCreditStoreOptions = {}): CreditStore {
  const { audit } = parseOptions(optionsSchema, 'sqlCreditStore', options)
  const write = creditWriter(db.dialect)
  const numbers = jsonRows(db.dialect, { lot: 'integer' })

  const rowsOf = (name: WalletName, wallet: WalletRecord | undefined, now: number): WalletRows => {
    const key = walletKey(name)
    return {
      now,
      wallet,
      spendable: (lane, after, limit) =>
        read(
          'metering_credit_lots',
          `lane = ? and burn_key > ? and state = 'active' and free > 0 order by burn_key limit ?`,
          lotOf,
          key,
          lane,
          after,
          limit
        ),
      *lots(wanted) {
        if (wanted.length === 0) return []
        return yield* read(
          'metering_credit_lots',
          `lot in (select given.lot from ${numbers.select} as given)`,
          lotOf,
          key,
          numbers.parameter(wanted.map((lot) => ({ lot })))
        )
      },
      lotsOf: (grant, after, limit) =>
        read(
          'metering_credit_lots',
          `grant_id = ? and lot > ? and state in ('pending', 'scheduled', 'active') order by lot limit ?`,
          lotOf,
          key,
          grant,
          after,
          limit
        ),
      dueLots: (until, limit) =>
        read(
          'metering_credit_lots',
          'due_at is not null and due_at <= ? order by due_at, state, lot limit ?',
          lotOf,
          key,
          until,
          limit
        ),
      dueHolds: (until, limit) =>
        read(
          'metering_credit_charges',
          'due_at is not null and due_at <= ? order by due_at, charge limit ?',
          chargeOf,
          key,
          until,
          limit
        ),
      *charge(charge) {
        return (yield* read('metering_credit_charges', 'charge = ?', chargeOf, key, charge))[0]
      },
      fundings: (charge) => read('metering_credit_fundings', 'charge = ? order by drawn', fundingOf, key, charge),
      settlements: (before, limit) =>
        read(
          'metering_credit_fundings',
          `charge = '' and drawn < ? and reversed < amount order by drawn desc limit ?`,
          fundingOf,
          key,
          before,
          limit
        ),
      *call(kind, callKey) {
        return (yield* read('metering_credit_calls', 'kind = ? and call_key = ?', callOf, key, kind, callKey))[0]
      },
      entries: (after, limit) =>
        read('metering_credit_entries', 'sequence > ? order by sequence limit ?', entryOf, key, after, limit),
      *write(changes) {
        yield* write(key, changes)
        if (audit === undefined) return
        const { tenant, account, unit } = name
        const drafts = changes.evidence.map(({ action, subject, detail }) => ({
          tenant,
          actor: 'system:metering',
          action,
          subject,
          detail: { account, unit, ...detail }
        }))
        for (let from = 0; from < drafts.length; from += DRAFTS_MAX) {
          yield* audit.appendAll(drafts.slice(from, from + DRAFTS_MAX))
        }
      },
      *reread() {
        const row = yield* firstRow('select * from metering_credit_wallets where wallet = ?', key)
        return rowsOf(name, row === undefined ? undefined : walletOf(row), now)
      }
    }
  }

  return {
    supports: { durable: db.supports.durable, shared: true },
    transact: (name, work, { create, signal }) =>
      db.run(
        function* () {
          const row = yield* lockedWallet(db, name, create)
          // Read after the lock was had, which may have taken long: this is the instant of the decision.
          const now = yield* storeNow(db.dialect)
          return yield* work(rowsOf(name, row === undefined ? undefined : walletOf(row), now))
        },
        signal === undefined ? {} : { signal }
      ),
    dueWallets: (limit, runOptions) =>
      db.run(function* () {
        const found = yield* rows(
          `select tenant, account, unit from metering_credit_wallets
           where due_at is not null and due_at <= (select ${db.dialect.now}) order by due_at limit ?`,
          limit
        )
        return found.map((row) => ({
          tenant: textOf(row, 'tenant'),
          account: textOf(row, 'account'),
          unit: textOf(row, 'unit')
        }))
      }, runOptions)
  }
}

/** The wallet's row, locked until the unit ends; made first when it may be. */
function* lockedWallet(
  db: SqlDatabase,
  name: WalletName,
  create: Pick<WalletRecord, 'scale' | 'burnOrder'> | undefined
): Sql<SqlRow | undefined> {
  const key = walletKey(name)
  const text = `select * from metering_credit_wallets where wallet = ?${db.dialect.forUpdate}`
  const found = yield* firstRow(text, key)
  if (found !== undefined || create === undefined) return found
  yield* execute(
    `insert into metering_credit_wallets(wallet, tenant, account, unit, scale, burn_order, lanes, held, waiting, owed,
       entries, lots, settlements, due_at)
     values (?, ?, ?, ?, ?, ?, '[]', 0, 0, 0, 0, 0, 0, null) on conflict do nothing`,
    key,
    name.tenant,
    name.account,
    name.unit,
    create.scale,
    create.burnOrder
  )
  return yield* firstRow(text, key)
}
