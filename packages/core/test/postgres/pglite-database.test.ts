import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { type PgliteLike, type PgliteTransaction, pgliteDatabase } from '@enablement/core/postgres'
import { execute, firstRow, rows } from '@enablement/core/sql'
import { startPglite } from '@enablement/services/pglite'
import { describe, expect, it } from 'vitest'

/** A PGlite that answers every statement with nothing, and fails where it is told to. */
function scripted(failing: { query?: Error; commit?: Error; sync?: Error; dataDir?: string }) {
  const calls: string[] = []
  const transaction: PgliteTransaction = {
    async query(text) {
      calls.push(text)
      if (failing.query !== undefined) throw failing.query
      return { rows: [], affectedRows: 0 }
    }
  }
  const pglite: PgliteLike = {
    ...(failing.dataDir === undefined ? {} : { dataDir: failing.dataDir }),
    async transaction(work) {
      const result = await work(transaction)
      calls.push('commit')
      if (failing.commit !== undefined) throw failing.commit
      return result
    },
    async syncToFs() {
      calls.push('sync')
      if (failing.sync !== undefined) throw failing.sync
    }
  }
  return { calls, db: pgliteDatabase(pglite) }
}

const serverError = (code: string) => Object.assign(new Error('refused'), { code, severity: 'ERROR' })

describe('PGlite', () => {
  it.each([
    [undefined, 'none'],
    ['', 'none'],
    ['memory://', 'none'],
    ['./data', 'process'],
    ['idb://data', 'process']
  ])('in the folder %j says that committed units survive: %s', (dataDir, durable) => {
    const { db } = scripted(dataDir === undefined ? {} : { dataDir })
    expect(db.supports.durable).toBe(durable)
  })

  it('flushes its file system after each commit, and not in memory', async () => {
    const inFolder = scripted({ dataDir: 'idb://data' })
    await inFolder.db.run(() => execute('select 1'))
    expect(inFolder.calls).toEqual(['select 1', 'commit', 'sync'])
    const inMemory = scripted({})
    await inMemory.db.run(() => execute('select 1'))
    expect(inMemory.calls).toEqual(['select 1', 'commit'])
  })

  it.each([
    ['the flush fails', { dataDir: 'idb://data', sync: new Error('quota exceeded') }, 'COMMIT_UNKNOWN'],
    ['COMMIT fails without an answer', { commit: new Error('unreachable') }, 'COMMIT_UNKNOWN'],
    ['COMMIT is refused', { commit: serverError('23503') }, 'CONSTRAINT_VIOLATED'],
    ['a statement gets no answer', { query: new Error('PGlite is closed') }, 'STORE_UNAVAILABLE'],
    ['the disk is full', { query: serverError('53100') }, 'STORE_UNAVAILABLE'],
    ['a page is damaged', { query: serverError('XX001') }, 'STORE_DAMAGED']
  ])('is typed when %s', async (_, failing, code) => {
    const { db } = scripted(failing)
    await expect(db.run(() => execute('select 1'))).rejects.toMatchObject({ code, detail: { store: 'pglite' } })
  })

  it('keeps what was committed to a folder, and stays the caller’s', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'enablement-pglite-'))
    const first = await startPglite(folder)
    const db = pgliteDatabase(first)
    await db.run(() => execute('create table notes (id bigint primary key, body jsonb, at timestamptz)'))
    await db.run(() => execute("insert into notes values (1, '{\"b\": 1}', '2020-01-01T00:00:00Z')"))
    await db.close()
    expect(first.closed).toBe(false)
    await first.close()
    const second = new PGlite(folder)
    const found = await pgliteDatabase(second).run(() => rows('select id, body from notes'))
    expect(found).toEqual([{ id: 1, body: '{"b": 1}' }])
    const row = await pgliteDatabase(second).run(() => firstRow('select at from notes'))
    expect(row?.['at']).toBeTypeOf('string')
    await second.close()
    rmSync(folder, { recursive: true })
  }, 60_000)
})
