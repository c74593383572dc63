import { createReadStream } from 'node:fs'
import process from 'node:process'
import { parseArgs } from 'node:util'
import type { AuditDamage, AuditIntegrity } from '../audit/audit-integrity.ts'
import { NoteSplitter } from '../audit/note-splitter.ts'
import { NOTE_CHARACTERS_MAX } from '../audit/signed-note.ts'
import { type VerifyAuditOptions, verifyAuditLog } from '../audit/verification.ts'
import { verifyAuditLogs } from '../audit/verify-logs.ts'
import { isSuiteError } from '../failure/suite-error.ts'
import type { SqlDatabase } from '../sql/sql-database.ts'
import { openReadOnly } from './evidence-database.ts'
import { Refusal } from './refusal.ts'

const USAGE = `usage: npx @enablement/core verify-audit <database> [options]

  <database>             a SQLite file, or a postgres:// URL (which needs the package pg)
  --tenant <tenant>      this tenant's log alone
  --public-key <key>     the verifier key, <name>+<key id>+<base64>: signatures count; again for each that there was
  --checkpoints <file>   checkpoints that were kept elsewhere, such as fileCheckpointSink's
  --window-ms <ms>       how old an entry without a signature may be, with a key; 60000
  --json                 one JSON object a line

exit status: 0 intact, 1 broken, 2 wrong usage, or evidence that cannot be read
`

/** Checkpoints of a file that are held, some hundred bytes each. */
const CHECKPOINTS_MAX = 1_000_000

const INTACT = 0
const BROKEN = 1
const UNREADABLE = 2

/** What each damage means, to somebody who has not read the code. */
const MEANINGS: Readonly<Record<AuditDamage, string>> = {
  'entry-changed': 'its text is not what was hashed',
  'entry-misplaced': 'it belongs to another place',
  'detail-changed': 'its detail is not what it was written with',
  'detail-erased': 'its detail is gone, and no redaction says so',
  'entry-missing': 'the entry is not there',
  'entry-beyond-tree': 'there is an entry outside of the tree',
  'tree-changed': 'the stored tree is not that of the entries',
  'log-shorter': 'a kept checkpoint is of a larger log: it was cut, or set back',
  'history-rewritten': 'the log had another content when a checkpoint was signed',
  'checkpoint-invalid': 'a checkpoint is not signed by the key, or is none',
  unsigned: 'more than the window allows has no signature'
}

/** Runs the command; gives the exit status. Writes no detail of an entry, and nothing of the URL. */
export async function verifyAuditCommand(args: readonly string[]): Promise<number> {
  try {
    const { path, tenant, json, options } = await readArguments(args)
    await using db = await openReadOnly(path)
    return await verify(db, tenant, json, options)
  } catch (error) {
    process.stderr.write(`verify-audit: ${explained(error)}\n`)
    return UNREADABLE
  }
}

async function verify(
  db: SqlDatabase,
  tenant: string | undefined,
  json: boolean,
  options: VerifyAuditOptions
): Promise<number> {
  let [logs, broken] = [0, 0]
  const tell = (found: AuditIntegrity): void => {
    logs += 1
    if (found.outcome === 'broken') broken += 1
    process.stdout.write(`${json ? printableJson(found) : described(found)}\n`)
  }
  if (tenant === undefined) for await (const found of verifyAuditLogs(db, options)) tell(found)
  else tell(await verifyAuditLog(db, tenant, options))
  const outcome = broken === 0 ? 'intact' : 'broken'
  process.stdout.write(
    json ? `${JSON.stringify({ outcome, logs, broken })}\n` : `${outcome}: ${logs} logs, ${broken} of them broken\n`
  )
  return broken === 0 ? INTACT : BROKEN
}

interface Arguments {
  readonly path: string
  readonly tenant: string | undefined
  readonly json: boolean
  readonly options: VerifyAuditOptions
}

async function readArguments(args: readonly string[]): Promise<Arguments> {
  const { values, positionals } = parsed(args)
  const [path, ...more] = positionals
  if (path === undefined || path === '' || more.length > 0) throw new Refusal(`one database is needed\n${USAGE}`)
  const { tenant, 'public-key': verifierKey, checkpoints, 'window-ms': windowMs, json = false } = values
  const maxMs = windowMs === undefined ? undefined : Number(windowMs)
  return {
    path,
    tenant,
    json,
    options: {
      ...(verifierKey === undefined ? {} : { verifierKey }),
      ...(checkpoints === undefined ? {} : { checkpoints: await readCheckpoints(checkpoints) }),
      ...(maxMs === undefined ? {} : { window: { maxMs } })
    }
  }
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        tenant: { type: 'string' },
        'public-key': { type: 'string', multiple: true },
        checkpoints: { type: 'string' },
        'window-ms': { type: 'string' },
        json: { type: 'boolean' }
      }
    })
  } catch (error) {
    throw new Refusal(`${(error as Error).message}\n${USAGE}`)
  }
}

async function readCheckpoints(path: string): Promise<readonly string[]> {
  const splitter = new NoteSplitter()
  const notes: string[] = []
  const take = (note: string | undefined): void => {
    if (note === undefined) return
    if (notes.length === CHECKPOINTS_MAX) throw new Refusal(`more than ${CHECKPOINTS_MAX} checkpoints in the file`)
    notes.push(note)
  }
  try {
    for await (const line of linesOf(path)) take(splitter.push(line))
  } catch (error) {
    if (error instanceof Refusal) throw error
    throw new Refusal(`the checkpoint file cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`)
  }
  take(splitter.end())
  if (notes.length === 0) throw new Refusal('the checkpoint file holds no checkpoint')
  if (splitter.strayLines > 0) {
    process.stderr.write(`verify-audit: ${splitter.strayLines} lines of the checkpoint file belong to no checkpoint\n`)
  }
  return notes
}

/** The lines of a file, each no longer than a note: the file may be anything. Those of mailboxes end with CRLF. */
async function* linesOf(path: string): AsyncGenerator<string> {
  let rest = ''
  for await (const chunk of createReadStream(path, { encoding: 'utf8' }) as AsyncIterable<string>) {
    const lines = (rest + chunk).split(/\r?\n/)
    rest = lines.pop() ?? ''
    if (rest.length > NOTE_CHARACTERS_MAX) {
      throw new Refusal(`the checkpoint file has a line of more than ${NOTE_CHARACTERS_MAX} characters`)
    }
    yield* lines
  }
  if (rest !== '') yield rest
}

function described(found: AuditIntegrity): string {
  const tenant = printable(found.tenant)
  if (found.outcome === 'intact') {
    const { entries, sealed, signed, checkpoints } = found
    return `${tenant}: intact: ${entries} entries, ${sealed} sealed, ${signed} signed, ${checkpoints} checkpoints agree`
  }
  const { leafIndex, id, reason } = found
  const leaf = leafIndex === undefined ? '' : ` at leaf ${leafIndex}`
  const entry = id === undefined ? '' : ` (entry ${printable(id)})`
  return `${tenant}: BROKEN${leaf}${entry}: ${reason}: ${MEANINGS[reason]}`
}

/** What a terminal may obey, or not show. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/** Names come from the database: a terminal must not obey what stands in them, nor a name pass for the escape of another. */
function printable(name: string): string {
  const escaped = (character: string): string => `\\u{${character.codePointAt(0)?.toString(16)}}`
  return name.replaceAll('\\', escaped).replace(UNPRINTABLE, escaped)
}

/** The same in JSON, whose escapes are of UTF-16 code units. */
function printableJson(value: unknown): string {
  const escaped = (character: string): string =>
    character
      .split('')
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join('')
  return JSON.stringify(value).replace(UNPRINTABLE, escaped)
}

/** Messages of ours have no secrets; those of drivers may have the URL. */
function explained(error: unknown): string {
  if (error instanceof Refusal || isSuiteError(error)) return error.message
  return `failed with ${error instanceof Error ? error.name : 'something that is no error'}`
}
