// Durable records per second from 64 callers, against the usual way to write a log: one write and one fdatasync per
// record. Both write records of the same payload to files in the same folder, and both are durable when they answer;
// ours lets records that wait share a sync. Rounds are interleaved, and the medians are compared.
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { crc32 } from 'node:zlib'
import { openJournal } from '@enablement/core/journal'

const CALLERS = 64
const ROUNDS = 9
const ROUND_MS = 400
const PAYLOAD = Buffer.alloc(200, 'x')

/** Records that `CALLERS` callers finish in a round, per second. */
async function rate(append) {
  const startedAt = performance.now()
  const endsAt = startedAt + ROUND_MS
  let done = 0
  const caller = async () => {
    while (performance.now() < endsAt) {
      await append()
      done += 1
    }
  }
  await Promise.all(Array.from({ length: CALLERS }, caller))
  return (done * 1_000) / (performance.now() - startedAt)
}

/** Length and checksum before the payload, in one write: the least that a log can do. */
function openTheirs(path) {
  const file = openSync(path, 'a')
  const record = Buffer.alloc(8 + PAYLOAD.length)
  return {
    append: async () => {
      record.writeUInt32LE(PAYLOAD.length, 0)
      record.writeUInt32LE(crc32(PAYLOAD), 4)
      record.set(PAYLOAD, 8)
      writeSync(file, record)
      fdatasyncSync(file)
    },
    close: () => closeSync(file)
  }
}

const median = (rates) => rates.toSorted((one, other) => one - other)[rates.length >> 1]

/** The row of the bench protocol; `ratio` above 1 means that ours is better. */
export async function rows() {
  const folder = mkdtempSync(join(tmpdir(), 'enablement-bench-journal-'))
  const ours = await openJournal({ folder: join(folder, 'ours'), totalMaxBytes: 8 * 2 ** 30 })
  const theirs = openTheirs(join(folder, 'theirs.log'))
  const rates = { ours: [], theirs: [] }
  try {
    for (let round = -1; round < ROUNDS; round++) {
      const our = await rate(() => ours.append(PAYLOAD))
      const their = await rate(theirs.append)
      await ours.trim({ through: ours.status().lastSequence })
      // The first round warms both up.
      if (round < 0) continue
      rates.ours.push(our)
      rates.theirs.push(their)
    }
  } finally {
    await ours.close()
    theirs.close()
    rmSync(folder, { recursive: true })
  }
  const [our, their] = [median(rates.ours), median(rates.theirs)]
  return [
    {
      id: 'group-64',
      ours: Math.round(our),
      peer: 'one write and fdatasync per record',
      theirs: Math.round(their),
      unit: 'durable records/s',
      ratio: Number((our / their).toFixed(2))
    }
  ]
}
