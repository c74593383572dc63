import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { bundledProgram } from '@enablement/build/program'
import {
  auditSchema,
  createAuditSealer,
  createCheckpointKey,
  ed25519Signer,
  splitNotes,
  verifyAuditLogs
} from '@enablement/core/audit'
import { fileCheckpointSink } from '@enablement/core/audit-file'
import { lockSchema } from '@enablement/core/lock'
import { execute, migrate, rows } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest'
import { collected } from './sealed-log.ts'

const rounds = Math.ceil(Math.min(inject('scale'), 12))
/** For a round of a busy machine; what hangs ends then. */
const ROUND_MAX_MS = 30_000

describe('sealers and writers that are killed', () => {
  let folder: string
  const started: ChildProcess[] = []
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'enablement-audit-killed-'))
    return () => rmSync(folder, { recursive: true })
  })
  afterEach(() => {
    for (const one of started.splice(0)) one.kill('SIGKILL')
  })

  it(
    'lose no entry that was committed, seal none twice, and sign one history',
    async () => {
      const child = await bundledProgram(join(import.meta.dirname, 'sealing-child.ts'), folder)
      const path = join(folder, 'audit.db')
      const checkpoints = join(folder, 'checkpoints')
      const { signingKey, verifierKey } = createCheckpointKey('audit.example.com')
      await using db = sqliteDatabase({ path })
      await migrate(db, [auditSchema, lockSchema])
      const acknowledged = new Set<string>()

      for (let round = 0; round < rounds; round++) {
        // The lease of a leader that was killed in the round before is over.
        await db.run(() => execute('update lock_leases set expires_at = 0'))
        const lives = Array.from({ length: 2 }, async (_, at) => {
          const args = [child, path, checkpoints, signingKey, `${round}/${at}`]
          const life = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
          started.push(life)
          let lines = 0
          for await (const line of createInterface({ input: life.stdout as NodeJS.ReadableStream })) {
            acknowledged.add(line)
            lines += 1
            if (lines === 30 + 7 * round + 20 * at) life.kill('SIGKILL')
          }
        })
        await Promise.all(lives)
      }

      await db.run(() => execute('update lock_leases set expires_at = 0'))
      await using sink = fileCheckpointSink({ path: checkpoints })
      const sealer = createAuditSealer({ db, signer: ed25519Signer(signingKey), sink })
      while ((await sealer.duty.run({ signal: new AbortController().signal })).handled > 0);

      const found = await db.run(() => rows('select tenant, id from audit_entries'))
      const there = new Set(found.map((row) => [row['tenant'], row['id']].join(' ')))
      expect([...acknowledged].filter((line) => !there.has(line))).toEqual([])
      const kept = splitNotes(readFileSync(checkpoints, 'utf8')).notes
      expect(kept.length).toBeGreaterThan(2)
      const logs = await collected(verifyAuditLogs(db, { verifierKey, checkpoints: kept }))
      expect(logs).toMatchObject([{ outcome: 'intact' }, { outcome: 'intact' }])
      const sealed = logs.map((one) => (one.outcome === 'intact' ? one.signed : 0))
      expect((sealed[0] ?? 0) + (sealed[1] ?? 0)).toBe(found.length)
    },
    rounds * ROUND_MAX_MS
  )
})
