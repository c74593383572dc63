import { describe, expect, it } from 'vitest'
import { brokenCheckpointSinks } from '../audit/broken-checkpoint-sinks.ts'
import { brokenBreakerStateStores } from '../fleet/broken-breaker-state-stores.ts'
import { brokenTokenBucketStores } from '../fleet/broken-token-bucket-stores.ts'
import { brokenLockStores } from '../lock/broken-lock-stores.ts'
import { brokenCircuitBreakers } from '../resilience/broken-circuit-breakers.ts'
import { brokenDueClaims } from '../schedule/broken-due-claims.ts'
import { brokenNodes } from '../simulation/broken-nodes.ts'
import { brokenJournalDisks } from './broken-journal-disks.ts'

const namesOf = (things: readonly { readonly name: string }[]): string[] => things.map(({ name }) => name)

/** What is broken on purpose, and how many there are at least: a test beside each list sees every one of them caught. */
const broken: readonly (readonly [string, number, readonly string[]])[] = [
  ['lock store', 29, namesOf(brokenLockStores)],
  ['circuit breaker', 24, namesOf(brokenCircuitBreakers)],
  ['breaker state store', 16, namesOf(brokenBreakerStateStores)],
  ['token bucket store', 18, namesOf(brokenTokenBucketStores)],
  ['claim on due rows', 22, namesOf(brokenDueClaims)],
  ['checkpoint sink', 13, brokenCheckpointSinks.map(([name]) => name)],
  ['journal disk', 16, Object.keys(brokenJournalDisks)],
  ['node of three', 10, Object.keys(brokenNodes)]
]

describe('the kits (§5 Test kits)', () => {
  it.each(broken)('are held against each broken %s, of which there are %d or more', (_, least, names) => {
    expect(new Set(names).size).toBe(names.length)
    expect(names.length).toBeGreaterThanOrEqual(least)
  })

  it('are held against more than thirty in all', () => {
    expect(broken.reduce((sum, [, , names]) => sum + names.length, 0)).toBeGreaterThan(30)
  })
})
