import { createHash } from 'node:crypto'
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import {
  type AuditIntegrity,
  auditSchema,
  createAuditLog,
  createAuditSealer,
  createCheckpointKey,
  ed25519Signer
} from '@enablement/core/audit'
import { fileCheckpointSink } from '@enablement/core/audit-file'
import { lockSchema } from '@enablement/core/lock'
import { execute, migrate } from '@enablement/core/sql'
import { sqliteDatabase } from '@enablement/core/sqlite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { shareOf } from '../testing/share.ts'
import { bundleVerifyAudit, verifyAudit } from './verify-audit-command.ts'

bundleVerifyAudit()

const folder = mkdtempSync(join(tmpdir(), 'enablement-verify-audit-'))
afterAll(() => rmSync(folder, { recursive: true }))

const { signingKey, verifierKey } = createCheckpointKey('audit.example.com')
const checkpoints = join(folder, 'checkpoints')

/** A file with two logs, sealed and signed; `change` is done to it afterwards. */
async function logFile(name: string, change?: string): Promise<string> {
  const path = join(folder, name)
  await using db = sqliteDatabase({ path, durability: 'process' })
  await migrate(db, [auditSchema, lockSchema])
  const log = createAuditLog({ db })
  for (let number = 0; number < 5; number++) {
    const detail = { secret: 'the payload' }
    for (const tenant of ['org_42', 'org\u001b[31m']) {
      await log.record({ tenant, actor: 'agent:1', action: 'test.ran', subject: `turn:${number}`, detail })
    }
  }
  await using sink = fileCheckpointSink({ path: `${checkpoints}-${name}` })
  const sealer = createAuditSealer({ db, signer: ed25519Signer(signingKey), sink })
  while ((await sealer.duty.run({ signal: new AbortController().signal })).handled > 0);
  if (change !== undefined) await db.run(() => execute(change))
  return path
}

const digests = (): Record<string, string> =>
  Object.fromEntries(
    readdirSync(folder).map((name) => [
      name,
      createHash('sha256')
        .update(readFileSync(join(folder, name)))
        .digest('hex')
    ])
  )

const jsonLines = (text: string): unknown[] =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown)

describe('verify-audit', () => {
  let intact = ''
  let broken = ''
  beforeAll(async () => {
    intact = await logFile('intact.db')
    broken = await logFile(
      'broken.db',
      `update audit_entries set entry = replace(entry, 'agent:1', 'agent:2') where leaf_index = 3 and tenant = 'org_42'`
    )
  })

  it('finds an intact database intact, changes nothing of it, and puts nothing beside it', async () => {
    const before = digests()
    const { code, stdout, stderr } = await verifyAudit([
      intact,
      '--public-key',
      verifierKey,
      '--checkpoints',
      `${checkpoints}-intact.db`
    ])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toBe(
      'org\\u{1b}[31m: intact: 5 entries, 5 sealed, 5 signed, 1 checkpoints agree\n' +
        'org_42: intact: 5 entries, 5 sealed, 5 signed, 1 checkpoints agree\n' +
        'intact: 2 logs, 0 of them broken\n'
    )
    expect(digests()).toEqual(before)
  })

  it('finds a broken one broken, to the entry, as text and as JSON, and prints no payload', async () => {
    const text = await verifyAudit([broken])
    expect(text.code).toBe(1)
    expect(text.stdout).toMatch(/org_42: BROKEN at leaf 3 \(entry [0-9a-f-]{36}\): entry-changed/)
    const { code, stdout } = await verifyAudit([broken, '--json'])
    expect(code).toBe(1)
    const lines = jsonLines(stdout) as AuditIntegrity[]
    expect(lines.find((line) => line.tenant === 'org_42')).toMatchObject({ outcome: 'broken', leafIndex: 3 })
    expect(lines.at(-1)).toEqual({ outcome: 'broken', logs: 2, broken: 1 })
    expect(text.stdout + stdout).not.toContain('payload')
    expect((await verifyAudit([broken, '--tenant', 'org\u001b[31m', '--json'])).code).toBe(0)
  })

  it('reads what another process has only written to its log so far', async () => {
    const path = join(folder, 'live.db')
    await using db = sqliteDatabase({ path })
    await migrate(db, [auditSchema])
    await createAuditLog({ db }).record({ tenant: 'live', actor: 'a', action: 'test.ran', subject: 's' })
    const { code, stdout } = await verifyAudit([path, '--json'])
    expect([code, jsonLines(stdout)[0]]).toEqual([0, expect.objectContaining({ tenant: 'live', entries: 1 })])
  })

  it('reads no file whose rollback journal says that parts of it were not committed', async () => {
    const path = join(folder, 'hot.db')
    const writer = new DatabaseSync(path)
    writer.exec('pragma journal_mode = delete; pragma cache_size = 1; create table t (x); begin')
    writer.exec(`with recursive n(i) as (select 1 union all select i + 1 from n where i < 500)
                 insert into t select zeroblob(1000) from n`)
    // As a crash would leave them.
    copyFileSync(path, join(folder, 'crashed.db'))
    copyFileSync(`${path}-journal`, join(folder, 'crashed.db-journal'))
    writer.close()
    const { code, stderr } = await verifyAudit([join(folder, 'crashed.db')])
    expect([code, stderr]).toEqual([2, expect.stringMatching(/verify-audit: sqlite/)])
    expect(stderr).not.toMatch(/migrate/)
  })

  it('finds a log that is gone, by its checkpoint', async () => {
    const path = join(folder, 'gone.db')
    await using db = sqliteDatabase({ path })
    await migrate(db, [auditSchema])
    await db.close()
    const { code, stdout } = await verifyAudit([path, '--checkpoints', `${checkpoints}-intact.db`, '--json'])
    expect(code).toBe(1)
    expect(jsonLines(stdout).slice(0, 2)).toEqual([
      expect.objectContaining({ outcome: 'broken', reason: 'log-shorter' }),
      expect.objectContaining({ outcome: 'broken', reason: 'log-shorter' })
    ])
  })

  it('escapes in JSON as well what a terminal would obey', async () => {
    const path = join(folder, 'escapes.db')
    const tenants = ['a\u009b31m', 'b\u202e', 'c\u{e0001}', 'd\\u{1b}']
    await using db = sqliteDatabase({ path, durability: 'process' })
    await migrate(db, [auditSchema])
    for (const tenant of tenants) {
      await createAuditLog({ db }).record({ tenant, actor: 'a', action: 'test.ran', subject: 's' })
    }
    const { stdout } = await verifyAudit([path, '--json'])
    expect(stdout).toMatch(/^[ -~\n]*$/)
    const found = jsonLines(stdout).slice(0, -1) as AuditIntegrity[]
    expect(found.map(({ tenant }) => tenant)).toEqual(tenants)
    const text = (await verifyAudit([path])).stdout
    expect(text).toContain('a\\u{9b}31m: intact')
    expect(text).toContain('d\\u{5c}u{1b}: intact')
  })

  it('takes several keys, and a checkpoint file that went through a mailbox', async () => {
    const file = join(folder, 'mailed')
    writeFileSync(file, readFileSync(`${checkpoints}-intact.db`, 'utf8').replaceAll('\n', '\r\n'))
    const keys = ['--public-key', verifierKey, '--public-key', other]
    const { code, stdout } = await verifyAudit([intact, ...keys, '--checkpoints', file, '--tenant', 'org_42'])
    expect([code, stdout]).toEqual([0, expect.stringContaining('5 signed, 1 checkpoints agree')])
  })

  const other = createCheckpointKey('audit.example.com').verifierKey
  const unusable = join(folder, 'no-database')
  writeFileSync(
    unusable,
    'not a database, but longer than the header of one would be, which has a hundred bytes and some'
  )
  const endless = join(folder, 'endless')
  writeFileSync(endless, 'x'.repeat(2_000_000))
  const wrong: readonly (readonly [string, () => readonly string[], number, RegExp])[] = [
    ['an option that is not known', () => [intact, '--keys', 'x'], 2, /usage/],
    ['a file that is no database', () => [unusable], 2, /not a SQLite database/],
    ['a key that is none', () => [intact, '--public-key', 'audit.example.com+00+x'], 2, /verifierKey/],
    ['a checkpoint file without a checkpoint', () => [intact, '--checkpoints', unusable], 2, /no checkpoint/],
    ['a checkpoint file without lines', () => [intact, '--checkpoints', endless], 2, /a line of more than/],
    ['another key', () => [intact, '--public-key', other], 1, /^$/],
    ['a server that is not there', () => ['postgres://bo:secret@127.0.0.1:1/audit'], 2, /postgres cannot/],
    ['a URL that is none', () => ['postgres://bo:secret@[::/audit'], 2, /verify-audit/]
  ]
  it.for(shareOf(wrong))('given %s, says so, and nothing of a password', async ([, args, status, message]) => {
    const { code, stdout, stderr } = await verifyAudit(args())
    expect(code).toBe(status)
    expect(stderr).toMatch(message)
    expect(stdout + stderr).not.toContain('secret')
    expect(stdout + stderr).not.toContain('bo:')
  })

  it('is what the package runs', async () => {
    const manifest = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as {
      readonly bin: Record<string, string>
    }
    // With one program in a package, npx runs it whatever it is called.
    expect(Object.values(manifest.bin)).toEqual(['./dist/cli/main.js'])
    const run = await verifyAudit([], { command: 'other' })
    expect([run.code, run.stderr]).toEqual([2, expect.stringContaining('verify-audit')])
  })
})
