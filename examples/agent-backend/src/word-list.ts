import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { JsonValue } from '@enablement/core'

/** The data set that ships with the example; see `data/README.md`. */
export const wordList: readonly string[] = readFileSync(path.join(import.meta.dirname, '../data/words.txt'), 'utf8')
  .trimEnd()
  .split('\n')

/** What the agent must find, computed beforehand by other means than its own: substituting letters word by word. */
export const expected = {
  words: 52_271,
  neighbourPairs: 50_023,
  ladderSteps: 10,
  anagrams: ['aster', 'rates', 'stare', 'tares', 'taser', 'tears', 'treas']
} as const

/** How many words one call of the tool gives. */
export const WORDS_PER_CALL = 2_000

/** The words from a position on, at most 2,000. */
export const stretchFrom = (from: number): readonly string[] => wordList.slice(from, from + WORDS_PER_CALL)

/** The position that the agent asks for. It comes out of a sandbox, so it is checked like any stranger's input. */
export function positionOf(argument: JsonValue | undefined): number {
  const { from } = (argument ?? {}) as { readonly from?: JsonValue }
  if (!Number.isSafeInteger(from) || (from as number) < 0) throw new RangeError('from must be a non-negative integer')
  return from as number
}
