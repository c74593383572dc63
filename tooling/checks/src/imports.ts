/**
 * Who may import whom.
 *
 * - core imports no sister; the sisters import core, through its published subpaths, and never each other
 * - inside a package, concepts never import adapters, and folders are acyclic, types included
 * - a package loads only what its manifest declares; a root entry reaches no node built-in and no optional peer,
 *   whatever it reaches them through
 * - barrels stand only at published entries and list their names; no relative import leaves its package, and tests
 *   import the package by its published name
 */
import { builtinModules } from 'node:module'
import path from 'node:path'
import { type Fault, type Report, runAsProgram } from './gate.ts'
import { cyclesOf, type Module, type Reference, readModule, relativeTarget } from './module-graph.ts'
import { type Package, packageOf, packagesIn, relative, typescriptIn } from './workspace.ts'

const corePackage = '@enablement/core'

/**
 * Folders that adapt a database, a vendor, an operating system, a command line or a test. One that is a published subpath
 * and imports a node built-in is an adapter too, whatever its name.
 */
const adapters: ReadonlySet<string> = new Set(
  (
    'memory sql sqlite postgres redis quickjs process cgroup disk gpu host-monitor resolver certificate cli testing ' +
    'slack email webhook inbox websocket mcp langgraph cloudevents stripe openmeter prometheus opentelemetry ai-sdk openai-agents'
  ).split(' ')
)

/** Core's `sql` holds the port that its own concepts are written on (units, statements): ground, not an adapter. */
const grounds: ReadonlySet<string> = new Set([`${corePackage} sql`])

const isBuiltin = (specifier: string): boolean =>
  specifier.startsWith('node:') || builtinModules.includes(specifier.split('/')[0] as string)

interface Source extends Module {
  readonly owner: Package
  /** First folder under `src`; undefined for the files directly in it. */
  readonly room: string | undefined
}

type Targets = string | { readonly [condition: string]: Targets }

/** The sources that a package's `imports` (`#crypto`) select on node and everywhere else. */
function platformFiles(owner: Package): { byName: Map<string, string>; nodeOnly: Set<string> } {
  const byName = new Map<string, string>()
  const nodeOnly = new Set<string>()
  const walk = (name: string, targets: Targets, conditions: readonly string[]): void => {
    if (typeof targets !== 'string') {
      for (const [condition, target] of Object.entries(targets)) walk(name, target, [...conditions, condition])
      return
    }
    const entry = owner.entries.find((one) => `${owner.name}${one.subpath.slice(1)}` === targets)
    const file = entry?.source ?? targets.replace('./dist/', './src/').replace(/\.js$/, '.ts')
    const source = path.join(owner.folder, file)
    if (conditions.includes('node')) nodeOnly.add(source)
    else if (conditions[0] === 'default') byName.set(name, source)
  }
  for (const [name, targets] of Object.entries(owner.manifest.imports ?? {})) walk(name, targets, [])
  return { byName, nodeOnly }
}

class ImportRules {
  readonly faults: Fault[] = []
  readonly sources = new Map<string, Source>()
  readonly #root: string
  readonly #packages: ReadonlyMap<string, Package>
  readonly #platform: ReadonlyMap<string, ReturnType<typeof platformFiles>>
  /** `<package> <room>` of the published rooms that import a built-in. */
  readonly #onNode = new Set<string>()

  constructor(root: string) {
    this.#root = root
    this.#packages = new Map(packagesIn(root).map((one) => [one.name, one]))
    this.#platform = new Map([...this.#packages.values()].map((one) => [one.name, platformFiles(one)]))
    for (const owner of this.#packages.values()) {
      const folder = path.join(owner.folder, 'src')
      for (const file of typescriptIn(folder)) {
        const [room, ...rest] = relative(folder, file).split('/')
        this.sources.set(file, { ...readModule(file), owner, room: rest.length === 0 ? undefined : room })
      }
    }
    for (const { owner, room, references } of this.sources.values()) {
      const isPublished = owner.entries.some((entry) => entry.subpath === `./${room}`)
      if (isPublished && references.some((one) => isBuiltin(one.specifier))) this.#onNode.add(`${owner.name} ${room}`)
    }
  }

  #isAdapter(owner: Package, room: string | undefined): boolean {
    const key = `${owner.name} ${room}`
    return room !== undefined && !grounds.has(key) && (adapters.has(room) || this.#onNode.has(key))
  }

  check(): void {
    for (const source of this.sources.values()) {
      this.#barrel(source)
      for (const reference of source.references) {
        if (reference.specifier.startsWith('.')) this.#relative(source, reference)
        else this.#bare(source, reference)
      }
    }
    for (const owner of this.#packages.values()) {
      this.#acyclic(owner)
      this.#rootReach(owner)
      this.#tests(owner)
    }
  }

  #fault(file: string, line: number | undefined, message: string): void {
    this.faults.push({ file: relative(this.#root, file), message, ...(line === undefined ? {} : { line }) })
  }

  #barrel(source: Source): void {
    for (const line of source.starExports) this.#fault(source.file, line, '`export *`: list the names')
    const published = source.owner.entries.map((entry) => path.join(source.owner.folder, entry.source))
    if (path.basename(source.file) === 'index.ts' && !published.includes(source.file)) {
      this.#fault(source.file, undefined, 'a barrel that is no published entry: import the files themselves')
    }
  }

  #relative(source: Source, { specifier, line }: Reference): void {
    const target = relativeTarget(source.file, specifier)
    if (target === undefined) return this.#fault(source.file, line, `no file ${specifier}`)
    const within = relative(path.join(source.owner.folder, 'src'), target)
    if (within.startsWith('..')) return this.#fault(source.file, line, `${specifier} leaves the package's sources`)
    const room = within.includes('/') ? within.split('/')[0] : undefined
    if (this.#isAdapter(source.owner, room) && !this.#isAdapter(source.owner, source.room)) {
      this.#fault(source.file, line, `a concept imports the adapter ${room}/`)
    }
    if (this.#platform.get(source.owner.name)?.nodeOnly.has(target)) {
      this.#fault(source.file, line, `${specifier} is for node alone: import it by its # name`)
    }
  }

  #bare(source: Source, { specifier, line }: Reference): void {
    const { owner, file } = source
    const refuse = (why: string): void => this.#fault(file, line, `${specifier}: ${why}`)
    if (specifier.startsWith('#')) {
      if (owner.manifest.imports?.[specifier] === undefined) refuse("not in the package's imports")
      return
    }
    if (isBuiltin(specifier)) {
      const nodeOnly = this.#platform.get(owner.name)?.nodeOnly.has(file) === true
      if (!specifier.startsWith('node:')) refuse('write the node: prefix')
      if (!this.#isAdapter(owner, source.room) && !nodeOnly) refuse('a concept imports a node built-in')
      return
    }
    const name = packageOf(specifier)
    const sister = this.#packages.get(name)
    if (sister === owner) return refuse('the package imports itself by name')
    if (sister !== undefined && name !== corePackage) {
      return refuse(owner.name === corePackage ? 'core imports a sister' : 'a sister imports a sister')
    }
    if (sister !== undefined) {
      const subpath = `.${specifier.slice(name.length)}`
      if (sister.entries.every((entry) => entry.subpath !== subpath)) refuse('not a published subpath')
    }
    if (owner.manifest.peerDependenciesMeta?.[name]?.optional === true) {
      refuse('an optional peer is taken by structure, not imported: it may be absent, and so may its types')
    } else if (
      owner.manifest.dependencies?.[name] === undefined &&
      owner.manifest.peerDependencies?.[name] === undefined
    ) {
      refuse('not a declared dependency')
    }
  }

  /**
   * Rooms may not need each other in a circle, not even for types. The single files beside them hold what the whole
   * package shares (its error, its events, its factory): they count where code would run in a circle through them.
   */
  #acyclic(owner: Package): void {
    const edges = new Map<string, Set<string>>()
    const where = new Map<string, string>()
    const base = path.join(owner.folder, 'src')
    const nodeOf = (file: string): string => relative(base, file).replace(/\/.*$/, '/')
    for (const source of this.sources.values()) {
      if (source.owner !== owner || relative(base, source.file) === 'index.ts') continue
      const from = nodeOf(source.file)
      for (const { specifier, line, typeOnly } of source.references) {
        const target = specifier.startsWith('.') ? relativeTarget(source.file, specifier) : undefined
        if (target === undefined || nodeOf(target) === from) continue
        if (typeOnly && !(from.endsWith('/') && nodeOf(target).endsWith('/'))) continue
        const to = nodeOf(target)
        edges.set(from, (edges.get(from) ?? new Set()).add(to))
        if (!where.has(`${from} ${to}`)) where.set(`${from} ${to}`, `${relative(this.#root, source.file)}:${line}`)
      }
    }
    for (const cycle of cyclesOf(edges)) {
      const steps = cycle.flatMap((from) =>
        cycle.flatMap((to) => {
          const at = where.get(`${from} ${to}`)
          return at === undefined ? [] : [`${from} -> ${to} at ${at}`]
        })
      )
      this.#fault(path.join(owner.folder, 'src'), undefined, `a cycle: ${steps.join(', ')}`)
    }
  }

  /** Follows what runs from a root entry, through sisters and platform imports, to built-ins and optional peers. */
  #rootReach(owner: Package): void {
    const entry = owner.entries.find((one) => one.subpath === '.')
    if (entry === undefined) return
    const seen = new Set<string>()
    const follow = (file: string, above: readonly string[]): void => {
      const source = this.sources.get(file)
      if (source === undefined || seen.has(file)) return
      seen.add(file)
      const chain = [...above, relative(this.#root, file)]
      for (const { specifier, line, typeOnly } of source.references) {
        if (typeOnly) continue
        const next = this.#resolve(source, specifier)
        if (next !== undefined) follow(next, chain)
        else if (isBuiltin(specifier)) {
          this.#fault(file, line, `${owner.name} reaches ${specifier} from its root entry: ${chain.join(' > ')}`)
        }
      }
    }
    follow(path.join(owner.folder, entry.source), [])
  }

  #resolve(source: Source, specifier: string): string | undefined {
    if (specifier.startsWith('.')) return relativeTarget(source.file, specifier)
    if (specifier.startsWith('#')) return this.#platform.get(source.owner.name)?.byName.get(specifier)
    const sister = this.#packages.get(packageOf(specifier))
    const entry = sister?.entries.find((one) => one.subpath === `.${specifier.slice(sister.name.length)}`)
    return sister === undefined || entry === undefined ? undefined : path.join(sister.folder, entry.source)
  }

  /** Tests run on the built package too, so they may only know its published names. */
  #tests(owner: Package): void {
    const folder = path.join(owner.folder, 'test')
    for (const file of typescriptIn(folder)) {
      for (const { specifier, line } of readModule(file).references) {
        if (!specifier.startsWith('.')) continue
        const target = relative(folder, path.resolve(path.dirname(file), specifier))
        if (target.startsWith('..')) this.#fault(file, line, `a test imports ${specifier}: use the published name`)
      }
    }
  }
}

export function checkImports(root: string): Report {
  const rules = new ImportRules(root)
  rules.check()
  return { faults: rules.faults, summary: `${rules.sources.size} modules` }
}

await runAsProgram(import.meta.url, checkImports)
