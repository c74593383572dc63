/**
 * Every TypeScript block of the README files and of `docs/` does what it says: it is type-checked by the native compiler
 * and run by Node against the built packages, with only what the packages publish.
 *
 *   ```ts             checked and run
 *   ```ts no-run      checked only: needs a server, a key, a vendor
 *   ```ts fragment    neither: a piece of something, counted so that it stays the exception
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { Script } from 'node:vm'
import { transform } from 'esbuild'
import { command, eachOf } from './command.ts'
import { type Fault, type Report, root as repository, runAsProgram } from './gate.ts'
import { packagesIn, relative } from './workspace.ts'

type Treatment = 'run' | 'check' | 'skip'

interface Snippet {
  /** Relative to the root. */
  readonly file: string
  /** Of the opening fence. */
  readonly line: number
  readonly code: string
  readonly treatment: Treatment
}

const treatments: Readonly<Record<string, Treatment>> = { '': 'run', 'no-run': 'check', fragment: 'skip' }

/** A snippet on embedded defaults takes well under a second. */
const runMs = 30_000

/** The fenced `ts` blocks of a Markdown text; what follows `ts` on the fence must be a known word. */
export function snippetsOf(file: string, markdown: string): { snippets: Snippet[]; faults: Fault[] } {
  const snippets: Snippet[] = []
  const faults: Fault[] = []
  const lines = markdown.split('\n')
  for (let index = 0; index < lines.length; index++) {
    const fence = /^ {0,3}(`{3,}|~{3,})\s*(\S*)\s*(.*?)\s*$/.exec(lines[index] as string)
    if (fence === null) continue
    const [, mark, language, word] = fence as unknown as [string, string, string, string]
    const end = lines.findIndex((text, at) => at > index && text.trim().startsWith(mark) && /^[`~]+$/.test(text.trim()))
    const line = index + 1
    if (end < 0) {
      faults.push({ file, line, message: 'a code block that never ends' })
      break
    }
    if (language === 'ts' || language === 'typescript') {
      const treatment = treatments[word]
      const code = lines.slice(index + 1, end).join('\n')
      if (language === 'typescript') faults.push({ file, line, message: 'write ```ts' })
      else if (treatment === undefined) faults.push({ file, line, message: `\`\`\`ts ${word}: not a known word` })
      else snippets.push({ file, line, code, treatment })
    }
    index = end
  }
  return { snippets, faults }
}

/** The README files, and all pages of `docs/`. */
function pagesIn(root: string): string[] {
  const docs = path.join(root, 'docs')
  const pages = existsSync(docs)
    ? readdirSync(docs, { recursive: true, encoding: 'utf8' }).map((name) => path.join(docs, name))
    : []
  const below = ['packages', 'examples'].flatMap((folder) =>
    existsSync(path.join(root, folder)) ? readdirSync(path.join(root, folder)).map((name) => `${folder}/${name}`) : []
  )
  const readmes = ['.', ...below].map((folder) => path.join(root, folder, 'README.md'))
  return [...readmes.filter((file) => existsSync(file)), ...pages.filter((file) => file.endsWith('.md'))].sort()
}

/** A folder where the packages and all their dependencies and optional peers resolve, as after an npm install. */
function prepare(root: string): string {
  const parent = path.join(root, '.toolchain')
  mkdirSync(parent, { recursive: true })
  const folder = mkdtempSync(path.join(parent, 'snippets-'))
  const link = (name: string, target: string): void => {
    const at = path.join(folder, 'node_modules', name)
    if (existsSync(at) || !existsSync(target)) return
    mkdirSync(path.dirname(at), { recursive: true })
    symlinkSync(target, at, 'junction')
  }
  for (const one of packagesIn(root)) link(one.name, one.folder)
  for (const { folder: home, manifest } of packagesIn(root)) {
    const { dependencies, devDependencies, peerDependencies } = manifest
    for (const name of Object.keys({ ...dependencies, ...peerDependencies, ...devDependencies })) {
      if (!name.startsWith('@enablement/')) link(name, path.join(home, 'node_modules', name))
    }
  }
  link('@types/node', path.join(repository, 'node_modules/@types/node'))
  writeFileSync(path.join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  return folder
}

const fileOf = (snippet: Snippet): string => `${snippet.file.replaceAll(/[/\\]/g, '__')}.${snippet.line}.ts`

/** Errors of the compiler, by the snippet they are in. Lines are the page's own. */
async function typeFaults(folder: string, snippets: readonly Snippet[]): Promise<Fault[]> {
  const compilerOptions = {
    target: 'es2023',
    lib: ['es2024', 'esnext.disposable'],
    module: 'nodenext',
    moduleDetection: 'force',
    strict: true,
    exactOptionalPropertyTypes: true,
    erasableSyntaxOnly: true,
    verbatimModuleSyntax: true,
    skipLibCheck: true,
    types: ['node'],
    noEmit: true
  }
  writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: snippets.map(fileOf) }))
  const { status, output } = await command('tsc', ['-p', '.', '--pretty', 'false'], { cwd: folder })
  if (status === 0) return []
  const byFile = new Map(snippets.map((snippet) => [fileOf(snippet), snippet]))
  const faults: Fault[] = []
  const unplaced: string[] = []
  for (const text of output.trim().split('\n')) {
    const [, name, line, message] = /^(.+?)\((\d+),\d+\): (.*)$/.exec(text) ?? []
    const snippet = name === undefined ? undefined : byFile.get(name)
    if (snippet !== undefined) {
      faults.push({ file: snippet.file, line: Number(line), message: `(block at line ${snippet.line}) ${message}` })
    } else unplaced.push(text)
  }
  if (faults.length === 0) faults.push({ file: 'README.md', message: `the compiler failed:\n${unplaced.join('\n')}` })
  return faults
}

/** Node 22 knows types but not `using`; users of that Node have a compiler between. */
function runsUsing(): boolean {
  try {
    new Script('{ using nothing = null }')
    return true
  } catch {
    return false
  }
}

/** The arguments that run a snippet with its own line numbers. */
async function programOf(folder: string, snippet: Snippet): Promise<string[]> {
  if (runsUsing()) return [fileOf(snippet)]
  const name = `${fileOf(snippet)}.mjs`
  const { code } = await transform(readFileSync(path.join(folder, fileOf(snippet)), 'utf8'), {
    loader: 'ts',
    target: 'node22',
    sourcemap: 'inline',
    sourcefile: fileOf(snippet)
  })
  writeFileSync(path.join(folder, name), code)
  return ['--enable-source-maps', name]
}

async function runFault(folder: string, snippet: Snippet): Promise<Fault[]> {
  const { NODE_OPTIONS: _, ...env } = process.env
  const program = await programOf(folder, snippet)
  const { status, output } = await command(process.execPath, program, { cwd: folder, env, timeoutMs: runMs })
  if (status === 0) return []
  const shown = output.trim().replaceAll(path.join(folder, fileOf(snippet)), snippet.file)
  return [{ file: snippet.file, line: snippet.line, message: `the block failed (exit ${status}):\n${shown}` }]
}

export async function checkSnippets(root: string): Promise<Report> {
  const faults: Fault[] = []
  const snippets: Snippet[] = []
  for (const file of pagesIn(root)) {
    const found = snippetsOf(relative(root, file), readFileSync(file, 'utf8'))
    faults.push(...found.faults)
    snippets.push(...found.snippets)
  }
  const checked = snippets.filter((one) => one.treatment !== 'skip')
  const run = checked.filter((one) => one.treatment === 'run')
  if (checked.length > 0) {
    const folder = prepare(root)
    try {
      for (const snippet of checked) {
        // As many empty lines before it as in the page, so that every tool names the page's own lines.
        writeFileSync(path.join(folder, fileOf(snippet)), `${'\n'.repeat(snippet.line)}${snippet.code}\n`)
      }
      faults.push(...(await typeFaults(folder, checked)))
      faults.push(...(await eachOf(run, 2, (snippet) => runFault(folder, snippet))).flat())
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }
  const skipped = snippets.length - checked.length
  return { faults, summary: `${run.length} run, ${checked.length - run.length} checked only, ${skipped} fragments` }
}

await runAsProgram(import.meta.url, (root) => checkSnippets(root))
