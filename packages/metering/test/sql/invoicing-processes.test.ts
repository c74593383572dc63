import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { periodFinder } from '@enablement/metering'
import { meteringSchema, sqlInvoiceStore } from '@enablement/metering/sql'
import { describe, expect, it } from 'vitest'
import { CALENDAR, events, starts } from './invoiced-usage.ts'

const source = process.env['TARGET'] === 'dist' ? [] : ['--conditions=@enablement/source']
/** Each of them is a process that starts and dies; a few of that in every run, many in a soak. */
const PERIODS = process.env['SOAK'] === '1' ? 60 : 12

/** Runs a process and kills it with SIGKILL after it has finalized `lives` invoices; Infinity lets it finish. */
async function invoiceUntil(file: string, lives: number): Promise<void> {
  const script = path.join(import.meta.dirname, 'invoicing-process.ts')
  const child = spawn(process.execPath, [...source, script, file, String(PERIODS)], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  let lines = 0
  child.stdout.on('data', (chunk: Buffer) => {
    lines += chunk.toString().split('\n').length - 1
    if (lines >= lives) child.kill('SIGKILL')
  })
  const [code] = (await once(child, 'exit')) as [number | null]
  if (lives === Number.POSITIVE_INFINITY) expect(code).toBe(0)
}

describe('processes that are killed while they make invoices', () => {
  it('leave one invoice a period, and every event billed once', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'metering-invoices-'))
    try {
      const file = path.join(folder, 'invoices.db')
      await using db = sqliteDatabase({ path: file })
      await migrate(db, [meteringSchema])
      // Two at a time, killed wherever they are by then.
      await Promise.all([invoiceUntil(file, PERIODS / 4), invoiceUntil(file, PERIODS / 2)])
      await invoiceUntil(file, Number.POSITIVE_INFINITY)

      const store = sqlInvoiceStore(db)
      const finder = periodFinder(CALENDAR)
      const used = events(PERIODS)
      let billedEvents = 0
      for (const from of starts(PERIODS)) {
        const period = finder.periodAt(from)
        expect(await store.find('org', 'sub', period)).toMatchObject({ status: 'final' })
        const quantity = used.filter(({ at }) => at === from).reduce((sum, event) => sum + BigInt(event.quantity), 0n)
        const [billed] = await store.billed('org', 'sub', period)
        expect(billed?.quantity ?? 0n).toBe(quantity)
        expect(billed?.minorUnits ?? 0n).toBe(quantity)
        billedEvents += billed?.events ?? 0
      }
      expect(billedEvents).toBe(used.length)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }, 60_000)
})
