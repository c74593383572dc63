import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

type Targets = Readonly<Record<string, string>>

export interface Manifest {
  readonly name: string
  readonly version: string
  readonly files?: readonly string[]
  readonly exports?: Readonly<Record<string, string | Targets>>
  readonly imports?: Readonly<Record<string, string | Targets>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>
  readonly publishConfig?: { readonly exports?: Readonly<Record<string, string | Targets>> }
}

/** A published subpath. Paths are relative to the package and start with `./`. */
export interface Entry {
  /** `.` or `./sql`. */
  readonly subpath: string
  readonly source: string
  readonly types: string
  readonly built: string
}

export interface Package {
  readonly name: string
  /** Absolute. */
  readonly folder: string
  /** Relative to the root, with forward slashes: `packages/core`. */
  readonly at: string
  readonly manifest: Manifest
  readonly entries: readonly Entry[]
}

export const sourceCondition = '@enablement/source'

export const slashed = (file: string): string => file.replaceAll('\\', '/')

export const relative = (root: string, file: string): string => slashed(path.relative(root, file))

/** The name a module specifier installs under: `@scope/name/sub` is `@scope/name`. */
export const packageOf = (specifier: string): string =>
  specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')

function entriesOf(manifest: Manifest): Entry[] {
  return Object.entries(manifest.exports ?? {}).flatMap(([subpath, target]) => {
    if (typeof target === 'string') return []
    const { [sourceCondition]: source, types, default: built } = target
    return source === undefined || types === undefined || built === undefined ? [] : [{ subpath, source, types, built }]
  })
}

/** The published packages, in the order of their folders. */
export function packagesIn(root: string): Package[] {
  const parent = path.join(root, 'packages')
  return readdirSync(parent)
    .sort()
    .filter((name) => existsSync(path.join(parent, name, 'package.json')))
    .map((name) => {
      const folder = path.join(parent, name)
      const manifest = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as Manifest
      return { name: manifest.name, folder, at: `packages/${name}`, manifest, entries: entriesOf(manifest) }
    })
}

/** Every TypeScript file under a folder, sorted, absolute. */
export function typescriptIn(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.tsx?$/.test(name) && !name.split(path.sep).includes('node_modules'))
    .sort()
    .map((name) => path.join(folder, name))
}
