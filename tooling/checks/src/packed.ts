/**
 * What users would install: every package is packed as for publishing and the tarball is judged, by publint, by
 * "are the types wrong", and by rules of our own on its manifest and files.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { command, eachOf } from './command.ts'
import { type Fault, type Report, runAsProgram } from './gate.ts'
import { filesIn } from './tarball.ts'
import { type Manifest, type Package, packageOf, packagesIn, sourceCondition } from './workspace.ts'

type Targets = Manifest['exports']

const withoutSources = (exports: Targets): Targets =>
  Object.fromEntries(
    Object.entries(exports ?? {}).map(([subpath, target]) => {
      if (typeof target === 'string') return [subpath, target]
      const { [sourceCondition]: _, ...published } = target
      return [subpath, published]
    })
  )

/** Faults of the manifest as it stands in the repository. */
export function manifestFaults(owner: Package): Fault[] {
  const file = `${owner.at}/package.json`
  const faults: Fault[] = []
  const refuse = (message: string): void => void faults.push({ file, message })
  const { exports, publishConfig } = owner.manifest
  const published = publishConfig?.exports
  const wanted = withoutSources(exports)
  for (const subpath of new Set([...Object.keys(wanted ?? {}), ...Object.keys(published ?? {})])) {
    if (!isDeepStrictEqual(wanted?.[subpath], published?.[subpath])) {
      refuse(`exports["${subpath}"] and publishConfig.exports["${subpath}"] differ beyond ${sourceCondition}`)
    }
  }
  for (const { subpath, source, types, built } of owner.entries) {
    const stem = source.replace(/^\.\/src\//, '').replace(/\.ts$/, '')
    if (types !== `./dist/${stem}.d.ts` || built !== `./dist/${stem}.js`) {
      refuse(`exports["${subpath}"]: ${source} is built to ./dist/${stem}.js and ./dist/${stem}.d.ts`)
    }
    if (!existsSync(path.join(owner.folder, source))) refuse(`exports["${subpath}"]: no file ${source}`)
  }
  for (const name of ['dist', 'README.md', 'CHANGELOG.md']) {
    if (!owner.manifest.files?.includes(name)) refuse(`files must list ${name}`)
  }
  return faults
}

const targetsOf = (target: unknown, condition = ''): [string, string][] =>
  typeof target === 'string'
    ? [[condition, target]]
    : Object.entries(target ?? {}).flatMap(([key, value]) =>
        targetsOf(value, key === sourceCondition ? key : condition)
      )

/** Faults of a packed package: its files by path, and the folder that no file of it may name. */
export function tarballFaults(owner: Package, files: ReadonlyMap<string, Buffer>, root: string): Fault[] {
  const faults: Fault[] = []
  const refuse = (file: string, message: string): void => void faults.push({ file: `${owner.at}/${file}`, message })
  const manifest = JSON.parse(files.get('package.json')?.toString() ?? '{}') as Manifest
  const published = Object.entries({ ...manifest.exports, ...manifest.imports })
  for (const [subpath, target] of published) {
    for (const [condition, file] of targetsOf(target)) {
      if (condition === sourceCondition && subpath.startsWith('.'))
        refuse('package.json', `${subpath} publishes sources`)
      if (condition === sourceCondition) continue
      if (!file.startsWith('./')) {
        // A platform import may name a published entry of the package itself.
        const own = `.${file.slice(owner.name.length)}`
        const isOwn = packageOf(file) === owner.name && manifest.exports?.[own] !== undefined
        if (!isOwn) refuse('package.json', `${subpath}: no published entry ${file}`)
        continue
      }
      if (!files.has(file.replace('./', ''))) refuse('package.json', `${subpath}: ${file} is not in the package`)
    }
  }
  for (const [name, range] of Object.entries({ ...manifest.dependencies, ...manifest.peerDependencies })) {
    if (/^(workspace|catalog|file|link):/.test(range)) refuse('package.json', `${name}: ${range} cannot be installed`)
  }
  const unfinished: string[] = []
  for (const [name, content] of files) {
    if (!/^(package\.json|README\.md|CHANGELOG\.md|LICENSE|dist\/.+\.(js|d\.ts|js\.map))$/.test(name)) {
      refuse(name, 'does not belong in the package')
    }
    const text = content.toString('utf8')
    if (text.includes(root)) refuse(name, 'names a folder of the machine it was built on')
    if (name.endsWith('.d.ts') && /(from|import\()\s*['"]\.[^'"]*\.ts['"]/.test(text)) {
      unfinished.push(name)
    }
  }
  const [first, ...others] = unfinished
  if (first !== undefined) {
    const more = others.length === 0 ? '' : ` (and ${others.length} others: did the build end?)`
    refuse(first, `imports a .ts file, which is not shipped${more}`)
  }
  return faults
}

async function judge(owner: Package, root: string, folder: string): Promise<Fault[]> {
  const faults = manifestFaults(owner)
  const refuse = (message: string): void => void faults.push({ file: `${owner.at}/package.json`, message })
  const unbuilt = owner.entries.filter((entry) => !existsSync(path.join(owner.folder, entry.built)))
  if (unbuilt.length > 0) {
    refuse(`not built: ${unbuilt.map((entry) => entry.built).join(', ')}; run \`npm run build\``)
    return faults
  }
  const tarball = path.join(folder, `${path.basename(owner.folder)}.tgz`)
  const packed = await command('pnpm', ['pack', '--out', tarball], { cwd: owner.folder })
  if (packed.status !== 0) {
    refuse(`pnpm pack: ${packed.output.trim()}`)
    return faults
  }
  faults.push(...tarballFaults(owner, filesIn(tarball), root))
  const publint = await command('publint', [tarball, '--strict'])
  if (publint.status !== 0) refuse(`publint:\n${publint.output.trim()}`)
  const attw = await command('attw', [tarball, '--profile', 'esm-only', '--format', 'ascii', '--no-emoji'])
  if (attw.status !== 0) refuse(`attw:\n${attw.output.trim()}`)
  return faults
}

export async function checkPacked(root: string): Promise<Report> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'packed-'))
  try {
    const packages = packagesIn(root)
    const faults = await eachOf(packages, 2, (owner) => judge(owner, root, folder))
    return { faults: faults.flat(), summary: `${packages.length} packages` }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

await runAsProgram(import.meta.url, (root) => checkPacked(root))
