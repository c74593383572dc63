import { realpathSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

/** Something a gate refuses, where it stands. */
export interface Fault {
  /** Relative to the root, with forward slashes. */
  readonly file: string
  /** One-based; absent where the whole file is meant. */
  readonly line?: number
  readonly message: string
}

export interface Report {
  readonly faults: readonly Fault[]
  /** What was looked at, in a few words: `182 files`. */
  readonly summary: string
}

/** Judges the workspace under `root`. */
export type Gate = (root: string, args: readonly string[]) => Report | Promise<Report>

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..')

const text = (fault: Fault): string =>
  `${fault.file}${fault.line === undefined ? '' : `:${fault.line}`}  ${fault.message}`

/** Runs the gate when its file is the program that node was started with: one line when all is well, exit 1 if not. */
export async function runAsProgram(url: string, gate: Gate): Promise<void> {
  const program = process.argv[1]
  if (program === undefined || realpathSync(program) !== fileURLToPath(url)) return
  const { faults, summary } = await gate(root, process.argv.slice(2))
  const name = path.basename(program, '.ts')
  for (const fault of faults) console.error(text(fault))
  if (faults.length === 0) console.log(`${name}: ${summary}`)
  else console.error(`${name}: ${faults.length} fault${faults.length === 1 ? '' : 's'}, ${summary}`)
  process.exitCode = faults.length === 0 ? 0 : 1
}
