import {
  connectedStanding,
  type PartitionRule,
  type PartitionStanding,
  partitionStep
} from '@enablement/runtime/network'
import { describe, expect, it } from 'vitest'

const rule: PartitionRule = { failuresMin: 2, badRoundsMin: 2, goodRoundsMin: 2 }

/** The states after each round of so many failures. */
function states(rounds: readonly number[], under: PartitionRule = rule): string[] {
  let standing: PartitionStanding = connectedStanding
  return rounds.map((failures) => {
    standing = partitionStep(standing, failures, under).standing
    return standing.state
  })
}

describe('the partition machine', () => {
  it.each([
    ['a round below the threshold is good', [1, 1, 1], ['connected', 'connected', 'connected']],
    ['one bad round is a lost packet', [2, 0, 2, 0], ['connected', 'connected', 'connected', 'connected']],
    ['two in a row are a partition', [2, 3], ['connected', 'partitioned']],
    [
      'it counts as connected after two good rounds',
      [2, 2, 0, 0],
      ['connected', 'partitioned', 'recovering', 'connected']
    ],
    [
      'a bad round while recovering is the partition again, and counting begins anew',
      [2, 2, 1, 2, 1, 1],
      ['connected', 'partitioned', 'recovering', 'partitioned', 'recovering', 'connected']
    ]
  ])('%s', (_rule, rounds, expected) => expect(states(rounds)).toEqual(expected))

  it('goes from partitioned to connected at once where one good round is enough', () => {
    expect(states([2, 0], { failuresMin: 1, badRoundsMin: 1, goodRoundsMin: 1 })).toEqual(['partitioned', 'connected'])
  })

  it('lets the backoff grow from the partition on, also over a recovery that did not last', () => {
    let standing = connectedStanding
    const waits = [2, 2, 2, 2, 0, 2].map((failures) => {
      const step = partitionStep(standing, failures, rule)
      standing = step.standing
      return step.next.after === 'backoff' ? step.next.failures : 'interval'
    })
    expect(waits).toEqual([1, 1, 2, 3, 1, 4])
    expect(partitionStep({ state: 'recovering', badRounds: 5, goodRounds: 1 }, 0, rule)).toEqual({
      standing: connectedStanding,
      next: { after: 'interval' }
    })
  })
})
