import { type Journal, type JournalDisk, type JournalOptions, openJournal } from '@enablement/core/journal'
import { type SimulatedDisk, simulatedDisk } from '@enablement/core/testing'

/** The one folder of these tests. */
export const FOLDER = 'journal'

/** The journal of a disk. */
export const openOn = (disk: JournalDisk, options: Partial<JournalOptions> = {}): Promise<Journal> =>
  openJournal({ folder: FOLDER, disk, ...options })

/** The names of the segments there. */
export const segmentsOn = (disk: SimulatedDisk): string[] =>
  disk.files.names(FOLDER).filter((name) => name.endsWith('.journal'))

/** A disk with these files in the folder. */
export function diskWith(files: Readonly<Record<string, Uint8Array>>): SimulatedDisk {
  const disk = simulatedDisk()
  for (const [name, bytes] of Object.entries(files)) disk.files.write(FOLDER, name, bytes)
  return disk
}
