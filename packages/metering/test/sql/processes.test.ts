import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { firstRow, integerOf, migrate, type SqlRow } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { meteringSchema } from '@enablement/metering/sql'
import { describe, expect, it } from 'vitest'

const run = promisify(execFile)
const source = process.env['TARGET'] === 'dist' ? [] : ['--conditions=@enablement/source']

describe('several processes on one SQLite file', () => {
  it('are sold what there is and not a unit more, each key once', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'metering-'))
    try {
      const file = path.join(folder, 'quotas.db')
      await using db = sqliteDatabase({ path: file })
      await migrate(db, [meteringSchema])
      const script = path.join(import.meta.dirname, 'spending-process.ts')
      const reports = await Promise.all(
        ['a', 'b', 'c'].map(async (name) => {
          const { stdout } = await run(process.execPath, [...source, script, file, name])
          return JSON.parse(stdout) as { sold: number; replays: number }
        })
      )
      const sold = reports.reduce((sum, report) => sum + report.sold, 0)
      const row = await db.run(() => firstRow('select used from metering_quotas'))
      expect(integerOf(row as SqlRow, 'used')).toBe(sold)
      const spends = await db.run(() =>
        firstRow('select cast(sum(amount) as integer) as amount, count(*) as spends from metering_quota_spends')
      )
      expect(integerOf(spends as SqlRow, 'amount')).toBe(sold)
      // 1,000 units and amounts of one to five: sold out but for what the smallest refused call could not take.
      expect(sold).toBeLessThanOrEqual(1_000)
      expect(sold).toBeGreaterThan(995)
      const replays = reports.reduce((sum, report) => sum + report.replays, 0)
      expect(replays).toBeGreaterThanOrEqual(integerOf(spends as SqlRow, 'spends'))
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }, 60_000)
})
