import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkSnippets, snippetsOf } from '../src/snippets.ts'
import { type Files, manifest, tree } from './support/tree.ts'

const fence = '```'
const block = (word: string, ...code: string[]): string => [`${fence}ts${word}`, ...code, fence, ''].join('\n')

const built: Files = {
  'packages/core/package.json': manifest('@enablement/core'),
  'packages/core/dist/index.js': `export const turn = (at) => at + 1\n`,
  'packages/core/dist/index.d.ts': `export declare const turn: (at: number) => number\n`
}
const use = `import { turn } from '@enablement/core'`

async function faultsIn(readme: string, at = 'packages/core/README.md'): Promise<string[]> {
  using here = tree({ ...built, [at]: readme })
  const { faults } = await checkSnippets(here.root)
  const left = path.join(here.root, '.toolchain')
  if (existsSync(left)) expect(readdirSync(left)).toEqual([])
  return faults.map((one) => `${one.file}:${one.line} ${one.message}`)
}

describe('snippets gate', { timeout: 60_000 }, () => {
  it('compiles and runs blocks on the built packages, and counts what it leaves alone', async () => {
    const readme = [
      '# core',
      block('', use, 'if (turn(1) !== 2) throw new Error()', 'await Promise.resolve()'),
      block(' no-run', use, 'const at: number = turn(1)', 'throw new Error(String(at))'),
      block(' fragment', 'const { ... }'),
      `${fence}js\nthis is not TypeScript\n${fence}`
    ].join('\n')
    const example = block('', use, 'turn(1)')
    using here = tree({ ...built, 'README.md': readme, 'examples/a/README.md': example, 'docs/a/b/page.md': example })
    const { faults, summary } = await checkSnippets(here.root)
    expect(faults).toEqual([])
    expect(summary).toBe('3 run, 1 checked only, 1 fragments')
  })

  it('refuses a wrong type at its own line, run or not', async () => {
    const wrong = block(' no-run', use, '', `turn('1')`)
    expect(await faultsIn(`# core\n\n${wrong}`)).toEqual([
      "packages/core/README.md:6 (block at line 3) error TS2345: Argument of type 'string' is not assignable to parameter of type 'number'."
    ])
  })

  it('refuses a block that fails when it runs, naming the line that threw', async () => {
    const [fault] = await faultsIn(`# core\n\n${block('', use, `throw new Error(String(turn(1)))`)}`, 'README.md')
    expect(fault).toMatch(/^README\.md:3 the block failed \(exit 1\):/)
    expect(fault).toContain('README.md:5')
  })

  it('refuses what the packages do not publish', async () => {
    const [fault] = await faultsIn(block('', `import '@enablement/core/sql'`))
    expect(fault).toContain('packages/core/README.md:2 (block at line 1) error TS')
  })

  it('refuses words and fences it does not know', () => {
    const { faults, snippets } = snippetsOf('README.md', `${block(' norun', 'x')}\n${fence}ts\nnever ends`)
    expect(faults.map((one) => `${one.line} ${one.message}`)).toEqual([
      '1 ```ts norun: not a known word',
      '5 a code block that never ends'
    ])
    expect(snippets).toEqual([])
  })

  it('sees blocks within longer fences as text', () => {
    expect(snippetsOf('README.md', `${fence}${fence}md\n${block('', 'x')}${fence}${fence}`).snippets).toEqual([])
  })
})
