import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { reporter } from '../failure/reporter.ts'
import { isSuiteError } from '../failure/suite-error.ts'
import { assertFence } from '../lock/fence-guard.ts'
import type { LockHold } from '../lock/hold.ts'
import { createLock } from '../lock/lock.ts'
import type { LockStore } from '../lock/lock-store.ts'
import { sqlLockStore } from '../lock/sql-lock-store.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import { createTimeout } from '../resilience/timeout.ts'
import type { Duty, DutyRun } from '../schedule/duty.ts'
import type { SqlDatabase } from '../sql/sql-database.ts'
import { type AuditBacklog, type AuditWindow, readBacklog, WINDOW_MS, WINDOW_ROWS } from './backlog.ts'
import { type CheckpointSigner, checkName, isSigner } from './checkpoint-key.ts'
import type { CheckpointSink } from './checkpoint-sink.ts'
import type { AuditSealerEvent } from './sealer-event.ts'
import { sealTenant, unsealedTenants, unsignedTenants } from './sealing.ts'
import { type Signing, signTree } from './signing.ts'

/** What a sealer works on and with. */
export interface AuditSealerOptions {
  /** The log's database, which has taken `auditSchema` and `lockSchema`. */
  readonly db: SqlDatabase
  readonly signer: CheckpointSigner
  readonly sink: CheckpointSink
  /** Where the lock is by which one sealer leads; the log's database unless given. */
  readonly locks?: LockStore
  /** What `audit.window-exceeded` goes by: a minute and 10,000 entries unless given. */
  readonly window?: AuditWindow
  /** Entries that one unit seals at most; 256 unless given, 1 to 8,192. SQLite does nothing else for those 5 ms. */
  readonly batchRows?: number
  /** How long signer and sink may take for one checkpoint; 10,000 ms unless given. */
  readonly sinkTimeoutMs?: number
  readonly platform?: Platform
  /** What it throws is dropped: a report must not stop the sealing. */
  readonly observe?: (event: AuditSealerEvent) => void
}

/** Seals and signs the logs of a database. */
export interface AuditSealer {
  /** For `startWorker`, in as many processes as there are: one of them leads at a time. */
  readonly duty: Duty
  /** What has no checkpoint now. Throws what the database throws. */
  backlog(): Promise<AuditBacklog>
}

const objectSchema = <T>(): z.ZodType<T> => z.custom<T>((value) => typeof value === 'object' && value !== null)

const optionsSchema: z.ZodType<AuditSealerOptions> = z.strictObject({
  db: z.custom<SqlDatabase>((value) => typeof value === 'object' && value !== null && 'run' in value),
  signer: z.custom<CheckpointSigner>(isSigner, 'must have a name, the 32 bytes of a public key, and sign'),
  sink: z.custom<CheckpointSink>((value) => typeof value === 'object' && value !== null && 'keep' in value),
  locks: z
    .custom<LockStore>((value) => typeof value === 'object' && value !== null && 'acquire' in value)
    .exactOptional(),
  window: z
    .strictObject({
      maxMs: z.number().min(1).max(86_400_000).exactOptional(),
      maxRows: z.int().min(1).max(1_000_000).exactOptional()
    })
    .exactOptional(),
  batchRows: z.int().min(1).max(8_192).exactOptional(),
  sinkTimeoutMs: z.number().min(1).max(600_000).exactOptional(),
  platform: objectSchema<Platform>().exactOptional(),
  observe: z.custom<(event: AuditSealerEvent) => void>((value) => typeof value === 'function').exactOptional()
})

/** The lock's name, and in the database the fence's. Databases that share a lock store take turns. */
const LEADER = 'audit.sealer'

/** A leader that was killed delays the others by this much: a quarter of the window that is promised by default. */
const LEASE_MS = 15_000

const BATCH_ROWS = 256
const SINK_TIMEOUT_MS = 10_000

/** Tenants that one unit seals, and that one run signs: bounds a unit, and how long a run can take. */
const TENANTS_MAX = 64

/** Units that one run seals before it signs, so that a flood of entries does not keep checkpoints from being made. */
const UNITS_MAX = 16

/** After a failure signing rests, from a second up to a minute, twice as long each time. */
const REST_MS = 1_000
const REST_MAX_MS = 60_000

/**
 * Makes leaves of unsealed entries, signs the trees and hands checkpoints to the sink. An entry has its checkpoint at
 * the latest one poll of the worker and one run after it was committed, as long as the database, the signer and the sink
 * answer and the backlog is not longer than what a run takes; `audit.window-exceeded` says when that is not so.
 *
 * One sealer leads, by a lock; its fence is checked in every unit that writes, so that one that lost the lock and does
 * not know it changes nothing. Throws `INVALID_OPTIONS`.
 */
export function createAuditSealer(options: AuditSealerOptions): AuditSealer {
  const parsed = parseOptions(optionsSchema, 'createAuditSealer', options)
  const { db, signer, sink, batchRows = BATCH_ROWS, platform = systemPlatform, observe } = parsed
  const { maxMs = WINDOW_MS, maxRows = WINDOW_ROWS } = parsed.window ?? {}
  checkName(signer.name)
  const { clock } = platform
  const lock = createLock({ store: parsed.locks ?? sqlLockStore({ db }), ttlMs: LEASE_MS, platform })
  const patience = createTimeout({ timeoutMs: parsed.sinkTimeoutMs ?? SINK_TIMEOUT_MS, platform })

  /** Monotonic time since when the window has been exceeded. */
  let exceededSince: number | undefined
  /** How old the oldest unsigned entry was when the duty last looked. */
  let seenLagMs: number | undefined
  /** Where the next run goes on, so that no tenant waits for ever behind others that are busy or broken. */
  let sealedAfter = ''
  let signedAfter = ''
  let failures = 0
  let restsUntil = Number.NEGATIVE_INFINITY

  const report = reporter(observe)

  const watchWindow = ({ unsealedRows, unsignedRows, oldestAt }: AuditBacklog): void => {
    const rows = unsealedRows + unsignedRows
    const ageMs = oldestAt === undefined ? 0 : Math.max(0, clock.now() - oldestAt)
    seenLagMs = ageMs
    const exceeded = rows > maxRows || ageMs > maxMs
    if (exceeded && exceededSince === undefined) {
      exceededSince = clock.monotonic()
      report({ type: 'audit.window-exceeded', rows, ageMs })
    } else if (!exceeded && exceededSince !== undefined) {
      report({ type: 'audit.window-restored', exceededForMs: clock.monotonic() - exceededSince })
      exceededSince = undefined
    }
  }

  /**
   * Seals up to `batchRows` entries of the tenants that are next, in one unit. Logs whose heads are damaged are left out,
   * lest they keep all others from being sealed; `told` has those that this run has reported.
   */
  const sealBatch = async (hold: LockHold, told: Set<string>): Promise<number> => {
    const { fence, signal } = hold
    const tenants = await db.run(() => unsealedTenants(sealedAfter, TENANTS_MAX), { signal })
    if (tenants.length === 0) {
      if (sealedAfter === '') return 0
      sealedAfter = ''
      return sealBatch(hold, told)
    }
    const batch = await db.run(
      function* () {
        yield* assertFence(LEADER, fence)
        const damaged: { readonly tenant: string; readonly error: unknown }[] = []
        let rows = 0
        let last = sealedAfter
        for (const tenant of tenants) {
          if (rows === batchRows) break
          const sealing = yield* sealTenant(db.dialect, tenant, batchRows - rows)
          if (sealing.outcome === 'sealed') rows += sealing.leaves
          else damaged.push({ tenant, error: sealing.error })
          last = tenant
        }
        return { rows, last, damaged }
      },
      { signal }
    )
    sealedAfter = batch.last
    for (const { tenant, error } of batch.damaged) {
      if (!told.has(tenant)) report({ type: 'audit.sealing-failed', tenant, error })
      told.add(tenant)
    }
    return batch.rows
  }

  const tell = (tenant: string, signing: Signing): void => {
    if (signing.outcome === 'refused') {
      const { size, reason, newestSize } = signing
      report({ type: 'audit.checkpoint-refused', tenant, size, reason, newestSize })
    } else if (signing.outcome === 'damaged') {
      const { size, signedSize, damage } = signing
      report({ type: 'audit.log-damaged', tenant, damage, size, signedSize })
    }
  }

  /** Signs the trees that are next. The first failure ends the round, for the sink that failed once fails them all. */
  const signRound = async (hold: LockHold): Promise<number> => {
    if (clock.monotonic() < restsUntil) return 0
    const tenants = await db.run(() => unsignedTenants(signedAfter, TENANTS_MAX), { signal: hold.signal })
    if (tenants.length === 0) {
      if (signedAfter === '') return 0
      signedAfter = ''
      return signRound(hold)
    }
    let signed = 0
    for (const tenant of tenants) {
      hold.signal.throwIfAborted()
      signedAfter = tenant
      try {
        const signing = await patience.execute(
          ({ signal }) => signTree({ db, signer, sink, guard: () => assertFence(LEADER, hold.fence), signal }, tenant),
          { signal: hold.signal }
        )
        failures = 0
        if (signing.outcome === 'signed') signed += 1
        tell(tenant, signing)
      } catch (error) {
        // Having lost the lead is no failure of the sink.
        hold.signal.throwIfAborted()
        if (isSuiteError(error, 'CONSTRAINT_VIOLATED')) throw error
        failures += 1
        const retryInMs = Math.min(REST_MAX_MS, REST_MS * 2 ** (failures - 1))
        restsUntil = clock.monotonic() + retryInMs
        report({ type: 'audit.checkpoint-failed', tenant, error, retryInMs })
        break
      }
    }
    return signed
  }

  const lead = async (hold: LockHold): Promise<number> => {
    const told = new Set<string>()
    let handled = 0
    for (let unit = 0; unit < UNITS_MAX; unit++) {
      const rows = await sealBatch(hold, told)
      if (rows === 0) break
      handled += rows
    }
    return handled + (await signRound(hold))
  }

  const run = async ({ signal }: { readonly signal: AbortSignal }): Promise<DutyRun> => {
    const backlog = await db.run(() => readBacklog(maxRows), { signal })
    watchWindow(backlog)
    if (backlog.unsealedRows === 0 && backlog.unsignedRows === 0) return { handled: 0 }
    const led = await lock.withLock(LEADER, lead, { signal })
    if (led.outcome === 'busy') return { handled: 0 }
    if (led.outcome === 'done') return { handled: led.value }
    const { fence, heldMs, work } = led
    const cause = work.status === 'rejected' ? { cause: work.reason as unknown } : {}
    const message = `a sealer lost its lead after ${Math.round(heldMs)} ms, under fence ${fence}`
    throw new CoreError('LOCK_LOST', message, { lock: LEADER, fence, heldMs }, cause)
  }

  return {
    duty: {
      name: LEADER,
      run,
      status: () => (seenLagMs === undefined ? undefined : { lagMs: seenLagMs, setAside: 0 })
    },
    backlog: () => db.run(() => readBacklog(maxRows))
  }
}
