import { describe, expect, it } from 'vitest'
import { checkPacked, manifestFaults, tarballFaults } from '../src/packed.ts'
import { packagesIn } from '../src/workspace.ts'
import { type Files, manifest, tree } from './support/tree.ts'

const files = ['dist', 'README.md', 'CHANGELOG.md']
const sources: Files = { 'packages/core/src/index.ts': '', 'packages/core/src/sql/index.ts': '' }

const faultsOf = (changed: object): string[] => {
  const whole = { ...manifest('@enablement/core', ['sql']), files, ...changed }
  using here = tree({ ...sources, 'packages/core/package.json': whole })
  return packagesIn(here.root).flatMap((one) => manifestFaults(one).map((fault) => fault.message))
}

describe('manifest', () => {
  it('is sound where both exports agree', () => {
    expect(faultsOf({})).toEqual([])
  })

  const { exports } = manifest('@enablement/core', ['sql'])
  const { exports: onlyRoot } = manifest('@enablement/core')
  const root = { '@enablement/source': './src/index.ts', types: './dist/index.d.ts', default: './dist/main.js' }
  it.each<[string, object, string]>([
    ['publishes less', { publishConfig: manifest('x').publishConfig }, 'exports["./sql"] and publishConfig.exports'],
    ['publishes more', { exports: onlyRoot }, 'exports["./sql"] and publishConfig.exports'],
    ['builds elsewhere', { exports: { ...exports, '.': root } }, './src/index.ts is built to ./dist/index.js'],
    ['leaves the README out', { files: ['dist', 'CHANGELOG.md'] }, 'files must list README.md'],
    [
      'names a source that is not there',
      { exports: { ...exports, './redis': manifest('x', ['redis']).exports['./redis'] } },
      'no file ./src/redis/index.ts'
    ]
  ])('is refused when it %s', (_, changed, says) => {
    expect(faultsOf(changed).join('\n')).toContain(says)
  })
})

describe('tarball', () => {
  const published = {
    '.': { types: './dist/index.d.ts', default: './dist/index.js' },
    './package.json': './package.json'
  }
  const sound: Record<string, string> = {
    'package.json': JSON.stringify({ exports: published, dependencies: { zod: '^4' } }),
    'README.md': '# core',
    LICENSE: '',
    'dist/index.js': 'export {}',
    'dist/index.js.map': '{}',
    'dist/index.d.ts': `export { a } from './a.js'`
  }
  const faults = (changed: Record<string, string>): string[] => {
    using here = tree({ 'packages/core/package.json': manifest('@enablement/core') })
    const [core] = packagesIn(here.root)
    if (core === undefined) throw new Error('no package')
    const packed = new Map(Object.entries({ ...sound, ...changed }).map(([name, text]) => [name, Buffer.from(text)]))
    return tarballFaults(core, packed, '/home/someone/suite').map((one) => `${one.file} ${one.message}`)
  }
  const json = (changed: object): Record<string, string> => ({
    'package.json': JSON.stringify({ exports: published, ...changed })
  })

  it('is sound with its build, its papers and nothing else', () => {
    expect(faults({})).toEqual([])
    expect(faults(json({ imports: { '#a': { node: '@enablement/core', default: './dist/index.js' } } }))).toEqual([])
  })

  it.each<[string, Record<string, string>, string]>([
    ['holds sources', { 'src/index.ts': '' }, 'packages/core/src/index.ts does not belong in the package'],
    ['names the builder’s folder', { 'dist/a.js': '// /home/someone/suite/src/a.ts' }, 'dist/a.js names a folder'],
    ['declares by .ts', { 'dist/a.d.ts': `export { b } from './b.ts'` }, 'dist/a.d.ts imports a .ts file'],
    ['needs the workspace', json({ dependencies: { a: 'workspace:^' } }), 'a: workspace:^ cannot be installed'],
    ['exports what is not there', json({ exports: { '.': './dist/b.js' } }), '.: ./dist/b.js is not in the package'],
    ['publishes sources', json({ exports: { '.': { '@enablement/source': './src/a.ts' } } }), '. publishes sources'],
    ['imports another package', json({ imports: { '#a': 'other' } }), '#a: no published entry other']
  ])('is refused when it %s', (_, changed, says) => {
    expect(faults(changed).join('\n')).toContain(says)
  })
})

describe('packed gate', { timeout: 60_000 }, () => {
  it('packs, and passes on what publint finds', async () => {
    using here = tree({
      'packages/core/package.json': { ...manifest('@enablement/core'), files, main: './dist/nowhere.js' },
      'packages/core/README.md': '# core',
      'packages/core/src/index.ts': '',
      'packages/core/dist/index.js': 'export const a = 1\n',
      'packages/core/dist/index.d.ts': 'export declare const a: number\n'
    })
    const { faults } = await checkPacked(here.root)
    expect(faults).toHaveLength(1)
    expect(faults[0]?.message).toMatch(/^publint:[\s\S]*nowhere\.js/)
  })

  it('refuses what is not built', async () => {
    using here = tree({
      'packages/core/package.json': { ...manifest('@enablement/core'), files },
      'packages/core/src/index.ts': ''
    })
    const { faults } = await checkPacked(here.root)
    expect(faults[0]?.message).toBe('not built: ./dist/index.js; run `npm run build`')
  })
})
