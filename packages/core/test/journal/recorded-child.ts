import { openJournal } from '@enablement/core/journal'

// Appends from three callers through several segments, trims on the way, closes; what the disk is asked for is written
// down by recording-disk.cjs, and between that what the callers were told.
declare const noteInTrace: (entry: object) => void
const [folder = ''] = process.argv.slice(2)
let number = 0
for (let opening = 0; opening < 2; opening++) {
  const journal = await openJournal({ folder, recordMaxBytes: 2_000, segmentMaxBytes: 4_096 })
  const caller = async (): Promise<void> => {
    for (let count = 0; count < 6; count++) {
      const text = `${number}:`.padEnd(100 + ((number++ * 377) % 900), 'x')
      noteInTrace({ op: 'asked', text })
      const sequence = await journal.append(Buffer.from(text))
      noteInTrace({ op: 'told', sequence: `${sequence}`, text })
      if (sequence % 8n !== 0n) continue
      noteInTrace({ op: 'trimming', through: `${sequence - 2n}` })
      await journal.trim({ through: sequence - 2n })
    }
  }
  await Promise.all([caller(), caller(), caller()])
  await journal.close()
}
