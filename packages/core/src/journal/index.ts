export { type Journal, type JournalEvent, type JournalOptions, type JournalStatus, openJournal } from './journal.ts'
export type { JournalDisk, JournalFile, JournalFolder } from './journal-disk.ts'
export { machineDisk } from './machine-disk.ts'
export type { JournalRecord } from './replay.ts'
