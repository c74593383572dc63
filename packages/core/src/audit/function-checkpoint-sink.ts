import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { createKeyedMutex } from '../turn/keyed-mutex.ts'
import { readCheckpoint } from './checkpoint.ts'
import { type CheckpointSink, type CheckpointVerdict, judgeOffer, offeredCheckpoint } from './checkpoint-sink.ts'

/** How checkpoints are sent away. */
export interface FunctionCheckpointSinkOptions {
  /**
   * Sends a note off: to a witness, an object store with retention, a mailbox. Resolved means kept; it may come again.
   */
  readonly send: (note: string, options: { readonly signal: AbortSignal | undefined }) => Promise<void>
  /**
   * The newest note that was sent for a log, as the other side knows it. Without it this process remembers those that it
   * sent, of 10,000 logs: then a log that is rewritten while no sealer runs is not found by this sink.
   */
  readonly newest?: (
    origin: string,
    options: { readonly signal: AbortSignal | undefined }
  ) => Promise<string | undefined>
}

const optionsSchema: z.ZodType<FunctionCheckpointSinkOptions> = z.strictObject({
  send: z.custom<FunctionCheckpointSinkOptions['send']>((value) => typeof value === 'function'),
  newest: z
    .custom<NonNullable<FunctionCheckpointSinkOptions['newest']>>((value) => typeof value === 'function')
    .exactOptional()
})

/** Logs whose newest note is remembered, some MB; the one that was sent to longest ago is forgotten first. */
const REMEMBERED_MAX = 10_000

/** Checkpoints to wherever a function sends them. Throws `INVALID_OPTIONS`. */
export function functionCheckpointSink(options: FunctionCheckpointSinkOptions): CheckpointSink {
  const { send, newest: ask } = parseOptions(optionsSchema, 'functionCheckpointSink', options)
  const sent = new Map<string, string>()
  const turns = createKeyedMutex()

  const newestOf = async (origin: string, signal: AbortSignal | undefined): Promise<string | undefined> =>
    ask === undefined ? sent.get(origin) : ask(origin, { signal })

  const remember = (origin: string, note: string): void => {
    if (ask !== undefined) return
    sent.delete(origin)
    sent.set(origin, note)
    for (const [oldest] of sent) {
      if (sent.size <= REMEMBERED_MAX) break
      sent.delete(oldest)
    }
  }

  return {
    // What the other side promises is not for us to say.
    supports: { durable: 'none' },
    newest: (origin, { signal } = {}) => newestOf(origin, signal),
    async keep(offer, { signal } = {}) {
      const { origin } = offeredCheckpoint(offer)
      const work = async (): Promise<CheckpointVerdict> => {
        const note = await newestOf(origin, signal)
        const newest = note === undefined ? undefined : readCheckpoint(note)
        if (note !== undefined && newest?.origin !== origin) {
          const reason = 'the newest checkpoint of a log is that of another, or none'
          throw new CoreError('STORE_DAMAGED', reason, { store: 'checkpoint sink', reason })
        }
        const verdict = judgeOffer(newest, offer)
        if (verdict.outcome !== 'keep') return verdict
        await send(offer.note, { signal })
        remember(origin, offer.note)
        return { outcome: 'kept' }
      }
      // A sending that hangs must not gather a line of those who have long given up.
      return turns.run(origin, work, signal === undefined ? {} : { signal })
    }
  }
}
