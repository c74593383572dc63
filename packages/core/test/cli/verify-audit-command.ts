import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { bundledProgram } from '@enablement/build/program'
import { afterAll, beforeAll } from 'vitest'

export interface CommandRun {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const isBuilt = process.env['TARGET'] === 'dist'
const main = join(import.meta.dirname, isBuilt ? '../../dist/cli/main.js' : '../../src/cli/main.ts')
const flags = isBuilt ? [] : ['--conditions=@enablement/source', '--disable-warning=ExperimentalWarning']
let bundle: string | undefined

/** For a file that runs it often, which a bundle does faster. */
export function bundleVerifyAudit(): void {
  const folder = mkdtempSync(join(tmpdir(), 'enablement-verify-audit-program-'))
  beforeAll(async () => {
    bundle = await bundledProgram(main, folder)
  })
  afterAll(() => {
    bundle = undefined
    rmSync(folder, { recursive: true })
  })
}

/** Runs the package's program as a process of its own: the sources, or what is published. */
export async function verifyAudit(
  args: readonly string[],
  options: { readonly command?: string } = {}
): Promise<CommandRun> {
  const { command = 'verify-audit' } = options
  // The driver of Postgres is its user's, and looked for from where the program is. Without a command it is run as it is.
  const isBundled = bundle !== undefined && command === 'verify-audit' && !args[0]?.startsWith('postgres:')
  const program = isBundled ? [bundle as string] : [...flags, main]
  const child = spawn(process.execPath, [...program, command, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const [code, stdout, stderr] = await Promise.all([
    new Promise<number | null>((resolve) => child.on('close', resolve)),
    text(child.stdout),
    text(child.stderr)
  ])
  return { code, stdout, stderr }
}
