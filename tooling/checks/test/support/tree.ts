import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'

export type Files = Readonly<Record<string, string | object>>

/** A folder holding the given files, removed at the end of the scope; objects are written as JSON. */
export function tree(files: Files, parent: string = os.tmpdir()): { root: string; [Symbol.dispose](): void } {
  const root = mkdtempSync(path.join(parent, 'checks-test-'))
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(root, name)
    mkdirSync(path.dirname(file), { recursive: true })
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content, null, 2))
  }
  return { root, [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }) }
}

const target = (room: string) => ({
  '@enablement/source': `./src/${room}index.ts`,
  types: `./dist/${room}index.d.ts`,
  default: `./dist/${room}index.js`
})

/** A manifest with a root entry and one per room, published as they are but for the source condition. */
export function manifest(name: string, rooms: readonly string[] = [], more: object = {}) {
  const exports = Object.fromEntries([
    ['.', target('')],
    ...rooms.map((room) => [`./${room}`, target(`${room}/`)]),
    ['./package.json', './package.json']
  ])
  const published = Object.fromEntries(
    Object.entries(exports).map(([key, value]) => {
      if (typeof value === 'string') return [key, value]
      const { '@enablement/source': _, ...rest } = value as ReturnType<typeof target>
      return [key, rest]
    })
  )
  return {
    name,
    version: '0.0.0',
    description: 'fixture',
    license: 'Apache-2.0',
    type: 'module',
    sideEffects: false,
    files: ['dist'],
    exports,
    publishConfig: { access: 'public', exports: published },
    ...more
  }
}
