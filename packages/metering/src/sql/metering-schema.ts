import type { Schema } from '@enablement/core/sql'
import { billingTables } from './billing-tables.ts'
import type { ColumnTypes } from './column-types.ts'
import { creditTables } from './credit-tables.ts'
import { dunningTables } from './dunning-tables.ts'
import { exportTables } from './export-tables.ts'
import { quotaLedgerTables } from './quota-ledger-tables.ts'
import { quotaTables } from './quota-tables.ts'
import { reconciliationTables } from './reconciliation-tables.ts'
import { usageTables } from './usage-tables.ts'

/** All of metering's tables. Pass it to `migrate` once at start. */
export const meteringSchema: Schema = {
  component: 'metering',
  migrations: [
    {
      version: 1,
      name: 'usage, quotas, credits and billing',
      sqlite: tables({ dialect: 'sqlite', integer: 'integer', options: ' strict', keyed: ' strict, without rowid' }),
      postgres: tables({ dialect: 'postgres', integer: 'bigint', options: '', keyed: '' })
    }
  ]
}

function tables(types: ColumnTypes): string[] {
  return [
    ...usageTables(types),
    ...quotaTables(types),
    ...quotaLedgerTables(types),
    ...creditTables(types),
    ...billingTables(types),
    ...dunningTables(types),
    ...reconciliationTables(types),
    ...exportTables(types)
  ]
}
