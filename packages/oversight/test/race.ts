import { randomFrom } from '@enablement/core'
import type { SqlDatabase } from '@enablement/core/sql'
import { expect } from 'vitest'
import { type Stage, stage } from './stage.ts'

const DECIDERS = 8

/**
 * Many requests, each with eight people who decide at the same time through a process of their own, and eight
 * executors. Half of the people say no, in an order that is theirs.
 */
export async function race(disk: SqlDatabase, requests: number): Promise<void> {
  const approvers = Array.from({ length: DECIDERS }, (_, index) => `approver-${index}`)
  const tiers = [{ approvers, channels: ['pager'], waitMs: 60_000 }]
  const s = await stage({ tiers, onExhausted: 'deny' }, { disk })
  const processes = approvers.map(() => s.another())
  const opened = await Promise.all(Array.from({ length: requests }, (_, index) => s.open(`call-${index}`)))

  const outcomes = await Promise.all(
    processes.flatMap((process, index) =>
      shuffled(opened, index).map(({ id }) => {
        const approver = approvers[index] as string
        return index % 2 === 0
          ? process.decide(id, { approver, decision: 'approve' })
          : process.decide(id, { approver, decision: 'deny', reason: 'not now' })
      })
    )
  )
  expect(outcomes.filter(({ outcome }) => outcome === 'recorded')).toHaveLength(requests)
  expect(outcomes.filter(({ outcome }) => outcome === 'too-late')).toHaveLength(requests * (DECIDERS - 1))

  const runs = new Map<string, number>()
  const executions = await Promise.all(
    processes.flatMap((process, index) =>
      shuffled(opened, index).map(({ id }) =>
        process.request(s.raise, id).execute(async () => {
          runs.set(id, (runs.get(id) ?? 0) + 1)
          return id
        })
      )
    )
  )
  const verdicts = await Promise.all(opened.map((request) => request.settled()))
  const approved = verdicts.filter(({ outcome }) => outcome === 'approved')
  expect([...runs.values()]).toEqual(approved.map(() => 1))
  expect(executions.filter(({ outcome }) => outcome === 'executed')).toHaveLength(approved.length)
  const refused = executions.filter(({ outcome }) => outcome === 'not-approved')
  expect(refused).toHaveLength((requests - approved.length) * DECIDERS)
  await expectRecord(s, requests, approved.length)
}

/** One record a verdict, one a late vote, one a start and an end of each execution; and the log is whole. */
async function expectRecord(s: Stage, requests: number, approved: number): Promise<void> {
  const tally: { [action: string]: number } = {}
  const settled = new Set<string>()
  await s.story()
  for (const { action, subject } of await s.entries()) {
    tally[action] = (tally[action] ?? 0) + 1
    if (action === 'request.approved' || action === 'request.denied') settled.add(subject)
  }
  expect(settled.size).toBe(requests)
  expect(tally).toEqual({
    'request.opened': requests,
    'tier.asked': requests,
    ...(approved > 0
      ? { 'request.approved': approved, 'execution.started': approved, 'execution.executed': approved }
      : {}),
    ...(approved < requests ? { 'request.denied': requests - approved } : {}),
    'vote.too-late': requests * (DECIDERS - 1)
  })
}

/** In an order of its own for each `seed`. */
function shuffled<T>(items: readonly T[], seed: number): readonly T[] {
  let state = (seed + 1) * 2_654_435_761
  const random = randomFrom(() => {
    state = Math.imul(state ^ (state >>> 15), 2_246_822_519) + 1
    return state >>> 0
  })
  return items
    .map((item) => ({ item, key: random.float() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item)
}
