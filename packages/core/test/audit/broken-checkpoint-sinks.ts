import { type CheckpointOffer, type CheckpointSink, judgeOffer, readCheckpoint } from '@enablement/core/audit'

/** A right sink, and where it can be bent. */
export function memorySink(
  disk: Map<string, string>,
  bent: {
    readonly judge?: (newest: string | undefined, offer: CheckpointOffer) => ReturnType<typeof judgeOffer>
    readonly key?: (origin: string) => string
    readonly stored?: (note: string) => string
    readonly pause?: () => Promise<void>
    readonly always?: boolean
  } = {}
): CheckpointSink {
  const { key = (origin) => origin, stored = (note) => note, pause, always = false } = bent
  const judge =
    bent.judge ?? ((newest, offer) => judgeOffer(newest === undefined ? undefined : readCheckpoint(newest), offer))
  return {
    supports: { durable: 'process' },
    newest: async (origin) => disk.get(key(origin)),
    async keep(offer, { signal } = {}) {
      signal?.throwIfAborted()
      const origin = key(readCheckpoint(offer.note)?.origin ?? '')
      const newest = disk.get(origin)
      if (pause !== undefined) await pause()
      const verdict = judge(newest, offer)
      if (always || verdict.outcome === 'keep') disk.set(origin, stored(offer.note))
      return verdict.outcome === 'keep' ? { outcome: 'kept' } : verdict
    }
  }
}

const sizeOf = (note: string | undefined): number => (note === undefined ? 0 : (readCheckpoint(note)?.size ?? 0))
const kept = { outcome: 'kept' } as const

/** Sinks as one writes them in a hurry. Each must fail the exam. */
export const brokenCheckpointSinks: readonly (readonly [string, (disk: Map<string, string>) => CheckpointSink])[] = [
  ['takes whatever comes', (disk) => memorySink(disk, { judge: () => ({ outcome: 'keep' }) })],
  [
    'compares sizes alone',
    (disk) =>
      memorySink(disk, {
        judge: (newest, offer) =>
          sizeOf(offer.note) < sizeOf(newest)
            ? { outcome: 'refused', reason: 'smaller', newestSize: sizeOf(newest) }
            : { outcome: 'keep' }
      })
  ],
  [
    'verifies no proof',
    (disk) =>
      memorySink(disk, {
        judge: (newest, offer) => {
          const verdict = judgeOffer(newest === undefined ? undefined : readCheckpoint(newest), offer)
          return sizeOf(offer.note) > sizeOf(newest) ? { outcome: 'keep' } : verdict
        }
      })
  ],
  [
    'refuses what it has already',
    (disk) =>
      memorySink(disk, {
        judge: (newest, offer) => {
          const verdict = judgeOffer(newest === undefined ? undefined : readCheckpoint(newest), offer)
          return verdict.outcome === 'kept'
            ? { outcome: 'refused', reason: 'different', newestSize: sizeOf(newest) }
            : verdict
        }
      })
  ],
  [
    'answers a smaller tree as if it were kept',
    (disk) =>
      memorySink(disk, {
        judge: (newest, offer) =>
          sizeOf(offer.note) < sizeOf(newest)
            ? kept
            : judgeOffer(newest === undefined ? undefined : readCheckpoint(newest), offer)
      })
  ],
  ['keeps what it refuses', (disk) => memorySink(disk, { always: true })],
  ['folds case', (disk) => memorySink(disk, { key: (origin) => origin.toLowerCase() })],
  ['decodes origins', (disk) => memorySink(disk, { key: (origin) => decodeURIComponent(origin) })],
  ['cuts origins to 255 characters', (disk) => memorySink(disk, { key: (origin) => origin.slice(0, 255).trimEnd() })],
  ['trims notes', (disk) => memorySink(disk, { stored: (note) => note.trim() })],
  [
    'decides by what it read before it waited',
    (disk) => memorySink(disk, { pause: () => new Promise((resolve) => setImmediate(resolve)) })
  ],
  ['forgets when it is opened anew', () => memorySink(new Map())],
  [
    'fails on what is no checkpoint with an error of its own',
    (disk) =>
      memorySink(disk, {
        judge: (newest, offer) => {
          if (readCheckpoint(offer.note) === undefined) throw new TypeError('cannot read')
          return judgeOffer(newest === undefined ? undefined : readCheckpoint(newest), offer)
        }
      })
  ]
]
