import { createHash } from 'node:crypto'
import { type ApprovalAsk, canonicalJson, type JsonObject } from '@enablement/core'
import { z } from 'zod'
import type { LargeFile, ListedFile } from './large-files.ts'

/** The action that approvers decide on. */
export const DELETE_ACTION = 'runtime.delete-files'

/** An approver reads this many at most; the largest come first, and what is left can be asked about next time. */
const FILES_MAX = 100

/** The list's length as JSON, so that the ask fits the 64 Ki characters that a gate may allow for its detail. */
const LENGTH_MAX = 49_152

/** Whose files. */
export interface DeletionSubject {
  readonly tenant: string
  readonly agent: string
  readonly sandboxId: string
}

/** A request, and what it would give back. */
export interface DeletionAsk {
  readonly ask: ApprovalAsk
  /** The same for the same list. */
  readonly key: string
  readonly files: number
  readonly reclaimableBytes: number
}

const fileSchema: z.ZodType<ListedFile> = z.strictObject({
  paths: z.array(z.string().min(1)).min(1).max(100),
  device: z.string().regex(/^\d{1,20}$/),
  inode: z.string().regex(/^\d{1,20}$/),
  sizeBytes: z.int().min(0),
  allocatedBytes: z.int().min(0),
  modifiedNs: z.string().regex(/^-?\d{1,20}$/)
})
const detailSchema = z.looseObject({ files: z.array(fileSchema).max(FILES_MAX) })

/** The files of an approved request, as they were approved. Throws when the detail was not made by `deletionAsk`. */
export const approvedFiles = (detail: JsonObject): readonly ListedFile[] => detailSchema.parse(detail).files

/**
 * Asks for the deletion of the largest files that may be deleted; undefined when there are none. The key is derived from
 * the list: after a restart the same list is the same request, and another list is one that nobody has decided on. So the
 * request names nothing that varies otherwise, such as how full the disk is or what is open now. `settled` requests for
 * the same list came to nothing: what was decided once, of a disk that was full then, does not stand for ever.
 */
export function deletionAsk(
  subject: DeletionSubject,
  found: readonly LargeFile[],
  settled: (idempotencyKey: string) => number
): DeletionAsk | undefined {
  const { tenant, agent, sandboxId } = subject
  const files: (ListedFile & JsonObject)[] = []
  let length = 0
  for (const { paths, device, inode, sizeBytes, allocatedBytes, modifiedNs, isProtected, isLinkedElsewhere } of found) {
    if (isProtected || isLinkedElsewhere || paths.length > 100) continue
    const file = { paths, device, inode, sizeBytes, allocatedBytes, modifiedNs }
    length += JSON.stringify(file).length + 1
    if (length > LENGTH_MAX || files.length === FILES_MAX) break
    files.push(file)
  }
  if (files.length === 0) return undefined
  const reclaimableBytes = files.reduce((sum, file) => sum + file.allocatedBytes, 0)
  const detail: JsonObject = { resource: 'disk', agent, sandboxId, files, reclaimableBytes }
  const digest = createHash('sha256').update(canonicalJson(detail)).digest('hex').slice(0, 32)
  const key = `runtime.disk:${sandboxId}:${digest}`
  const before = settled(key)
  const what = `${files.length} ${files.length === 1 ? 'file' : 'files'} (${inMebibytes(reclaimableBytes)})`
  return {
    ask: {
      tenant,
      idempotencyKey: before === 0 ? key : `${key}:${before}`,
      action: DELETE_ACTION,
      requestedBy: { agent },
      summary: `the disk of ${agent} is full; delete ${what}? Files in use or changed by then are left alone.`,
      detail
    },
    key,
    files: files.length,
    reclaimableBytes
  }
}

const inMebibytes = (bytes: number): string => `${Math.round((bytes / 1_048_576) * 10) / 10} MiB`
