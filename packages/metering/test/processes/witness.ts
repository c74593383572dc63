import { appendFileSync, readFileSync } from 'node:fs'

/** What processes were told, written down outside of the library and its stores. */
export interface Witness {
  tell(...words: readonly (string | number | boolean)[]): void
  /** What was told so far by everyone, line by line. */
  lines(): readonly (readonly string[])[]
}

/** A file that any number of processes append to: one short line is one write, which the operating system does whole. */
export function fileWitness(path: string): Witness {
  return {
    tell: (...words) => appendFileSync(path, `${words.join(' ')}\n`),
    lines: () =>
      readFileSync(path, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => line.split(' '))
  }
}
