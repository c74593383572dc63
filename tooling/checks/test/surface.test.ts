import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { difference } from '../src/difference.ts'
import { checkSurface } from '../src/surface.ts'
import { type Files, manifest, tree } from './support/tree.ts'

const built: Files = {
  'packages/core/package.json': manifest('@enablement/core', ['sql']),
  'packages/core/dist/index.d.ts': `export { type Turn, turn } from './turn/turn.js'\n`,
  'packages/core/dist/turn/turn.d.ts': `/** One turn. */
export interface Turn { readonly at: number; }
/** Takes a turn. */
export declare function turn(at: number): Turn;\n`,
  'packages/core/dist/sql/index.d.ts': `import type { Turn } from '../turn/turn.js'
/** Stores a turn. */
export declare function store(turn: Turn): Promise<void>;\n`
}
const messages = (root: string): string[] =>
  checkSurface(root).faults.map((one) => `${one.file}: ${one.message.split('\n').join(' ')}`)

describe('surface gate', { timeout: 60_000 }, () => {
  it('writes a report per published entry, and is content with them', () => {
    using here = tree(built)
    expect(checkSurface(here.root, ['--update']).faults).toEqual([])
    const report = readFileSync(path.join(here.root, 'packages/core/api/index.api.md'), 'utf8')
    expect(report).toContain('export function turn(at: number): Turn;')
    expect(report).not.toContain('ae-missing-release-tag')
    expect(existsSync(path.join(here.root, 'packages/core/api/sql.api.md'))).toBe(true)
    expect(checkSurface(here.root)).toEqual({ faults: [], summary: '2 entries' })
  })

  it('refuses a changed signature with the lines that differ, until it is accepted', () => {
    using here = tree(built)
    checkSurface(here.root, ['--update'])
    const file = path.join(here.root, 'packages/core/dist/turn/turn.d.ts')
    writeFileSync(file, readFileSync(file, 'utf8').replace('turn(at: number)', 'turn(at: bigint)'))
    const [fault] = messages(here.root)
    expect(fault).toContain('packages/core/api/index.api.md: the public surface changed')
    expect(fault).toMatch(/-\d+: export function turn\(at: number\): Turn; +\+\d+: export function turn\(at: bigint\)/)
    checkSurface(here.root, ['--update'])
    expect(messages(here.root)).toEqual([])
  })

  it('refuses a report that no entry has, and --update removes it', () => {
    using here = tree({ ...built, 'packages/core/api/gone.api.md': '' })
    expect(messages(here.root)).toContain('packages/core/api/gone.api.md: no published entry has this report')
    checkSurface(here.root, ['--update'])
    expect(messages(here.root)).toEqual([])
  })

  it('refuses a type that the surface names and no entry exports', () => {
    using here = tree({ ...built, 'packages/core/dist/index.d.ts': `export { turn } from './turn/turn.js'\n` })
    checkSurface(here.root, ['--update'])
    expect(messages(here.root)).toEqual([
      'packages/core/dist/turn/turn.d.ts: the public surface names Turn, which no entry of @enablement/core exports'
    ])
  })

  it('refuses what is not built', () => {
    using here = tree({ 'packages/core/package.json': manifest('@enablement/core') })
    expect(messages(here.root)).toEqual(['packages/core/dist/index.d.ts: not built: run `npm run build`'])
  })
})

describe('difference', () => {
  it.each([
    ['a\nb\nc', 'a\nb\nc', []],
    ['a\nb\nc', 'a\nx\nc', ['-2: b', '+2: x']],
    ['a\nc', 'a\nb\nc', ['+2: b']],
    ['a\nb\nc\nd', 'a\nd', ['-2: b', '-3: c']],
    ['a\nb\nc\nd\ne', 'a\nx\nc\ny\ne', ['-2: b', '+2: x', '-4: d', '+4: y']],
    ['', 'a', ['-1: ', '+1: a']]
  ])('of %j and %j', (before, after, lines) => {
    expect(difference(before, after)).toEqual(lines)
  })
})
