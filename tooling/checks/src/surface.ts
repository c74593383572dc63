/**
 * The public surface under review: `packages/<p>/api/<entry>.api.md` says what every published entry exports, as
 * API Extractor sees it in the built declarations. A change to a public type shows as a change to these files. Refused
 * too: a type that a public signature names and no entry of the package exports, because users cannot name it.
 *
 *   node tooling/checks/src/surface.ts             fails where they differ from what is built
 *   node tooling/checks/src/surface.ts --update    writes them
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import {
  CompilerState,
  Extractor,
  ExtractorConfig,
  type ExtractorMessage,
  type IConfigFile
} from '@microsoft/api-extractor'
import { difference } from './difference.ts'
import { type Fault, type Report, runAsProgram } from './gate.ts'
import { type Entry, type Package, packagesIn, relative } from './workspace.ts'

const reportName = (entry: Entry): string =>
  `${entry.subpath === '.' ? 'index' : entry.subpath.slice(2).replaceAll('/', '-')}.api.md`

/** The options that the declarations were made for; API Extractor brings a compiler of its own. */
const compilerOptions = {
  target: 'es2023',
  lib: ['es2024', 'esnext.disposable'],
  module: 'nodenext',
  moduleResolution: 'nodenext',
  types: ['node'],
  strict: true,
  skipLibCheck: true
}

function configOf(owner: Package, entry: Entry, reports: string): ExtractorConfig {
  const quiet = { logLevel: 'none', addToApiReportFile: false } as const
  const configObject: IConfigFile = {
    projectFolder: owner.folder,
    mainEntryPointFilePath: path.join(owner.folder, entry.types),
    compiler: { overrideTsconfig: { compilerOptions, include: [], files: [path.join(owner.folder, entry.types)] } },
    apiReport: { enabled: true, reportFileName: reportName(entry), reportFolder: reports, reportTempFolder: reports },
    docModel: { enabled: false },
    dtsRollup: { enabled: false },
    tsdocMetadata: { enabled: false },
    newlineKind: 'lf',
    messages: {
      compilerMessageReporting: { default: { logLevel: 'error' as never } },
      extractorMessageReporting: { default: quiet as never },
      tsdocMessageReporting: { default: quiet as never }
    }
  }
  return ExtractorConfig.prepare({
    configObject,
    configObjectFullPath: undefined,
    packageJsonFullPath: path.join(owner.folder, 'package.json')
  })
}

interface Unnamed {
  readonly name: string
  readonly fault: Fault
}

/** The names that a report exports. */
function namesIn(report: string): string[] {
  const declared = /^export (?:declare |abstract )*(?:function|interface|class|type|const|let|namespace) (\w+)/gm
  const listed = /^export \{ (?:\w+ as )?(\w+) \}/gm
  return [declared, listed].flatMap((pattern) => [...report.matchAll(pattern)].map((match) => match[1] as string))
}

/** The reports of all entries of a package, by file name. One compiler program serves them all. */
function reportsOf(root: string, owner: Package, faults: Fault[]): Map<string, string> {
  const made = new Map<string, string>()
  const temporary = mkdtempSync(path.join(os.tmpdir(), 'surface-'))
  const unnamed: Unnamed[] = []
  try {
    const missing = owner.entries.filter((entry) => !existsSync(path.join(owner.folder, entry.types)))
    for (const entry of missing) {
      faults.push({ file: `${owner.at}/${entry.types.slice(2)}`, message: 'not built: run `npm run build`' })
    }
    const entries = owner.entries.filter((entry) => !missing.includes(entry))
    const configs = entries.map((entry) => configOf(owner, entry, temporary))
    const [first] = configs
    if (first === undefined) return made
    const compilerState = CompilerState.create(first, {
      additionalEntryPoints: configs.map((config) => config.mainEntryPointFilePath)
    })
    for (const [index, config] of configs.entries()) {
      const messageCallback = (message: ExtractorMessage): void => {
        message.handled = true
        const file = message.sourceFilePath === undefined ? owner.at : relative(root, message.sourceFilePath)
        const at = message.sourceFileLine === undefined ? {} : { line: message.sourceFileLine }
        if ((message.logLevel as string) === 'error') faults.push({ file, ...at, message: message.text })
        const name = message.messageId === 'ae-forgotten-export' ? /"(.+?)"/.exec(message.text)?.[1] : undefined
        if (name === undefined) return
        const says = `the public surface names ${name}, which no entry of ${owner.name} exports`
        unnamed.push({ name, fault: { file, ...at, message: says } })
      }
      Extractor.invoke(config, { localBuild: true, compilerState, messageCallback })
      const name = reportName(entries[index] as Entry)
      made.set(name, readFileSync(path.join(temporary, name), 'utf8'))
    }
    const exported = new Set([...made.values()].flatMap(namesIn))
    const told = new Set<string>()
    for (const { name, fault } of unnamed) {
      if (exported.has(name) || told.has(name)) continue
      told.add(name)
      faults.push(fault)
    }
    return made
  } finally {
    rmSync(temporary, { recursive: true, force: true })
  }
}

/** More lines than this of a difference help nobody: the files are one command away. */
const shownLines = 60

export function checkSurface(root: string, args: readonly string[] = []): Report {
  const update = args.includes('--update')
  const faults: Fault[] = []
  let count = 0
  for (const owner of packagesIn(root)) {
    const folder = path.join(owner.folder, 'api')
    const made = reportsOf(root, owner, faults)
    count += made.size
    const kept = existsSync(folder) ? readdirSync(folder) : []
    const wanted = new Set(owner.entries.map(reportName))
    for (const name of kept.filter((one) => !wanted.has(one))) {
      if (update) rmSync(path.join(folder, name))
      else faults.push({ file: `${owner.at}/api/${name}`, message: 'no published entry has this report' })
    }
    for (const [name, report] of made) {
      const file = path.join(folder, name)
      const before = existsSync(file) ? readFileSync(file, 'utf8') : ''
      if (before === report) continue
      if (update) {
        mkdirSync(folder, { recursive: true })
        writeFileSync(file, report)
        continue
      }
      const lines = difference(before, report)
      const shown = lines.slice(0, shownLines).map((line) => `    ${line}`)
      if (lines.length > shown.length) shown.push(`    and ${lines.length - shown.length} lines more`)
      const advice = 'the public surface changed: if that is meant, run `node tooling/checks/src/surface.ts --update`'
      faults.push({ file: `${owner.at}/api/${name}`, message: `${advice}\n${shown.join('\n')}` })
    }
  }
  return { faults, summary: `${count} entries` }
}

await runAsProgram(import.meta.url, checkSurface)
