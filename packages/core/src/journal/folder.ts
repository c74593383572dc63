import { mkdir, open, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import process from 'node:process'
import { isSegmentName, UNFINISHED_SUFFIX } from './segment.ts'

/** Makes the names in a folder durable. Windows cannot open a folder for that, and needs it for none of its file systems. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Makes the folder when it does not exist, and its name durable; the folder around it must exist. */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return
  }
  await syncFolder(join(folder, '..'))
}

/** The segments' names in order. Removes what was left of a segment that was being made. */
export async function segmentNames(folder: string): Promise<string[]> {
  const names = await readdir(folder)
  for (const name of names) if (name.endsWith(UNFINISHED_SUFFIX)) await unlink(join(folder, name))
  return names.filter(isSegmentName).sort()
}

/**
 * Removes segments, the oldest first, each one's name durably before the next: after a power cut what is left has no
 * hole. `onRemoved` is told of each.
 */
export async function removeSegments(
  folder: string,
  names: readonly string[],
  onRemoved: (name: string) => void
): Promise<void> {
  for (const name of names) {
    await unlink(join(folder, name))
    onRemoved(name)
    await syncFolder(folder)
  }
}
