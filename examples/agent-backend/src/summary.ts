import { priceUsage } from '@enablement/metering'
import Table from 'cli-table3'
import colors from 'picocolors'
import { type Backend, subscription, tenant } from './backend.ts'
import type { Journey } from './journey.ts'
import type { Observed } from './narration.ts'
import { expected, wordList } from './word-list.ts'

/** One thing that must hold at the end, and what was found. */
interface Invariant {
  readonly what: string
  readonly found: string
  readonly held: boolean
}

export interface Reckoning {
  readonly invariants: readonly Invariant[]
  readonly cost: string
}

/** Looks at the stores, not at what the process remembers, wherever they know. */
export async function reckon(
  backend: Backend,
  journey: Journey,
  observed: Observed,
  metersBefore: number
): Promise<Reckoning> {
  const { answer } = journey
  const entries = await backend.audit.read(tenant, { limit: 1_000 })
  const count = (action: string): number => entries.filter((entry) => entry.action === action).length
  const integrity = await backend.audit.verify(tenant)

  const words = await usageOf(backend, 'words-read')
  const milliseconds = await usageOf(backend, 'sandbox-milliseconds')
  const line = priceUsage({
    quantity: words.quantity,
    rate: { unitPrice: '0.15', per: 1_000, currency: 'EUR' },
    rounding: 'half-even'
  })
  const escalations = entries.filter(({ action, detail }) => action === 'tier.asked' && detail?.['after']).length
  const peak = entries.find((entry) => entry.action === 'memory-incident.detected')?.detail?.['peakBytes']

  const invariants: Invariant[] = [
    {
      what: 'the agent ran out of memory once',
      found: `incidents: ${count('memory-incident.detected')}, peak ${((Number(peak) || 0) / 2 ** 20).toFixed(1)} MiB`,
      held: count('memory-incident.detected') === 1
    },
    {
      what: 'an unreachable approver: escalated once',
      found: `escalations: ${escalations}, unreachable: ${count('invitation.unreachable')}`,
      held: escalations === 1 && count('tier.asked') === 1
    },
    {
      what: 'approved once, executed once',
      found: `approvals: ${count('request.approved')}, executions: ${count('execution.executed')}`,
      held: count('request.opened') === 1 && count('request.approved') === 1 && count('execution.executed') === 1
    },
    {
      what: 'resumed with its state intact',
      found: `${answer.words.toLocaleString('en')} words in memory`,
      held: answer.words === expected.words
    },
    {
      what: 'the right answer',
      found: `${answer.neighbourPairs.toLocaleString('en')} pairs, ${answer.ladder.length} steps from crash to saves`,
      held:
        answer.neighbourPairs === expected.neighbourPairs &&
        isLadder(answer.ladder) &&
        answer.ladder.length === expected.ladderSteps &&
        [...answer.anagrams].sort().join() === expected.anagrams.join()
    },
    {
      what: 'every word counted once',
      found: `${words.quantity.toLocaleString('en')} words, duplicates caught: ${observed.duplicates}`,
      held: words.quantity === BigInt(expected.words) && (journey.answeredBefore || observed.duplicates > 0)
    },
    {
      what: 'every run metered',
      found: `runs: ${milliseconds.events}, ${milliseconds.quantity.toLocaleString('en')} ms`,
      held: milliseconds.events - metersBefore === journey.evaluations
    },
    {
      what: 'the quota refused one call',
      found: `calls refused: ${observed.refusals}`,
      held: observed.refusals === 1
    },
    {
      what: 'the answer was received once',
      found: journey.receivedBefore ? 'before the restart' : `messages: ${journey.printed}`,
      held: journey.receivedBefore ? journey.printed === 0 : journey.printed === 1
    },
    {
      what: 'the audit log verifies',
      found: integrity.outcome === 'intact' ? `${integrity.entries} entries` : integrity.reason,
      // Entries may be added between the two looks.
      held: integrity.outcome === 'intact' && integrity.entries >= entries.length
    }
  ]
  return { invariants, cost: `${line.currency} ${line.amount} for ${words.quantity.toLocaleString('en')} words read` }
}

/** A subscription's whole use of one metric. */
export async function usageOf(
  { meter }: Backend,
  metric: string
): Promise<{ readonly quantity: bigint; readonly events: number }> {
  const ever = { from: Date.UTC(2020, 0), to: Date.UTC(2100, 0) }
  const [total] = await meter.totals({ tenant, subscription, metric, ...ever })
  return { quantity: BigInt(total?.quantity ?? 0), events: Number(total?.events ?? 0) }
}

export function draw({ invariants, cost }: Reckoning): string {
  const table = new Table({ head: ['survived', 'found', ''], style: { head: [], border: [], compact: true } })
  for (const { what, found, held } of invariants) {
    table.push([what, found, held ? colors.green('held') : colors.red('BROKEN')])
  }
  table.push(['what it cost', cost, ''])
  return table.toString()
}

/** Whether each step is a word of the list that differs from the one before in one letter. */
function isLadder(steps: readonly string[]): boolean {
  const known = new Set(wordList)
  return (
    steps[0] === 'crash' &&
    steps.at(-1) === 'saves' &&
    steps.every((word, at) => {
      const before = steps[at - 1] ?? word
      const changed = [...word].filter((letter, index) => letter !== before[index]).length
      return known.has(word) && before.length === word.length && changed === (at === 0 ? 0 : 1)
    })
  )
}
