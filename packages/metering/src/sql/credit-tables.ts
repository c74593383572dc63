import type { ColumnTypes } from './column-types.ts'

/**
 * Wallets of credits. `wallet` is a digest of tenant, account and unit, so that the keys of its rows fit an index whatever
 * those are. Entries are only ever added.
 */
export function creditTables({ integer, keyed }: ColumnTypes): string[] {
  const amount = `${integer} not null check`
  return [
    `create table metering_credit_wallets (
      wallet text not null primary key, tenant text not null, account text not null, unit text not null,
      scale ${integer} not null, burn_order text not null, lanes text not null,
      held ${amount} (held between 0 and 9000000000000000),
      waiting ${amount} (waiting between 0 and 9000000000000000),
      owed ${amount} (owed between 0 and 9000000000000000),
      entries ${integer} not null, lots ${integer} not null, settlements ${integer} not null,
      due_at ${integer})${keyed}`,
    'create index metering_credit_wallets_due on metering_credit_wallets (due_at) where due_at is not null',
    `create table metering_credit_lots (
      wallet text not null, lot ${integer} not null, grant_id text not null, origin text not null, state text not null,
      amount ${amount} (amount between 0 and 9000000000000000),
      free ${amount} (free between 0 and 9000000000000000), held ${amount} (held between 0 and 9000000000000000),
      lane ${integer} not null, burn_key text not null, created_at ${integer} not null, effective_at ${integer} not null,
      expires_at ${integer}, due_at ${integer}, terms text not null,
      primary key (wallet, lot))${keyed}`,
    `create index metering_credit_lots_burn on metering_credit_lots (wallet, lane, burn_key)
      where state = 'active' and free > 0`,
    'create index metering_credit_lots_due on metering_credit_lots (wallet, due_at, state, lot) where due_at is not null',
    `create index metering_credit_lots_grant on metering_credit_lots (wallet, grant_id, lot)
      where state in ('pending', 'scheduled', 'active')`,
    `create table metering_credit_charges (
      wallet text not null, charge text not null, state text not null, fingerprint text not null, metric text,
      amount ${amount} (amount between 0 and 9000000000000000),
      charged ${amount} (charged between 0 and amount), reversed ${amount} (reversed between 0 and charged),
      due_at ${integer}, made text not null, ended text,
      primary key (wallet, charge))${keyed}`,
    'create index metering_credit_charges_due on metering_credit_charges (wallet, due_at, charge) where due_at is not null',
    `create table metering_credit_fundings (
      wallet text not null, charge text not null, drawn ${integer} not null, lot ${integer}, grant_id text,
      amount ${amount} (amount between 0 and 9000000000000000), reversed ${amount} (reversed between 0 and amount),
      primary key (wallet, charge, drawn))${keyed}`,
    `create table metering_credit_calls (
      wallet text not null, kind text not null, call_key text not null, fingerprint text not null, answer text not null,
      primary key (wallet, kind, call_key))${keyed}`,
    `create table metering_credit_entries (
      wallet text not null, sequence ${integer} not null, kind text not null, lot ${integer}, grant_id text,
      amount ${amount} (amount between 1 and 9000000000000000), balance ${integer} not null,
      call text not null, reference text not null, at ${integer} not null, booked_at ${integer} not null,
      primary key (wallet, sequence))${keyed}`
  ]
}
