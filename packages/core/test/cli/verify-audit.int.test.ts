import {
  auditSchema,
  createAuditLog,
  createAuditSealer,
  createCheckpointKey,
  ed25519Signer,
  sqlCheckpointSink
} from '@enablement/core/audit'
import { lockSchema } from '@enablement/core/lock'
import { postgresDatabase } from '@enablement/core/postgres'
import { execute, migrate } from '@enablement/core/sql'
import { afterAll, describe, expect, inject, it } from 'vitest'
import { testSchemas } from '../postgres/test-schemas.ts'
import { verifyAudit } from './verify-audit-command.ts'

const schemas = testSchemas()
afterAll(() => schemas.drop())

describe('verify-audit on Postgres', () => {
  it('verifies a database by its URL, and writes nothing to it', async () => {
    const pool = await schemas.pool()
    const db = postgresDatabase(pool)
    await migrate(db, [auditSchema, lockSchema])
    const log = createAuditLog({ db })
    for (let number = 0; number < 5; number++) {
      await log.record({ tenant: 'org_42', actor: 'agent:1', action: 'test.ran', subject: `turn:${number}` })
    }
    const { signingKey, verifierKey } = createCheckpointKey('audit.example.com')
    const sink = sqlCheckpointSink({ db })
    const sealer = createAuditSealer({ db, signer: ed25519Signer(signingKey), sink })
    while ((await sealer.duty.run({ signal: new AbortController().signal })).handled > 0);

    const { rows } = await pool.query<{ readonly path: string }>('show search_path')
    const url = new URL(inject('postgresUrl'))
    url.searchParams.set('options', `-c search_path=${(rows[0] as unknown as { search_path: string }).search_path}`)
    expect(await verifyAudit([url.href, '--public-key', verifierKey])).toEqual({
      code: 0,
      stdout: 'org_42: intact: 5 entries, 5 sealed, 5 signed, 0 checkpoints agree\nintact: 1 logs, 0 of them broken\n',
      stderr: ''
    })
    await db.run(() => execute(`update audit_entries set subject = 'turn:9' where leaf_index = 2`))
    const { code, stdout } = await verifyAudit([url.href, '--json'])
    expect([code, JSON.parse(stdout.split('\n')[0] ?? '')]).toEqual([
      1,
      expect.objectContaining({ outcome: 'broken', reason: 'entry-misplaced', leafIndex: 2 })
    ])
  })
})
