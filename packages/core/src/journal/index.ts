export { type Journal, type JournalEvent, type JournalOptions, type JournalStatus, openJournal } from './journal.ts'
export type { JournalRecord } from './replay.ts'
