import { spawn } from 'node:child_process'
import path from 'node:path'
import { integerOf, rows, type SqlDatabase, textOf } from '@enablement/core/sql'
import { virtualClock, withStoreClock } from '@enablement/core/testing'
import { sqlQuotaStore } from '@enablement/metering/sql'
import { expect } from 'vitest'
import { charges, TENANT } from './spending-quota.ts'

const source = process.env['TARGET'] === 'dist' ? [] : ['--conditions=@enablement/source']

/** Starts a process that spends, and kills it after so many lines. Gives what it was told: what was charged, by key. */
function spender(args: readonly string[], killAfter: number): Promise<ReadonlyMap<string, number>> {
  const script = path.join(import.meta.dirname, 'spending-process.ts')
  const child = spawn(process.execPath, [...source, script, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    if (output.split('\n').length > killAfter) child.kill('SIGKILL')
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (code !== 0 && signal !== 'SIGKILL') return reject(new Error(`a spending process failed: ${errors}`))
      const whole = output
        .slice(0, output.lastIndexOf('\n') + 1)
        .split('\n')
        .slice(0, -1)
      resolve(new Map(whole.map((line) => line.split(' ')).map(([key = '', amount]) => [key, Number(amount)])))
    })
  })
}

/**
 * Lets four processes spend, two of which are killed in the middle of it, and looks at what is left: nothing was sold that
 * was not there, what somebody was told is so, and what was held by the dead comes back.
 */
export async function spendFromProcesses(db: SqlDatabase, args: readonly string[]): Promise<void> {
  const told = await Promise.all(
    ['a', 'b', 'c', 'd'].map((name, at) => spender([...args, name], at < 2 ? 12 : Number.POSITIVE_INFINITY))
  )
  const charged = await db.run(function* () {
    const spends = yield* rows(
      'select idempotency_key as name, amount from metering_quota_spends where tenant = ?',
      TENANT
    )
    const holds = yield* rows(
      'select hold_key as name, charged as amount from metering_quota_holds where tenant = ? and charged is not null',
      TENANT
    )
    const named = (prefix: string, found: typeof spends): [string, number][] =>
      found.map((row) => [`${prefix}:${textOf(row, 'name')}`, integerOf(row, 'amount')])
    return new Map([...named('spend', spends), ...named('hold', holds)])
  })
  // Whatever nobody could settle has expired by then.
  const clock = virtualClock()
  clock.jumpWallTo(Date.UTC(2099, 0, 1))
  const later = sqlQuotaStore(withStoreClock(db, clock))
  await later.endExpired(1_000)
  const readings = await later.read(TENANT, charges)
  if ('outcome' in readings) throw new Error('a lifetime is nowhere else')
  const sum = [...charged.values()].reduce((all, one) => all + one, 0)
  expect(readings.map(({ used, held }) => [used, held])).toEqual([
    [sum, 0],
    [sum, 0]
  ])
  expect(sum).toBeLessThanOrEqual(400)
  // Sold out, but for what the refused asked for and what came back from the dead.
  expect(sum).toBeGreaterThan(300)
  for (const answers of told) expect([...answers].filter(([key, amount]) => charged.get(key) !== amount)).toEqual([])
}
