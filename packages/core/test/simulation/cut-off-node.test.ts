import { describe, expect, inject, it } from 'vitest'
import { shareOf } from '../testing/share.ts'
import { brokenNodes } from './broken-nodes.ts'
import { ledgerHistory } from './ledger-world.ts'

const SEEDS = Math.min(50 * inject('scale'), 1_000)
/** Each broken node is found by one of these. */
const SEEDS_MAX = 50

describe('three nodes and one store (XP-3)', () => {
  it(`lose nothing and double nothing, and the one that was cut off catches up within 30 s, with ${SEEDS} seeds`, async () => {
    let events = 0
    let journaled = 0
    for (let seed = 1; seed <= SEEDS; seed++) {
      const history = await ledgerHistory(seed)
      events += history.events
      for (const { how } of history.value.told.values()) if (how === 'journaled') journaled += 1
    }
    expect(events / SEEDS).toBeGreaterThan(500)
    expect(journaled / SEEDS).toBeGreaterThan(10)
  }, 600_000)

  it('have the same trace for the same seed, and another one for another (§5 Clock/Random/Id)', async () => {
    const traces: string[] = []
    const hashes: string[] = []
    for (const seed of [7, 7, 8]) {
      const { value: _, ...history } = await ledgerHistory(seed)
      hashes.push(history.trace.hash)
      traces.push(JSON.stringify(history))
    }
    expect(traces[1]).toBe(traces[0])
    expect(hashes[2]).not.toBe(hashes[0])
  })
})

describe('a node that', () => {
  it.each(shareOf(Object.entries(brokenNodes)))(
    '%s is found, by a seed that finds it again',
    async (_, sabotage) => {
      const failures: { seed: number; message: string }[] = []
      for (let seed = 1; seed <= SEEDS_MAX && failures.length === 0; seed++) {
        await ledgerHistory(seed, sabotage).catch((error: Error) => failures.push({ seed, message: error.message }))
      }
      const [found] = failures
      expect(found?.message).toContain(`the simulation with seed ${found?.seed} failed`)
      await expect(ledgerHistory(found?.seed ?? 0, sabotage)).rejects.toThrow(found?.message)
    },
    600_000
  )
})
