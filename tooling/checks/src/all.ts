/**
 * Every quality gate, two at a time, with one line each; what a failing gate said follows its line.
 *
 *   node tooling/checks/src/all.ts                     all of them
 *   node tooling/checks/src/all.ts imports surface     only those
 *   node tooling/checks/src/all.ts --update            accepts the public surface and the sizes as they are now
 */
import process from 'node:process'
import { stripVTControlCharacters } from 'node:util'
import { command, eachOf } from './command.ts'
import { root } from './gate.ts'

interface Check {
  readonly name: string
  readonly program: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

const own = (name: string): Check => ({ name, program: process.execPath, args: [`tooling/checks/src/${name}.ts`] })

/** The slow ones first, so that the quick ones fill what is left of the second lane. */
const checks: readonly Check[] = [
  { name: 'matrix', program: process.execPath, args: ['tooling/matrix/src/main.ts'] },
  { name: 'tooling', program: 'vitest', args: ['run', '--project', 'tooling'], env: { TOOLING: '1' } },
  own('packed'),
  own('surface'),
  own('snippets'),
  { name: 'types', program: 'tsc', args: ['-p', 'tsconfig.json'] },
  { name: 'oxlint', program: 'oxlint', args: ['--type-aware', '--format=unix', 'packages', 'tooling', 'examples'] },
  { name: 'knip', program: 'knip', args: ['--no-progress', '--no-config-hints'] },
  own('imports'),
  own('ambient'),
  { name: 'biome', program: 'biome', args: ['check', '--error-on-warnings', '--reporter=concise', '.'] },
  { name: 'duplication', program: 'jscpd', args: [] },
  own('changesets'),
  own('size')
]

const lanes = 2

/** The gates that compare with a file that is checked in. */
const updatable = ['surface', 'size']

const update = process.argv.includes('--update')
const wanted = update ? updatable : process.argv.slice(2)
const unknown = wanted.filter((name) => checks.every((check) => check.name !== name))
if (unknown.length > 0) {
  console.error(`unknown gate ${unknown.join(', ')}; there are ${checks.map((check) => check.name).join(', ')}`)
  process.exit(2)
}
const chosen = wanted.length === 0 ? checks : checks.filter((check) => wanted.includes(check.name))
const started = performance.now()
const seconds = (since: number): string => `${((performance.now() - since) / 1000).toFixed(1)} s`

const statuses = await eachOf(chosen, lanes, async ({ name, program, args, env }) => {
  const begun = performance.now()
  const { status, output } = await command(program, update ? [...args, '--update'] : args, {
    cwd: root,
    env: { ...process.env, ...env }
  })
  console.log(`${status === 0 ? 'ok    ' : 'FAILED'}  ${name.padEnd(12)} ${seconds(begun).padStart(7)}`)
  if (status !== 0) console.log(stripVTControlCharacters(output).trimEnd().replaceAll(/^/gm, '  '))
  return status
})

const failed = statuses.filter((status) => status !== 0).length
console.log(`${chosen.length - failed} gates passed, ${failed} failed, ${seconds(started)}`)
process.exitCode = failed === 0 ? 0 : 1
