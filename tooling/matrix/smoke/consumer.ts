/** A user's code, for the compiler alone: options and outcomes of every package, under the strictest settings. */
import { minutes, type Platform, systemPlatform } from '@enablement/core'
import { migrate, type SqlDatabase } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { createIdentity, type Identity } from '@enablement/messaging'
import { createMeter, createQuotas, type RecordOutcome } from '@enablement/metering'
import { meteringSchema, sqlQuotaStore, sqlUsageStore } from '@enablement/metering/sql'
import { type EvaluationOutcome, mebibytes, type Sandbox } from '@enablement/runtime'
import { quickjsHost } from '@enablement/runtime/quickjs'

export const platform: Platform = systemPlatform
export const waitMs: number = minutes(5)
export const limitBytes: number = mebibytes(16)
export const identity: Promise<Identity> = createIdentity()
export const host = quickjsHost({ idleThreads: 0 })

export async function meterOnce(): Promise<RecordOutcome['outcome']> {
  const db: SqlDatabase = sqliteDatabase({ path: ':memory:' })
  await migrate(db, [meteringSchema])
  const meter = createMeter({ store: sqlUsageStore(db) })
  const event = { tenant: 'a', subscription: 's', transactionId: 't', metric: 'calls', quantity: 1, at: 1 }
  return (await meter.record(event)).outcome
}

export async function remaining(db: SqlDatabase): Promise<number | undefined> {
  const limits = [{ name: 'calls', quantity: 5, period: 'lifetime' as const }]
  const quotas = createQuotas({ store: sqlQuotaStore(db), limits, onStoreFailure: 'refuse' })
  const spent = await quotas.bind({ tenant: 'a', limit: 'calls' }).consume(1, { idempotencyKey: 'k' })
  return spent.outcome === 'consumed' ? spent.remaining : undefined
}

export async function resultOf(sandbox: Sandbox): Promise<unknown> {
  const end: EvaluationOutcome = await sandbox.evaluate('1 + 1')
  return end.outcome === 'completed' ? end.value : undefined
}
