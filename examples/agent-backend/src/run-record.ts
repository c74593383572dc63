import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/** What the agent found. */
export interface Answer {
  readonly words: number
  readonly neighbourPairs: number
  readonly ladder: readonly string[]
  readonly anagrams: readonly string[]
}

/** How far a run has come: what a restarted process cannot ask the stores for. */
export interface RunRecord {
  /** Names the run in every idempotency key, so that whatever is done again is recognised. */
  readonly runId: string
  readonly startedAt: number
  readonly answer?: Answer
  readonly received?: boolean
}

/** The run's record in a folder, replaced as a whole. */
export function openRunRecord(folder: string, fresh: RunRecord): { read(): RunRecord; write(record: RunRecord): void } {
  const file = path.join(folder, 'run.json')
  const write = (record: RunRecord): void => {
    writeFileSync(`${file}.new`, JSON.stringify(record))
    renameSync(`${file}.new`, file)
  }
  if (!existsSync(file)) write(fresh)
  return { read: () => JSON.parse(readFileSync(file, 'utf8')) as RunRecord, write }
}
