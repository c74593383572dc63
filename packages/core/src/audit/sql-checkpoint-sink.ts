import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import type { Sql, SqlDatabase } from '../sql/sql-database.ts'
import { execute, firstRow, textOf } from '../sql/statement.ts'
import { type Checkpoint, readCheckpoint } from './checkpoint.ts'
import {
  type CheckpointOffer,
  type CheckpointSink,
  type CheckpointVerdict,
  judgeOffer,
  offeredCheckpoint
} from './checkpoint-sink.ts'

/** Where the checkpoints are kept. */
export interface SqlCheckpointSinkOptions {
  /**
   * A database that has taken `auditSchema`: best another one than the log's, under another owner, since whoever
   * rewrites a log rewrites the checkpoints beside it.
   */
  readonly db: SqlDatabase
}

const optionsSchema: z.ZodType<SqlCheckpointSinkOptions> = z.strictObject({
  db: z.custom<SqlDatabase>((value) => typeof value === 'object' && value !== null && 'run' in value)
})

const NEWEST = 'select note from audit_checkpoints where origin = ? order by size desc limit 1'

/** Every checkpoint in a table, for any number of sealers. Throws `INVALID_OPTIONS`. */
export function sqlCheckpointSink(options: SqlCheckpointSinkOptions): CheckpointSink {
  const { db } = parseOptions(optionsSchema, 'sqlCheckpointSink', options)

  function* keep(offer: CheckpointOffer, { origin, size }: Checkpoint): Sql<CheckpointVerdict> {
    // One row per log to queue on, made first: two offers that meet must not both be the first.
    yield* execute('insert into audit_origins(origin) values (?) on conflict do nothing', origin)
    yield* execute(`select origin from audit_origins where origin = ?${db.dialect.forUpdate}`, origin)
    const row = yield* firstRow(NEWEST, origin)
    const newest = row === undefined ? undefined : readCheckpoint(textOf(row, 'note'))
    if (row !== undefined && newest?.origin !== origin) {
      const reason = 'a kept checkpoint holds something else'
      throw new CoreError('STORE_DAMAGED', reason, { store: 'sql', reason })
    }
    const verdict = judgeOffer(newest, offer)
    if (verdict.outcome !== 'keep') return verdict
    yield* execute(
      `insert into audit_checkpoints(origin, size, note, kept_at) values (?, ?, ?, ${db.dialect.now})`,
      origin,
      size,
      offer.note
    )
    return { outcome: 'kept' }
  }

  return {
    supports: { durable: db.supports.durable },
    async newest(origin, runOptions) {
      const row = await db.run(() => firstRow(NEWEST, origin), runOptions)
      return row === undefined ? undefined : textOf(row, 'note')
    },
    async keep(offer, runOptions) {
      const checkpoint = offeredCheckpoint(offer)
      return db.run(() => keep(offer, checkpoint), runOptions)
    }
  }
}
