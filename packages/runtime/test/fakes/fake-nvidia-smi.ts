import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NvidiaSmi } from '@enablement/runtime/monitor'

/** What a machine answers: the text of each question, or how a call ends. */
export interface FakeGpuMachine {
  query?: string
  apps?: string
  xml?: string
  exitCode?: number
  /** Shell that runs instead of an answer. */
  shell?: string
}

export const fixture = (name: string): string =>
  readFileSync(new URL(`../gpu/fixtures/${name}`, import.meta.url), 'utf8')

/** Answers within this process; `machine` may be changed between calls. */
export const smiOf =
  (machine: FakeGpuMachine): NvidiaSmi =>
  async (args) => ({
    outcome: 'exited',
    exitCode: machine.exitCode ?? 0,
    stdout:
      (args[0]?.startsWith('--query-gpu') === true
        ? machine.query
        : args[0]?.startsWith('--query-compute-apps') === true
          ? machine.apps
          : machine.xml) ?? '',
    stderr: ''
  })

/** A script that answers so, to be run as a real child process. */
export function smiScript(machine: FakeGpuMachine): Disposable & { readonly file: string; readonly folder: string } {
  const folder = mkdtempSync(join(tmpdir(), 'nvidia-smi-'))
  const answers = { query: machine.query ?? '', apps: machine.apps ?? '', xml: machine.xml ?? '' }
  for (const [name, text] of Object.entries(answers)) writeFileSync(join(folder, name), text)
  const file = join(folder, 'nvidia-smi')
  writeFileSync(
    file,
    `#!/bin/sh
echo "$LC_ALL $*" >> "${folder}/calls"
${machine.shell ?? ''}
case "$1" in
  --query-gpu=*) cat "${folder}/query" ;;
  --query-compute-apps=*) cat "${folder}/apps" ;;
  *) cat "${folder}/xml" ;;
esac
exit ${machine.exitCode ?? 0}
`
  )
  chmodSync(file, 0o755)
  return { file, folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) }
}
