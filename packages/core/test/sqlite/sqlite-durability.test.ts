import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { integerOf, rows } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const child = join(import.meta.dirname, 'acknowledging-child.ts')
// The child loads what this test does: the sources, or the built package.
const conditions = process.env['TARGET'] === 'dist' ? [] : ['--conditions=@enablement/source']

async function storedIn(path: string): Promise<number[]> {
  await using db = sqliteDatabase({ path })
  const [check] = await db.run(() => rows('pragma integrity_check'))
  expect(check).toEqual({ integrity_check: 'ok' })
  const found = await db.run(() => rows('select id from notes order by id'))
  return found.map((row) => integerOf(row, 'id'))
}

const ended = (started: ChildProcess) =>
  new Promise<NodeJS.Signals | number | null>((resolve) =>
    started.once('close', (code, signal) => resolve(signal ?? code))
  )

describe('a SQLite file', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'enablement-durability-'))
    return () => rmSync(folder, { recursive: true })
  })
  let started: ChildProcess | undefined
  afterEach(() => void started?.kill('SIGKILL'))

  it('keeps every acknowledged unit of a process that was killed', async () => {
    const path = join(folder, 'killed.db')
    started = spawn(process.execPath, [...conditions, child, path], { stdio: ['ignore', 'pipe', 'inherit'] })
    const end = ended(started)
    const acknowledged: number[] = []
    for await (const line of createInterface({ input: started.stdout as NodeJS.ReadableStream })) {
      acknowledged.push(Number(line))
      if (acknowledged.length === 700) started.kill('SIGKILL')
    }
    expect(await end).toBe('SIGKILL')
    const stored = new Set(await storedIn(path))
    expect(acknowledged.filter((id) => !stored.has(id))).toEqual([])
    // The 16 callers may each have had one unit on disk that they had not heard of.
    expect(stored.size - acknowledged.length).toBeLessThanOrEqual(16)
  })

  it('keeps every acknowledged unit, and nothing of those it refused, when the disk takes no more', async () => {
    const path = join(folder, 'full.db')
    // A file-size limit fails writes for real, with EFBIG instead of ENOSPC, and needs no disk to fill. In KiB, or in
    // units of 512 bytes where the shell counts so.
    const script = `trap '' XFSZ; ulimit -f 600; exec "$@"`
    const command = [process.execPath, ...conditions, child, path, '3000']
    started = spawn('sh', ['-c', script, 'sh', ...command], { stdio: ['ignore', 'pipe', 'inherit'] })
    const lines: string[] = []
    for await (const line of createInterface({ input: started.stdout as NodeJS.ReadableStream })) lines.push(line)
    expect(lines.at(-1)).toBe('STORE_UNAVAILABLE')
    const acknowledged = lines.slice(0, -1).map(Number)
    expect(acknowledged.length).toBeGreaterThan(16)
    expect(await storedIn(path)).toEqual(acknowledged.sort((one, other) => one - other))
  })
})
