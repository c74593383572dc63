/**
 * What each published entry costs a user's bundle: minified and gzipped, without the dependencies that the package
 * declares. `size-budget.json` holds the most it may be, in bytes; an entry that outgrows it is refused.
 *
 *   node tooling/checks/src/size.ts             prints the table
 *   node tooling/checks/src/size.ts --update    sets each budget to the present size and a tenth, in whole 100 bytes
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { eachOf } from './command.ts'
import { type Fault, type Report, runAsProgram } from './gate.ts'
import { type Entry, type Package, packagesIn } from './workspace.ts'

const budgetFile = 'tooling/checks/size-budget.json'

type Budget = Readonly<Record<string, number>>

interface Measured {
  /** As a user writes it: `@enablement/core/sql`. */
  readonly name: string
  readonly at: string
  /** undefined: not built. */
  readonly bytes: number | undefined
}

async function measure(owner: Package, entry: Entry): Promise<Measured> {
  const name = `${owner.name}${entry.subpath.slice(1)}`
  const at = `${owner.at}/${entry.built.slice(2)}`
  const file = path.join(owner.folder, entry.built)
  if (!existsSync(file)) return { name, at, bytes: undefined }
  const { dependencies, peerDependencies } = owner.manifest
  const declared = Object.keys({ ...dependencies, ...peerDependencies })
  const { outputFiles } = await build({
    entryPoints: [file],
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    platform: 'node',
    legalComments: 'none',
    logLevel: 'silent',
    external: declared.flatMap((one) => [one, `${one}/*`])
  })
  return { name, at, bytes: gzipSync(outputFiles[0]?.contents ?? '', { level: 9 }).length }
}

function table(measured: readonly Measured[], budget: Budget): string {
  const width = Math.max(...measured.map((one) => one.name.length))
  const rows = measured.map(({ name, bytes }) => {
    const limit = budget[name]
    const share = bytes === undefined || limit === undefined ? '' : `${Math.round((100 * bytes) / limit)} %`
    return `  ${name.padEnd(width)} ${String(bytes ?? '-').padStart(8)} ${String(limit ?? '-').padStart(8)} ${share.padStart(6)}`
  })
  return [`  ${'entry'.padEnd(width)} ${'bytes'.padStart(8)} ${'budget'.padStart(8)}`, ...rows].join('\n')
}

export async function checkSize(root: string, args: readonly string[] = []): Promise<Report> {
  const file = path.join(root, budgetFile)
  const budget = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Budget) : {}
  const entries = packagesIn(root).flatMap((owner) => owner.entries.map((entry) => ({ owner, entry })))
  const measured = await eachOf(entries, 4, ({ owner, entry }) => measure(owner, entry))
  if (args.includes('--update')) {
    const headroom = (bytes: number): number => Math.ceil((bytes * 1.1) / 100) * 100
    const next = measured.flatMap(({ name, bytes }) => (bytes === undefined ? [] : [[name, headroom(bytes)]]))
    writeFileSync(file, `${JSON.stringify(Object.fromEntries(next), null, 2)}\n`)
    return { faults: [], summary: `${next.length} budgets written` }
  }
  const faults: Fault[] = []
  for (const { name, at, bytes } of measured) {
    const limit = budget[name]
    if (bytes === undefined) faults.push({ file: at, message: 'not built: run `npm run build`' })
    else if (limit === undefined) faults.push({ file: budgetFile, message: `no budget for ${name} (${bytes} bytes)` })
    else if (bytes > limit) faults.push({ file: at, message: `${name} has ${bytes} bytes, the budget is ${limit}` })
  }
  for (const name of Object.keys(budget)) {
    if (measured.every((one) => one.name !== name)) faults.push({ file: budgetFile, message: `no entry ${name}` })
  }
  return { faults, summary: `${measured.length} entries, minified and gzipped\n${table(measured, budget)}` }
}

await runAsProgram(import.meta.url, checkSize)
