import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { command, eachOf } from '@enablement/checks/command'
import { type Package, packagesIn } from '@enablement/checks/workspace'
import { build } from 'esbuild'
import { npmInstall } from './tools.ts'

const smoke = fileURLToPath(new URL('../smoke', import.meta.url))

/** A user's project with the packed packages installed by npm, outside the workspace so that nothing else resolves. */
export interface Consumer {
  readonly folder: string
  /** Every published name: `@enablement/core/sql`. */
  readonly entries: readonly string[]
}

async function pack(packages: readonly Package[], into: string): Promise<Record<string, string>> {
  mkdirSync(into, { recursive: true })
  const packed = await eachOf(packages, 2, async (one) => {
    const tarball = path.join(into, `${path.basename(one.folder)}.tgz`)
    const { status, output } = await command('pnpm', ['pack', '--out', tarball], { cwd: one.folder })
    if (status !== 0) throw new Error(`pnpm pack failed for ${one.name}:\n${output}`)
    return [one.name, `file:${tarball}`]
  })
  return Object.fromEntries(packed) as Record<string, string>
}

/** One project without any optional peer, for the compilers, and one with `ioredis`, to run in. */
export async function installConsumers(root: string, folder: string): Promise<{ types: Consumer; app: Consumer }> {
  const packages = packagesIn(root)
  const tarballs = await pack(packages, path.join(folder, 'tarballs'))
  const entries = packages.flatMap((one) => one.entries.map((entry) => `${one.name}${entry.subpath.slice(1)}`))
  const install = async (name: string, more: Record<string, string>): Promise<Consumer> => {
    const project = path.join(folder, name)
    mkdirSync(project, { recursive: true })
    const dependencies = { ...tarballs, ...more }
    // The packages need each other by version; these are not published yet, so the tarballs stand in everywhere.
    const manifest = { private: true, type: 'module', dependencies, overrides: tarballs }
    writeFileSync(path.join(project, 'package.json'), JSON.stringify(manifest))
    cpSync(smoke, project, { recursive: true })
    await npmInstall(project)
    return { folder: project, entries }
  }
  const [types, app] = await Promise.all([
    install('types', { '@types/node': '^24' }),
    install('app', { ioredis: '^6' })
  ])
  return { types, app }
}

const resolutions = {
  nodenext: { module: 'nodenext', moduleResolution: 'nodenext' },
  bundler: { module: 'esnext', moduleResolution: 'bundler' }
} as const

export type Resolution = keyof typeof resolutions

/** A tsconfig that checks a user's code and all declarations it meets, with no mercy for those of libraries. */
export function writeTsconfig({ folder, entries }: Consumer, resolution: Resolution): string {
  const all = entries.map((name, index) => `export * as entry${index} from '${name}'`).join('\n')
  writeFileSync(path.join(folder, 'entries.ts'), `${all}\n`)
  const name = `tsconfig.${resolution}.json`
  const compilerOptions = {
    ...resolutions[resolution],
    target: 'es2023',
    lib: ['es2024', 'esnext.disposable'],
    types: ['node'],
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    noEmit: true
  }
  writeFileSync(path.join(folder, name), JSON.stringify({ compilerOptions, files: ['consumer.ts', 'entries.ts'] }))
  return name
}

/** Makes one file of the application, in a folder where nothing can be resolved any more. */
export async function bundle({ folder }: Consumer, into: string): Promise<string> {
  mkdirSync(into, { recursive: true })
  const outfile = path.join(into, 'app.mjs')
  await build({
    entryPoints: [path.join(folder, 'bundled.mjs')],
    outfile,
    bundle: true,
    minify: true,
    platform: 'node',
    format: 'esm',
    target: 'node22',
    loader: { '.wasm': 'binary' },
    // ioredis is CommonJS and requires node's own modules.
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    logLevel: 'error'
  })
  return outfile
}
