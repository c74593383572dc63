import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CoreError } from '@enablement/core'
import type { Journal, JournalRecord } from '@enablement/core/journal'
import { beforeEach } from 'vitest'

/** A folder that is removed after each test; call the result for a path in it. */
export function useFolder(): (name?: string) => string {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'enablement-journal-'))
    return () => rmSync(folder, { recursive: true, force: true })
  })
  return (name = 'journal') => join(folder, name)
}

export const bytesOf = (text: string): Uint8Array => Buffer.from(text)

export async function recordsIn(journal: Journal, after?: bigint): Promise<JournalRecord[]> {
  const records: JournalRecord[] = []
  for await (const record of journal.replay(after === undefined ? {} : { after })) records.push(record)
  return records
}

/** Sequence and payload of every record after a cursor. */
export async function textsIn(journal: Journal, after?: bigint): Promise<[bigint, string][]> {
  const records = await recordsIn(journal, after)
  return records.map(({ sequence, payload }) => [sequence, Buffer.from(payload).toString('latin1')])
}

export const segmentsIn = (folder: string): string[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.journal'))
    .sort()

/** What a call rejects with. */
export async function refusalOf(call: Promise<unknown>): Promise<CoreError> {
  return call.then(
    () => {
      throw new Error('was not refused')
    },
    (error: CoreError) => error
  )
}
