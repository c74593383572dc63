import path from 'node:path'
import { parseArgs } from 'node:util'

export interface CommandLine {
  /** Where the database and the keys live. */
  readonly folder: string
  /** Carry on from what an earlier run left on disk. */
  readonly resume: boolean
  /** Ask the approver in the terminal instead of letting her answer by herself. */
  readonly interactive: boolean
  /** The approver reads and does not answer: for trying what happens when the process is killed meanwhile. */
  readonly hold: boolean
}

export const usage = `npm run demo -- [options]
  --resume         carry on from what an earlier run left on disk
  --interactive    decide in the terminal
  --hold           let the approver think for ever; kill the demo, then --resume
  --folder PATH    where the database and the keys live (examples/agent-backend/.data)`

/** Throws a TypeError with the reason for an option that does not exist. */
export function readCommandLine(args: readonly string[]): CommandLine {
  const { values } = parseArgs({
    args: [...args],
    options: {
      resume: { type: 'boolean', default: false },
      interactive: { type: 'boolean', default: false },
      hold: { type: 'boolean', default: false },
      folder: { type: 'string', default: path.join(import.meta.dirname, '..', '.data') }
    }
  })
  return values
}
