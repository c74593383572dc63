import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { command } from '@enablement/checks/command'

/** The oldest of each line that the packages' `engines` admit: what works there works on the later ones. */
export const nodeVersions = ['22.19.0', '24.11.0'] as const

const compilerVersions = { 'TypeScript 5.9': '5.9.3', 'TypeScript 7': '7.0.2' } as const

export const compilers = Object.keys(compilerVersions) as (keyof typeof compilerVersions)[]

const alias = (name: string): string => name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')

const nodePackage = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`

/** npm, quietly: with its cache before the registry, and nothing written beside node_modules. */
export async function npmInstall(folder: string, more: readonly string[] = []): Promise<void> {
  const quiet = ['--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error', '--prefer-offline']
  const { status, output } = await command('npm', ['install', ...quiet, ...more], { cwd: folder })
  if (status !== 0) throw new Error(`npm install failed in ${folder}:\n${output}`)
}

export interface Tools {
  /** The program of an exact version. */
  node(version: (typeof nodeVersions)[number]): string
  /** The script of a compiler, to be run by Node. */
  tsc(compiler: (typeof compilers)[number]): string
}

/** Exact Nodes and compilers under .toolchain/matrix, fetched once. Needs no script to run and no root. */
export async function provideTools(root: string): Promise<Tools> {
  const folder = path.join(root, '.toolchain/matrix')
  const wanted = Object.fromEntries([
    ...nodeVersions.map((version) => [`node-${alias(version)}`, `npm:${nodePackage}@${version}`]),
    ...Object.entries(compilerVersions).map(([name, version]) => [alias(name), `npm:typescript@${version}`])
  ])
  const manifest = JSON.stringify({ private: true, dependencies: wanted })
  const file = path.join(folder, 'package.json')
  const installed = Object.keys(wanted).every((name) => existsSync(path.join(folder, 'node_modules', name)))
  if (!installed || !existsSync(file) || readFileSync(file, 'utf8') !== manifest) {
    mkdirSync(folder, { recursive: true })
    // npm may rewrite the file; what it was made from is written again once all is there.
    writeFileSync(file, manifest)
    await npmInstall(folder, ['--ignore-scripts'])
    writeFileSync(file, manifest)
  }
  const at = (name: string, ...rest: string[]): string => path.join(folder, 'node_modules', alias(name), ...rest)
  return {
    node: (version) => at(`node-${version}`, 'bin', process.platform === 'win32' ? 'node.exe' : 'node'),
    tsc: (compiler) => at(compiler, 'bin', 'tsc')
  }
}
