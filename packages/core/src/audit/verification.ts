import { bytesToHex } from '@noble/hashes/utils.js'
import { z } from 'zod'
import { parseOptions } from '../failure/options.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import type { Sql, SqlDatabase, SqlRow } from '../sql/sql-database.ts'
import { firstRow, integerOf, optionalIntegerOf, optionalTextOf, rows, textOf } from '../sql/statement.ts'
import { nameSchema } from './audit-draft.ts'
import { damageOf, ENTRY_COLUMNS, timeOf } from './audit-entry.ts'
import type { AuditDamage, AuditIntegrity } from './audit-integrity.ts'
import { type AuditWindow, WINDOW_MS, WINDOW_ROWS } from './backlog.ts'
import { type Checkpoint, isCheckpointOf, originOf, readCheckpoint, tenantOf } from './checkpoint.ts'
import { type ParsedVerifierKey, parseVerifierKey } from './checkpoint-key.ts'
import { isStored, STORED_LEVELS } from './log-tree.ts'
import { sameHash } from './merkle-hash.ts'
import { REDACTED, redactionSubject } from './redaction.ts'
import { type Subtree, TreeEdge } from './tree-edge.ts'

export interface VerifyAuditOptions {
  /**
   * The verifier key of the sealer's signer, `<name>+<key id>+<base64>`. With it signatures count, and a tree that
   * nobody signed within the window is broken; without it checkpoints are taken at their word. Several where the key was
   * changed: a signature by any of them counts.
   */
  readonly verifierKey?: string | readonly string[]
  /**
   * Checkpoints that were kept elsewhere; those of other logs are passed over, without a key those of other tenants.
   * Nothing else shows that a log was set back.
   */
  readonly checkpoints?: readonly string[]
  /**
   * How much may be unsigned where there is a key, by the times in the entries: a minute and 10,000 entries unless given.
   * Whoever rewrites entries that nobody has signed can give them other times as well.
   */
  readonly window?: AuditWindow
  readonly signal?: AbortSignal | undefined
  /** Is told after every page. */
  readonly progress?: (progress: AuditVerificationProgress) => void
  readonly platform?: Platform
}

export interface AuditVerificationProgress {
  readonly tenant: string
  readonly verified: number
  /** The leaves of the tree. */
  readonly size: number
}

const optionsSchema: z.ZodType<VerifyAuditOptions> = z.strictObject({
  verifierKey: z.union([z.string(), z.array(z.string()).min(1)]).exactOptional(),
  checkpoints: z
    .array(z.string().refine((note) => readCheckpoint(note) !== undefined, 'must be a signed note with a checkpoint'))
    .exactOptional(),
  window: z
    .strictObject({ maxMs: z.number().min(1).exactOptional(), maxRows: z.int().min(1).exactOptional() })
    .exactOptional(),
  signal: z.custom<AbortSignal>((value) => value instanceof AbortSignal).optional(),
  progress: z
    .custom<(progress: AuditVerificationProgress) => void>((value) => typeof value === 'function')
    .exactOptional(),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

/** Entries that are read and hashed at a time: a few milliseconds, in which nothing else runs on an embedded store. */
const PAGE_ENTRIES = 256

/**
 * Recomputes a tenant's log: every entry from its text, every detail from its salt, the tree from its leaves, and the
 * tree's root wherever a checkpoint says what it was. Reads a page at a time, in bounded memory, and stops at the first
 * damage.
 *
 * Throws `INVALID_OPTIONS` (the key included), the signal's reason, and what the database throws.
 */
export async function verifyAuditLog(
  db: SqlDatabase,
  tenant: string,
  options: VerifyAuditOptions = {}
): Promise<AuditIntegrity> {
  const name = parseOptions(nameSchema, 'verifyAuditLog, a tenant', tenant)
  return verifyChecked(db, name, checkVerifyOptions(options))
}

/** Options whose keys were read. */
export interface CheckedVerifyOptions extends VerifyAuditOptions {
  /** None where signatures do not count. */
  readonly keys: readonly ParsedVerifierKey[]
}

/** Throws `INVALID_OPTIONS`. */
export function checkVerifyOptions(options: VerifyAuditOptions): CheckedVerifyOptions {
  const parsed = parseOptions(optionsSchema, 'the verification of an audit log', options)
  return { ...parsed, keys: [parsed.verifierKey ?? []].flat().map(parseVerifierKey) }
}

/** As `verifyAuditLog`, with options that were checked. */
export function verifyChecked(db: SqlDatabase, tenant: string, options: CheckedVerifyOptions): Promise<AuditIntegrity> {
  return new Verification(db, tenant, options).run()
}

/** Ends a verification at the first damage. */
class Damage extends Error {
  override readonly name = 'Damage'
  readonly found: Extract<AuditIntegrity, { outcome: 'broken' }>

  constructor(found: Extract<AuditIntegrity, { outcome: 'broken' }>) {
    super(found.reason)
    this.found = found
  }
}

interface Extent {
  readonly size: number
  readonly edge: Uint8Array
  readonly signedSize: number
  readonly checkpoint: string | undefined
  readonly first: number | undefined
  readonly last: number | undefined
  readonly nodes: number
  readonly unsealed: number
}

class Verification {
  readonly #db: SqlDatabase
  readonly #tenant: string
  readonly #options: CheckedVerifyOptions
  readonly #edge = new TreeEdge()
  /** The times of the entries that no signature covers. */
  #oldestUnsignedAt = Number.POSITIVE_INFINITY
  #newestUnsignedAt = Number.NEGATIVE_INFINITY

  constructor(db: SqlDatabase, tenant: string, options: CheckedVerifyOptions) {
    this.#db = db
    this.#tenant = tenant
    this.#options = options
  }

  async run(): Promise<AuditIntegrity> {
    try {
      return await this.#verify()
    } catch (error) {
      if (error instanceof Damage) return error.found
      throw error
    }
  }

  async #verify(): Promise<AuditIntegrity> {
    const tenant = this.#tenant
    const extent = await this.#read(() => readExtent(tenant))
    const { size } = extent
    if (extent.first !== undefined && extent.first < 0) this.#broken('entry-beyond-tree', extent.first)
    const kept = this.#keptCheckpoints()
    const own = this.#ownCheckpoint(extent)
    // The smallest first: each is compared when the tree has grown to its size.
    const ahead = [...kept, ...(own === undefined ? [] : [own])].sort((one, other) => one.size - other.size)
    const signedSize = own?.size ?? 0

    this.#compareCheckpoints(ahead)
    await this.#followTo(extent, ahead, signedSize)
    const [missed] = ahead
    if (missed !== undefined) this.#broken('log-shorter', missed.size)
    const unsealed = await this.#verifyUnsealed()
    if (this.#options.keys.length > 0) this.#checkWindow(size - signedSize + unsealed, signedSize)
    // What was sealed meanwhile was met neither there nor here.
    const grown = await this.#read(() => readExtent(tenant))
    await this.#followTo(grown, [], signedSize)
    return {
      outcome: 'intact',
      tenant,
      entries: grown.size + grown.unsealed,
      sealed: grown.size,
      signed: signedSize,
      root: bytesToHex(this.#edge.root()),
      checkpoints: kept.length
    }
  }

  /** Follows the tree from where it was left to where it ends. */
  async #followTo(extent: Extent, ahead: Checkpoint[], signedSize: number): Promise<void> {
    const { size } = extent
    while (this.#edge.size < size) {
      const from = this.#edge.size
      const page = await this.#read(() => readLeaves(this.#tenant, from, Math.min(size, from + PAGE_ENTRIES)))
      const nodes = await this.#followPage(page, ahead, signedSize)
      await this.#compareNodes(nodes)
      this.#options.progress?.({ tenant: this.#tenant, verified: this.#edge.size, size })
    }
    this.#compareHead(extent)
  }

  #read<T>(unit: () => Sql<T>): Promise<T> {
    const { signal } = this.#options
    return this.#db.run(unit, signal === undefined ? {} : { signal })
  }

  #broken(reason: AuditDamage, leafIndex?: number, id?: string): never {
    const place = { ...(leafIndex === undefined ? {} : { leafIndex }), ...(id === undefined ? {} : { id }) }
    throw new Damage({ outcome: 'broken', tenant: this.#tenant, reason, ...place })
  }

  /** The checkpoints of this log that were kept elsewhere. */
  #keptCheckpoints(): readonly Checkpoint[] {
    const { keys, checkpoints = [] } = this.#options
    return checkpoints.flatMap((note) => {
      const checkpoint = readCheckpoint(note)
      if (checkpoint === undefined || tenantOf(checkpoint.origin) !== this.#tenant) return []
      if (keys.length === 0) return [checkpoint]
      if (!keys.some(({ name }) => checkpoint.origin === originOf(name, this.#tenant))) return []
      return keys.some((key) => isCheckpointOf(note, key))
        ? [checkpoint]
        : this.#broken('checkpoint-invalid', checkpoint.size)
    })
  }

  /** The checkpoint that the log itself has, which must be of the size that it says is signed. */
  #ownCheckpoint({ checkpoint: note, signedSize }: Extent): Checkpoint | undefined {
    if (note === undefined) {
      if (signedSize !== 0) this.#broken('checkpoint-invalid', signedSize)
      return undefined
    }
    const checkpoint = readCheckpoint(note)
    const { keys } = this.#options
    const valid =
      checkpoint?.size === signedSize &&
      tenantOf(checkpoint.origin) === this.#tenant &&
      (keys.length === 0 || keys.some((key) => isCheckpointOf(note, key)))
    return valid ? checkpoint : this.#broken('checkpoint-invalid', signedSize)
  }

  /** Appends a page to the tree. Gives the nodes that became full and should be stored. */
  async #followPage(page: readonly SqlRow[], ahead: Checkpoint[], signedSize: number): Promise<readonly Subtree[]> {
    const nodes: Subtree[] = []
    if (page.length === 0) this.#broken('entry-missing', this.#edge.size)
    for (const row of page) {
      const leafIndex = this.#edge.size
      if (integerOf(row, 'leaf_index') !== leafIndex) this.#broken('entry-missing', leafIndex)
      await this.#judge(row, leafIndex)
      if (leafIndex >= signedSize) this.#meetUnsigned(row)
      nodes.push(...this.#edge.append(row['leaf_hash'] as Uint8Array).filter(isStored))
      this.#compareCheckpoints(ahead)
    }
    return nodes
  }

  /** Compares the tree with the checkpoints of its size, and drops them. */
  #compareCheckpoints(ahead: Checkpoint[]): void {
    for (let next = ahead[0]; next?.size === this.#edge.size; next = ahead[0]) {
      if (!sameHash(next.root, this.#edge.root())) this.#broken('history-rewritten', next.size)
      ahead.shift()
    }
  }

  /** Whether an entry is what was hashed, and its detail there or erased by the rules. */
  async #judge(row: SqlRow, leafIndex?: number): Promise<void> {
    const id = optionalTextOf(row, 'id')
    const damage = damageOf(row)
    if (damage === undefined) return
    if (damage !== 'erased') this.#broken(damage, leafIndex, id)
    const redaction = await this.#read(() => findRedaction(this.#tenant, textOf(row, 'id')))
    if (redaction === undefined) this.#broken('detail-erased', leafIndex, id)
  }

  #meetUnsigned(row: SqlRow): void {
    const at = timeOf(row) ?? Number.NEGATIVE_INFINITY
    this.#oldestUnsignedAt = Math.min(this.#oldestUnsignedAt, at)
    this.#newestUnsignedAt = Math.max(this.#newestUnsignedAt, at)
  }

  async #compareNodes(nodes: readonly Subtree[]): Promise<void> {
    for (const node of nodes) {
      const row = await this.#read(() => readNode(this.#tenant, node))
      const hash = row?.['hash']
      if (!(hash instanceof Uint8Array && sameHash(hash, node.hash))) this.#broken('tree-changed', this.#edge.size)
    }
  }

  #compareHead({ size, edge, last, nodes }: Extent): void {
    if (!sameHash(edge, this.#edge.bytes())) this.#broken('tree-changed', size)
    if (last !== undefined && last >= size) this.#broken('entry-beyond-tree', last)
    let expected = 0
    for (let width = 2 ** STORED_LEVELS; width <= size; width *= 2 ** STORED_LEVELS)
      expected += Math.floor(size / width)
    if (nodes !== expected) this.#broken('tree-changed', size)
  }

  /** Verifies each entry that is not sealed by itself, which is all that can be said of it. Gives their number. */
  async #verifyUnsealed(): Promise<number> {
    let verified = 0
    let after = Number.MIN_SAFE_INTEGER
    for (;;) {
      const from = after
      const page = await this.#read(() => readUnsealed(this.#tenant, from))
      for (const row of page) {
        await this.#judge(row)
        this.#meetUnsigned(row)
        after = integerOf(row, 'position')
      }
      verified += page.length
      if (page.length < PAGE_ENTRIES) return verified
    }
  }

  #checkWindow(unsigned: number, signedSize: number): void {
    const { window = {}, platform = systemPlatform } = this.#options
    const { maxMs = WINDOW_MS, maxRows = WINDOW_ROWS } = window
    const now = platform.clock.now()
    // An entry from the future does not say how long it has waited.
    const late = now - this.#oldestUnsignedAt > maxMs || this.#newestUnsignedAt - now > maxMs
    if (unsigned > maxRows || late) this.#broken('unsigned', signedSize)
  }
}

/** The head and the ends of the entries, from one statement: two would see different commits on Postgres. */
function* readExtent(tenant: string): Sql<Extent> {
  const row = yield* firstRow(
    `select heads.size, heads.edge, heads.signed_size, heads.checkpoint,
            (select min(leaf_index) from audit_entries where tenant = ? and leaf_index is not null) as first,
            (select max(leaf_index) from audit_entries where tenant = ? and leaf_index is not null) as last,
            (select count(*) from audit_nodes where tenant = ?) as nodes,
            (select count(*) from audit_entries where tenant = ? and leaf_index is null) as unsealed
     from (select 1 as one) as always left join audit_heads as heads on heads.tenant = ?`,
    tenant,
    tenant,
    tenant,
    tenant,
    tenant
  )
  const found = row ?? {}
  const edge = found['edge']
  return {
    size: optionalIntegerOf(found, 'size') ?? 0,
    edge: edge instanceof Uint8Array ? edge : new Uint8Array(0),
    signedSize: optionalIntegerOf(found, 'signed_size') ?? 0,
    checkpoint: optionalTextOf(found, 'checkpoint'),
    first: optionalIntegerOf(found, 'first'),
    last: optionalIntegerOf(found, 'last'),
    nodes: integerOf(found, 'nodes'),
    unsealed: integerOf(found, 'unsealed')
  }
}

function* readLeaves(tenant: string, begin: number, end: number): Sql<readonly SqlRow[]> {
  return yield* rows(
    `select ${ENTRY_COLUMNS} from audit_entries where tenant = ? and leaf_index >= ? and leaf_index < ?
     order by leaf_index`,
    tenant,
    begin,
    end
  )
}

function* readUnsealed(tenant: string, after: number): Sql<readonly SqlRow[]> {
  return yield* rows(
    `select ${ENTRY_COLUMNS} from audit_entries where tenant = ? and leaf_index is null and position > ?
     order by position limit ${PAGE_ENTRIES}`,
    tenant,
    after
  )
}

function* readNode(tenant: string, { level, index }: Subtree): Sql<SqlRow | undefined> {
  return yield* firstRow(
    'select hash from audit_nodes where tenant = ? and level = ? and node_index = ?',
    tenant,
    level,
    index
  )
}

function* findRedaction(tenant: string, id: string): Sql<SqlRow | undefined> {
  return yield* firstRow(
    'select position from audit_entries where tenant = ? and subject = ? and action = ? limit 1',
    tenant,
    redactionSubject(id),
    REDACTED
  )
}
