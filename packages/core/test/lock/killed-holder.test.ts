import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { admitFence, createLock, sqlLockStore } from '@enablement/core/lock'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const child = join(import.meta.dirname, 'holding-child.ts')
// The child loads what this test does: the sources, or the built package.
const conditions = process.env['TARGET'] === 'dist' ? [] : ['--conditions=@enablement/source']

describe('the holder of a lock that is killed', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'enablement-lock-killed-'))
    return () => rmSync(folder, { recursive: true })
  })
  let started: ChildProcess | undefined
  afterEach(() => void started?.kill('SIGKILL'))

  it('keeps others out while it lives, and lets the next one in, with a higher fence, when its lease has ended', async () => {
    const path = join(folder, 'locks.db')
    started = spawn(process.execPath, [...conditions, child, path], { stdio: ['ignore', 'pipe', 'inherit'] })
    const lines: string[] = []
    for await (const line of createInterface({ input: started.stdout as NodeJS.ReadableStream })) {
      lines.push(line)
      // It has lived through more than one lease.
      if (lines.length === 8) break
    }
    expect(lines.slice(1)).toEqual(Array.from({ length: 7 }, () => 'held'))
    const fence = Number(lines[0])

    await using db = sqliteDatabase({ path })
    const lock = createLock({ store: sqlLockStore({ db }), pollMs: 20 })
    expect(await lock.acquire('job', { ttlMs: 5_000 })).toMatchObject({ outcome: 'busy' })
    started.kill('SIGKILL')
    const answer = await lock.withLock(
      'job',
      async (hold) => [
        await db.run(() => admitFence('report', hold.fence)),
        await db.run(() => admitFence('report', fence))
      ],
      { waitMs: 4_000 }
    )
    expect(answer).toMatchObject({ outcome: 'done' })
    if (answer.outcome !== 'done') return
    expect(answer.fence).toBeGreaterThan(fence)
    expect(answer.value).toEqual([{ outcome: 'admitted' }, { outcome: 'stale', highest: answer.fence }])
  })
})
