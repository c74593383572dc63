import { appendFileSync, readFileSync } from 'node:fs'

/** Writes down what really happened, outside of the library and its store. */
export interface Witness {
  tell(...words: readonly (string | number)[]): void
  /** What was told so far by everyone, line by line. */
  lines(): readonly (readonly string[])[]
}

/** A file that any number of processes append to: one short line is one write, which the operating system does whole. */
export function fileWitness(path: string): Witness {
  return {
    tell: (...words) => appendFileSync(path, `${words.join(' ')}\n`),
    lines: () => wordsOf(readFileSync(path, 'utf8'))
  }
}

/** For those that all live in this process. */
export function witnessInProcess(): Witness {
  const told: string[][] = []
  return { tell: (...words) => void told.push(words.map(String)), lines: () => told }
}

const wordsOf = (text: string): string[][] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(' '))
