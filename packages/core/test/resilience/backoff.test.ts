import { type Backoff, backoffMs, createRetryBudget, parseRetryAfter } from '@enablement/core'
import { seededRandom } from '@enablement/core/testing'
import { describe, expect, it } from 'vitest'

const DRAWS = 20_000

function draws(backoff: Backoff, failures: number, previousMs = 0): { least: number; most: number; mean: number } {
  const random = seededRandom(7)
  const all = Array.from({ length: DRAWS }, () => backoffMs(backoff, failures, previousMs, random))
  return { least: Math.min(...all), most: Math.max(...all), mean: all.reduce((sum, one) => sum + one, 0) / DRAWS }
}

describe('backoff', () => {
  it.each([
    { jitter: 'full', failures: 1, from: 0, to: 100 },
    { jitter: 'full', failures: 3, from: 0, to: 400 },
    { jitter: 'full', failures: 9, from: 0, to: 1_000 },
    { jitter: 'equal', failures: 1, from: 50, to: 100 },
    { jitter: 'equal', failures: 3, from: 200, to: 400 },
    { jitter: 'equal', failures: 1_000, from: 500, to: 1_000 }
  ] as const)('draws evenly from its span: $jitter after $failures', ({ jitter, failures, from, to }) => {
    const { least, most, mean } = draws({ jitter, baseMs: 100, maxMs: 1_000 }, failures)
    const tolerance = (to - from) * 0.02
    expect(least).toBeGreaterThanOrEqual(from)
    expect(least).toBeLessThan(from + tolerance)
    expect(most).toBeLessThan(to)
    expect(most).toBeGreaterThan(to - tolerance)
    expect(Math.abs(mean - (from + to) / 2)).toBeLessThan(tolerance)
  })

  it.each([
    { previousMs: 0, from: 100, to: 300 },
    { previousMs: 200, from: 100, to: 600 }
  ])('draws decorrelated waits between the base and three times the wait before: $previousMs', (row) => {
    const { least, most, mean } = draws({ jitter: 'decorrelated', baseMs: 100, maxMs: 1_000 }, 5, row.previousMs)
    expect(least).toBeGreaterThanOrEqual(row.from)
    expect(most).toBeLessThan(row.to)
    expect(Math.abs(mean - (row.from + row.to) / 2)).toBeLessThan((row.to - row.from) * 0.02)
  })

  it('never exceeds maxMs with decorrelated waits', () => {
    expect(draws({ jitter: 'decorrelated', baseMs: 100, maxMs: 150 }, 5, 150).most).toBe(150)
  })

  it('multiplies without jitter', () => {
    const backoff = { jitter: 'none', baseMs: 10, maxMs: 200, factor: 3 } as const
    expect([1, 2, 3, 4].map((failures) => draws(backoff, failures).most)).toEqual([10, 30, 90, 200])
  })
})

describe('Retry-After', () => {
  const now = Date.UTC(2026, 0, 1)
  it.each([
    ['120', 120_000],
    [' 0 ', 0],
    ['Thu, 01 Jan 2026 00:00:30 GMT', 30_000],
    ['Thursday, 01-Jan-26 00:00:30 GMT', 30_000],
    ['Thu Jan  1 00:00:30 2026', 30_000],
    ['Wed, 31 Dec 2025 00:00:00 GMT', 0],
    ['', undefined],
    ['-1', undefined],
    ['1.5', undefined],
    ['1e3', undefined],
    ['soon', undefined],
    ['Thu, no date at all is this GMT', undefined],
    ['99999999999', undefined]
  ])('%j asks for %s ms', (header, expected) => {
    expect(parseRetryAfter(header, now)).toBe(expected)
  })
})

describe('retry budget', () => {
  it('pays for retries until it is empty, and is filled by successes', () => {
    const budget = createRetryBudget({ capacity: 10, retryCost: 5, successEarns: 2 })
    expect([budget.spend(), budget.spend(), budget.spend()]).toEqual([true, true, false])
    budget.earn()
    budget.earn()
    expect(budget.spend()).toBe(false)
    budget.earn()
    expect([budget.left, budget.spend(), budget.left]).toEqual([6, true, 1])
    for (let success = 0; success < 20; success++) budget.earn()
    expect(budget.left).toBe(10)
  })

  it.each([{ capacity: 0 }, { retryCost: Number.NaN }, { capacity: 4, retryCost: 5 }])('refuses %j', (options) => {
    expect(() => createRetryBudget(options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
  })
})
