import type { ColumnTypes } from './column-types.ts'

/**
 * Failed payments: a case for everything unpaid of a subscription in a currency, the failures it is made of, and the number
 * of the last order to a subscription's restriction, over all its cases.
 */
export function dunningTables({ integer, options, keyed }: ColumnTypes): string[] {
  return [
    `create table metering_dunning (
      case_id text not null primary key, tenant text not null, subscription text not null, currency text not null,
      status text not null check (status in ('open', 'recovered')), state text not null)${options}`,
    `create unique index metering_dunning_open on metering_dunning (tenant, subscription, currency)
      where status = 'open'`,
    `create table metering_dunning_failures (
      tenant text not null, idempotency_key text not null, case_id text not null,
      primary key (tenant, idempotency_key))${keyed}`,
    `create table metering_dunning_orders (
      tenant text not null, subscription text not null, last_order ${integer} not null,
      primary key (tenant, subscription))${keyed}`
  ]
}
