import { createHash } from 'node:crypto'
import { type FileHandle, link, mkdir, open, readdir, stat, unlink } from 'node:fs/promises'
import path from 'node:path'
import { createIdSource, type Platform, parseOptions, systemPlatform } from '@enablement/core'
import { z } from 'zod'
import type { CheckpointStore, CheckpointSummary } from '../checkpoint/checkpoint-store.ts'
import { RuntimeError } from '../runtime-error.ts'

/** What a directory of checkpoints is made of. */
export interface DirectoryCheckpointStoreOptions {
  readonly path: string
  readonly platform?: Platform
}

const schema: z.ZodType<DirectoryCheckpointStoreOptions> = z.strictObject({
  path: z.string().min(1).max(4_096),
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null, 'must be a platform').optional()
}) as z.ZodType<DirectoryCheckpointStoreOptions>

/*
 * A file: magic 'ENCD', version u8, three zeros, header length u32 (little-endian), the header as JSON, the sealed bytes.
 * The header repeats what listing needs; nothing is decided by it but expiry, for the bytes are sealed with their own.
 */
const MAGIC = Buffer.from('ENCD')
const VERSION = 1
const PREFIX_BYTES = 12

/** Ids and names are bounded well below: what claims more is no header of ours. */
const HEADER_MAX_BYTES = 65_536

/** A file half written when its process died; no save takes this long. */
const ABANDONED_MS = 3_600_000

const SUFFIX = '.checkpoint'
const UNFINISHED = '.unfinished'

/** Files looked at side by side: enough to hide a disk's latency, far below any limit of open files. */
const READS_AT_ONCE = 16

/**
 * Checkpoints as files in one directory, which is made if it is missing, for its owner alone. A file is written beside its
 * place, synced, and linked into it, so that it is there whole or not at all, also after a power loss. Processes may share
 * the directory. Throws `INVALID_OPTIONS`; its methods throw `CHECKPOINT_CORRUPT` for a file that is none of ours, and
 * what the file system throws, `ENOSPC` among it: then nothing of the checkpoint is left behind.
 */
export function directoryCheckpointStore(options: DirectoryCheckpointStoreOptions): CheckpointStore {
  const { path: directory, platform = systemPlatform } = parseOptions(schema, 'directoryCheckpointStore', options)
  const nextName = createIdSource(platform)
  let making: Promise<unknown> | undefined

  /** The id is a caller's word; its digest is a file name on every system. */
  const fileOf = (id: string): string =>
    path.join(directory, `${createHash('sha256').update(id).digest('hex')}${SUFFIX}`)

  const ready = (): Promise<unknown> => {
    making ??= mkdir(directory, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
      making = undefined
      throw error
    })
    return making
  }

  const names = async (suffix: string): Promise<readonly string[]> => {
    await ready()
    return (await readdir(directory)).filter((name) => name.endsWith(suffix)).sort()
  }

  const summaries = async (): Promise<readonly CheckpointSummary[]> => {
    const files = await names(SUFFIX)
    const found: CheckpointSummary[] = []
    for (let at = 0; at < files.length; at += READS_AT_ONCE) {
      const some = files.slice(at, at + READS_AT_ONCE)
      // One damaged file must not hide the others, nor keep them from expiring; loading it says what is wrong.
      const read = await Promise.all(
        some.map((name) =>
          readFile(path.join(directory, name), summaryOf).catch((error: unknown) => {
            if (error instanceof RuntimeError && error.is('CHECKPOINT_CORRUPT')) return undefined
            throw error
          })
        )
      )
      for (const summary of read) if (summary !== undefined) found.push(summary)
    }
    return found.sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))
  }

  /** What processes that died while they saved have left. */
  const removeAbandoned = async (now: number): Promise<void> => {
    for (const name of await names(UNFINISHED)) {
      const file = path.join(directory, name)
      const found = await unlessMissing(stat(file))
      if (found !== undefined && found.mtimeMs < now - ABANDONED_MS) await unlessMissing(unlink(file))
    }
  }

  return {
    async save(checkpoint) {
      await ready()
      const { bytes, ...header } = checkpoint
      const unfinished = path.join(directory, `${nextName()}${UNFINISHED}`)
      try {
        await write(unfinished, Buffer.from(JSON.stringify(header)), bytes)
        // Fails when the id is there: the first save stands.
        await link(unfinished, fileOf(checkpoint.id)).catch((error: unknown) => {
          if (codeOf(error) !== 'EEXIST') throw error
        })
      } finally {
        await unlessMissing(unlink(unfinished))
      }
      await syncDirectory(directory)
    },
    load: (id) =>
      readFile(fileOf(id), async (file) => {
        const { header, bodyAt, sizeBytes } = await headerOf(file)
        if (header.id !== id) throw corrupt('it is another checkpoint')
        const bytes = new Uint8Array(sizeBytes - bodyAt)
        await fill(file, bytes, bodyAt)
        return { ...header, bytes }
      }),
    async remove(id) {
      await unlessMissing(unlink(fileOf(id)))
    },
    async list(tenant, { limit }) {
      return (await summaries()).filter((summary) => summary.tenant === tenant).slice(0, limit)
    },
    async removeExpired(now, limit) {
      await removeAbandoned(now)
      const expired = (await summaries())
        .filter(({ expiresAt }) => expiresAt <= now)
        .sort((a, b) => a.expiresAt - b.expiresAt)
        .slice(0, limit)
      for (const { id } of expired) await unlessMissing(unlink(fileOf(id)))
      return expired.length
    }
  }
}

async function write(file: string, header: Buffer, bytes: Uint8Array): Promise<void> {
  const handle = await open(file, 'wx', 0o600)
  try {
    const prefix = Buffer.alloc(PREFIX_BYTES)
    MAGIC.copy(prefix)
    prefix.writeUInt8(VERSION, MAGIC.length)
    prefix.writeUInt32LE(header.length, PREFIX_BYTES - 4)
    for (const part of [prefix, header, bytes]) {
      for (let at = 0; at < part.length; ) at += (await handle.write(part, at)).bytesWritten
    }
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** `read` on the file, or undefined when it is not there. */
async function readFile<T>(file: string, read: (handle: FileHandle) => Promise<T>): Promise<T | undefined> {
  const handle = await unlessMissing(open(file, 'r'))
  if (handle === undefined) return undefined
  try {
    return await read(handle)
  } finally {
    await handle.close()
  }
}

async function summaryOf(file: FileHandle): Promise<CheckpointSummary> {
  const { header, bodyAt, sizeBytes } = await headerOf(file)
  return { ...header, sealedBytes: sizeBytes - bodyAt }
}

const headerSchema = z.strictObject({
  id: z.string(),
  tenant: z.string(),
  sandboxId: z.string(),
  createdAt: z.number(),
  expiresAt: z.number()
})

async function headerOf(file: FileHandle) {
  const { size: sizeBytes } = await file.stat()
  const prefix = Buffer.alloc(PREFIX_BYTES)
  await fill(file, prefix, 0)
  const headerBytes = prefix.readUInt32LE(PREFIX_BYTES - 4)
  const ours = prefix.subarray(0, MAGIC.length).equals(MAGIC) && prefix[MAGIC.length] === VERSION
  if (!ours || headerBytes > HEADER_MAX_BYTES) throw corrupt('its first bytes are not those of a checkpoint file')
  const text = Buffer.alloc(headerBytes)
  await fill(file, text, PREFIX_BYTES)
  let parsed: unknown
  try {
    parsed = JSON.parse(text.toString())
  } catch {
    throw corrupt('its header is damaged')
  }
  const checked = headerSchema.safeParse(parsed)
  if (!checked.success) throw corrupt('its header is damaged')
  return { header: checked.data, bodyAt: PREFIX_BYTES + headerBytes, sizeBytes }
}

/** Fills `target` from `at` on. */
async function fill(file: FileHandle, target: Uint8Array, at: number): Promise<void> {
  for (let filled = 0; filled < target.length; ) {
    const { bytesRead } = await file.read(target, filled, target.length - filled, at + filled)
    if (bytesRead === 0) throw corrupt('it ends too early')
    filled += bytesRead
  }
}

/** Makes the names themselves durable. Windows has no such thing, and needs none. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r').catch((error: unknown) => {
    if (codeOf(error) === 'EISDIR' || codeOf(error) === 'EPERM') return undefined
    throw error
  })
  try {
    await handle?.sync()
  } finally {
    await handle?.close()
  }
}

async function unlessMissing<T>(doing: Promise<T>): Promise<T | undefined> {
  try {
    return await doing
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined)

const corrupt = (reason: string): RuntimeError<'CHECKPOINT_CORRUPT'> =>
  new RuntimeError('CHECKPOINT_CORRUPT', `the checkpoint's file is damaged: ${reason}`, { reason })
