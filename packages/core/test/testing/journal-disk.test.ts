import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { machineDisk } from '@enablement/core/journal'
import { conformanceTests, journalDiskConformance } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'
import { brokenJournalDisks, journalDiskSubject } from './broken-journal-disks.ts'

describe('the simulated disk', () => {
  const exam = conformanceTests(journalDiskConformance, { create: journalDiskSubject(), supports: { powerCut: true } })
  for (const { name, run } of exam) it(name, run)
  it('is excused from nothing', () => expect(exam.omitted).toEqual([]))
})

describe("the machine's disk", () => {
  const exam = conformanceTests(journalDiskConformance, {
    async create() {
      const around = mkdtempSync(join(tmpdir(), 'enablement-disk-'))
      return {
        disk: machineDisk,
        path: join(around, 'journal'),
        [Symbol.asyncDispose]: async () => rmSync(around, { recursive: true, force: true })
      }
    },
    supports: { powerCut: false }
  })
  for (const { name, run } of exam) it(name, run)
  it('is excused from power cuts', () => {
    expect(exam.omitted.length).toBeGreaterThan(5)
    for (const { unmet } of exam.omitted) expect(unmet).toEqual(['powerCut'])
  })
})

describe('a broken disk', () => {
  it.each(Object.entries(brokenJournalDisks))('that %s is caught', async (_, breaks) => {
    const exam = conformanceTests(journalDiskConformance, {
      create: journalDiskSubject(breaks),
      supports: { powerCut: true }
    })
    const ends = await Promise.allSettled(exam.tests.map(({ run }) => run()))
    expect(ends.filter(({ status }) => status === 'rejected').length).toBeGreaterThan(0)
  })
})
