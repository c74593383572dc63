import { type ConformanceTest, conformanceTests, testPlatform } from '@enablement/core/testing'
import { cachedDirectory } from '@enablement/oversight'
import { approverDirectoryConformance, type CreateApproverDirectory } from '@enablement/oversight/testing'
import { describe, expect, it } from 'vitest'
import { brokenDirectories, builtIn, type MakeDirectory, soundDirectory } from './broken-directories.ts'

const everything = { groups: true, schedules: true, tenants: true, absences: true, principals: true, outages: true }

const exam = (create: CreateApproverDirectory, supports = everything) =>
  conformanceTests(approverDirectoryConformance, { create, supports })

const made =
  (make: MakeDirectory): CreateApproverDirectory =>
  async (tenants) => {
    const state = { out: false }
    const setOutage = async (out: boolean): Promise<void> => {
      state.out = out
    }
    return { directory: make(builtIn(tenants), state), setOutage, [Symbol.asyncDispose]: async () => {} }
  }

describe('the directory over data', () => {
  const tests = exam(
    made((inner) => inner),
    { ...everything, outages: false }
  )
  it.for(tests.tests)('$name', (test) => expect(test.run()).resolves.toBeUndefined())

  it('is excused from nothing but outages, for it stands on nothing', () => {
    expect(tests.omitted).toMatchObject([{ unmet: ['outages'] }])
  })
})

describe('the cached directory', () => {
  // A handoff may count `freshMs` late: here that is the millisecond in which the clock stands.
  const cached: MakeDirectory = (inner, state) =>
    cachedDirectory(soundDirectory(inner, state), { freshMs: 1, staleMs: 100, platform: testPlatform() }) as never
  it.for(exam(made(cached)).tests)('$name', (test) => expect(test.run()).resolves.toBeUndefined())
})

describe('the exam of directories', () => {
  const failed = async (tests: readonly ConformanceTest[]): Promise<readonly string[]> => {
    const names: string[] = []
    for (const { name, run } of tests) {
      await run().catch((error: unknown) => {
        expect(error).toHaveProperty('code', 'ERR_ASSERTION')
        names.push(name)
      })
    }
    return names
  }

  it('is passed by a sound one', async () => {
    expect(await failed(exam(made(soundDirectory)).tests)).toEqual([])
  })

  it.each(brokenDirectories)('finds one that %s', async (_, make, foundBy) => {
    expect(await failed(exam(made(make)).tests)).toContainEqual(expect.stringContaining(foundBy))
  })
})
