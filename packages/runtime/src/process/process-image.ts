import { promisify } from 'node:util'
import { constants, zstdCompress, zstdDecompress } from 'node:zlib'
import { z } from 'zod'
import { RuntimeError } from '../runtime-error.ts'
import { BOUNDS } from './guest-protocol.ts'
import { ARCHIVE_MAX_BYTES, type Entry, parseEntries } from './workspace-archive.ts'

/** What a checkpoint of a process holds. */
export interface ProcessImage {
  /** JSON of what the guest handed over, if it did. */
  readonly stateJson?: string
  readonly entries: readonly Entry[]
  readonly contents: Uint8Array
}

const MAGIC = 'EPI1'
const HEAD_BYTES = 8

/** A table of 100,000 names and targets, and the state: nothing whole is longer. */
const TABLE_MAX_BYTES = 67_108_864

const tableSchema = z.strictObject({
  host: z.literal('process'),
  version: z.literal(1),
  stateJson: z.string().max(BOUNDS.stateChars).optional(),
  entries: z.array(z.unknown())
})

const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)

/** Writes an image: magic, length of the table, table, contents; compressed as one. */
export async function encodeImage({ stateJson, entries, contents }: ProcessImage): Promise<Uint8Array<ArrayBuffer>> {
  const table = Buffer.from(
    JSON.stringify({ host: 'process', version: 1, ...(stateJson === undefined ? {} : { stateJson }), entries }),
    'utf8'
  )
  const head = Buffer.alloc(HEAD_BYTES)
  head.write(MAGIC, 'latin1')
  head.writeUInt32BE(table.length, 4)
  const packed = await compress(Buffer.concat([head, table, contents]), {
    params: { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 }
  })
  return new Uint8Array(packed)
}

/** Reads one. Throws `CHECKPOINT_CORRUPT`. */
export async function decodeImage(image: Uint8Array): Promise<ProcessImage> {
  try {
    const bytes = await decompress(image, { maxOutputLength: HEAD_BYTES + TABLE_MAX_BYTES + ARCHIVE_MAX_BYTES })
    if (bytes.length < HEAD_BYTES || bytes.toString('latin1', 0, 4) !== MAGIC) throw new Error('it is no process image')
    const tableBytes = bytes.readUInt32BE(4)
    if (tableBytes > TABLE_MAX_BYTES || HEAD_BYTES + tableBytes > bytes.length) throw new Error('it is cut short')
    const table = tableSchema.parse(JSON.parse(bytes.toString('utf8', HEAD_BYTES, HEAD_BYTES + tableBytes)))
    const contents = bytes.subarray(HEAD_BYTES + tableBytes)
    if (table.stateJson !== undefined) JSON.parse(table.stateJson)
    const entries = parseEntries(table.entries, contents.length)
    return { ...(table.stateJson === undefined ? {} : { stateJson: table.stateJson }), entries, contents }
  } catch (error) {
    const reason = error instanceof z.ZodError ? 'its table is malformed' : (error as Error).message
    throw new RuntimeError(
      'CHECKPOINT_CORRUPT',
      `the checkpoint's image is damaged: ${reason}`,
      { reason },
      { cause: error }
    )
  }
}
