/**
 * Time and chance come from the injected platform: nothing in a package's sources reads a clock, starts a timer or
 * draws a random number by itself, outside `core/src/time` and `core/src/chance`. Found on the syntax tree, so that
 * `globalThis.Date.now()`, `const { now } = Date` and an import from `node:timers` are seen too.
 */
import path from 'node:path'
import ts from 'typescript'
import { type Fault, type Report, runAsProgram } from './gate.ts'
import { packagesIn, relative, typescriptIn } from './workspace.ts'

const home = /^packages\/core\/src\/(time|chance)\//

export interface Allowance {
  readonly file: string
  readonly names: readonly string[]
  readonly reason: string
}

/** Everything else that may, by file, with the reason. An allowance that is no longer needed is a fault itself. */
const allowances: readonly Allowance[] = [
  {
    file: 'packages/core/src/audit/detail-commitment.ts',
    names: ['@noble/hashes/utils.js randomBytes'],
    reason: 'salts hide erased details from whoever knows the seed of a platform'
  },
  {
    file: 'packages/runtime/src/process/guest-program.ts',
    names: ['globalThis under another name'],
    reason: 'runs inside the sandbox and defines there what its guest finds'
  },
  {
    file: 'packages/runtime/src/process/guest-world.ts',
    names: ['Date under another name', 'Math.random'],
    reason: "runs inside the sandbox and puts the host's clock and chance in the place of the machine's"
  },
  {
    file: 'packages/messaging/src/crypto/noble-provider.ts',
    names: ['@noble/hashes/utils.js randomBytes'],
    reason: 'key material comes from the crypto provider alone, never from the platform, which may be seeded'
  },
  {
    file: 'packages/messaging/src/crypto/node-provider.ts',
    names: ['node:crypto generateKeyPairSync', 'node:crypto randomFillSync'],
    reason: 'the same provider, on node'
  }
]

/** Globals, and exports of node's modules, by their banned members; `*` bans every use of the value. */
const banned: Readonly<Record<string, readonly string[]>> = {
  Date: ['now'],
  Math: ['random'],
  performance: ['now', 'timeOrigin'],
  crypto: ['getRandomValues', 'randomUUID'],
  process: ['hrtime', 'uptime'],
  AbortSignal: ['timeout'],
  setTimeout: ['*'],
  setInterval: ['*'],
  'node:timers': ['setTimeout', 'setInterval'],
  'node:timers/promises': ['setTimeout', 'setInterval', 'scheduler'],
  'node:perf_hooks': ['performance'],
  'node:process': ['hrtime', 'uptime'],
  'node:crypto': (
    'randomBytes randomFill randomFillSync randomInt randomUUID getRandomValues webcrypto ' +
    'generateKey generateKeySync generateKeyPair generateKeyPairSync'
  ).split(' ')
}

/** Export names that mean chance in whichever module they come from: noble's and its like. */
const bannedAnywhere: ReadonlySet<string> = new Set(['randomBytes', 'randomUUID'])

/** Passed around for other ends than their banned member: a schema's `instanceof`, a default. */
const harmlessValues: ReadonlySet<string> = new Set(['AbortSignal'])

interface Use {
  readonly file: string
  readonly line: number
  readonly name: string
}

const bare = (node: ts.Node): ts.Node => {
  const parent = node.parent
  const wraps =
    ts.isParenthesizedExpression(parent) ||
    ts.isAsExpression(parent) ||
    ts.isNonNullExpression(parent) ||
    ts.isSatisfiesExpression(parent)
  return wraps ? bare(parent) : node
}

/** The member that is read from an expression: `.name`, `['name']`, or undefined for any other use of it. */
function memberOf(expression: ts.Node): { name: string; node: ts.Node } | undefined {
  const outer = bare(expression)
  const parent = outer.parent
  if (ts.isPropertyAccessExpression(parent) && parent.expression === outer) {
    return { name: parent.name.text, node: parent }
  }
  if (ts.isElementAccessExpression(parent) && parent.expression === outer) {
    const key = parent.argumentExpression
    return ts.isStringLiteralLike(key) ? { name: key.text, node: parent } : undefined
  }
  return undefined
}

/** The keys that `const { a, b: c } = value` takes; undefined where the value goes elsewhere or a rest takes all. */
function destructured(expression: ts.Node): readonly { name: string; node: ts.Node }[] | undefined {
  const outer = bare(expression)
  const parent = outer.parent
  if (!ts.isVariableDeclaration(parent) || parent.initializer !== outer) return undefined
  if (!ts.isObjectBindingPattern(parent.name)) return undefined
  const taken: { name: string; node: ts.Node }[] = []
  for (const element of parent.name.elements) {
    const key = element.propertyName ?? element.name
    if (element.dotDotDotToken !== undefined || !(ts.isIdentifier(key) || ts.isStringLiteralLike(key))) return undefined
    taken.push({ name: key.text, node: element })
  }
  return taken
}

class AmbientSearch {
  readonly uses: Use[] = []
  readonly #source: ts.SourceFile
  readonly #file: string
  readonly #checker: ts.TypeChecker

  constructor(source: ts.SourceFile, file: string, checker: ts.TypeChecker) {
    this.#source = source
    this.#file = file
    this.#checker = checker
  }

  run(): this {
    this.#visit(this.#source)
    return this
  }

  #found(node: ts.Node, name: string): void {
    const line = this.#source.getLineAndCharacterOfPosition(node.getStart(this.#source)).line + 1
    this.uses.push({ file: this.#file, line, name })
  }

  #visit(node: ts.Node): void {
    // Types are erased: `clearTimeout(x: ReturnType<typeof setTimeout>)` starts nothing.
    if (ts.isTypeNode(node) && !ts.isExpressionWithTypeArguments(node)) return
    if (ts.isImportDeclaration(node)) return this.#imported(node)
    if (ts.isIdentifier(node) && this.#isGlobal(node)) this.#global(node, node.text)
    ts.forEachChild(node, (child) => this.#visit(child))
  }

  /** A name that nothing in the file declares, where it is read. */
  #isGlobal(node: ts.Identifier): boolean {
    const parent = node.parent
    if (node.text !== 'globalThis' && banned[node.text] === undefined) return false
    if (ts.isPropertyAccessExpression(parent) && parent.name === node) return false
    if (ts.isQualifiedName(parent) || (ts.isPropertyAssignment(parent) && parent.name === node)) return false
    if (ts.isBindingElement(parent) && parent.propertyName === node) return false
    // Without a library loaded, what the checker can name is declared here; `globalThis` it always knows.
    const symbol = ts.isShorthandPropertyAssignment(parent)
      ? this.#checker.getShorthandAssignmentValueSymbol(parent)
      : this.#checker.getSymbolAtLocation(node)
    return node.text === 'globalThis' || symbol === undefined || (symbol.declarations ?? []).length === 0
  }

  /** `name` is the global that `node`'s value is: an identifier, or a member read from globalThis. */
  #global(node: ts.Node, name: string): void {
    if (name === 'globalThis') {
      const member = memberOf(node)
      if (member !== undefined) {
        if (banned[member.name] !== undefined) this.#global(member.node, member.name)
        return
      }
      const taken = destructured(node)
      if (taken === undefined) return this.#found(node, 'globalThis under another name')
      for (const one of taken) if (banned[one.name] !== undefined) this.#found(one.node, one.name)
      return
    }
    this.#value(node, name)
  }

  /** One use of a value whose members are banned. */
  #value(node: ts.Node, name: string): void {
    const members = banned[name] ?? []
    if (members.includes('*')) return this.#found(node, name)
    const member = memberOf(node)
    if (member !== undefined) {
      if (members.includes(member.name)) this.#found(node, `${name}.${member.name}`)
      return
    }
    const taken = destructured(node)
    if (taken !== undefined) {
      for (const one of taken) if (members.includes(one.name)) this.#found(one.node, `${name}.${one.name}`)
      return
    }
    const outer = bare(node)
    const parent = outer.parent
    if (name === 'Date') {
      if (ts.isNewExpression(parent) && parent.expression === outer) {
        if ((parent.arguments ?? []).length === 0) this.#found(node, 'new Date()')
        return
      }
      if (ts.isCallExpression(parent) && parent.expression === outer) return this.#found(node, 'Date()')
    }
    if (ts.isBinaryExpression(parent) && parent.operatorToken.kind === ts.SyntaxKind.InstanceOfKeyword) return
    if (ts.isTypeOfExpression(parent) || harmlessValues.has(name)) return
    this.#found(node, `${name} under another name`)
  }

  #imported(node: ts.ImportDeclaration): void {
    if (!ts.isStringLiteral(node.moduleSpecifier)) return
    const specifier = node.moduleSpecifier.text
    const module = specifier.startsWith('node:') ? specifier : `node:${specifier}`
    const clause = node.importClause
    if (clause === undefined || clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return
    const members = banned[module] ?? []
    const names = clause.namedBindings
    if (names !== undefined && ts.isNamedImports(names)) {
      for (const element of names.elements) {
        const name = (element.propertyName ?? element.name).text
        if (element.isTypeOnly) continue
        if (members.includes(name) || bannedAnywhere.has(name)) this.#found(element, `${specifier} ${name}`)
      }
    }
    if (members.length === 0) return
    const whole = [clause.name, names !== undefined && ts.isNamespaceImport(names) ? names.name : undefined]
    for (const local of whole) if (local !== undefined) this.#references(local, module)
  }

  /** Every place that reads a local name: `import crypto from 'node:crypto'` and then `crypto.randomBytes`. */
  #references(local: ts.Identifier, module: string): void {
    const symbol = this.#checker.getSymbolAtLocation(local)
    const visit = (node: ts.Node): void => {
      if (ts.isTypeNode(node)) return
      const isReference = ts.isIdentifier(node) && node !== local && node.text === local.text
      if (isReference && this.#checker.getSymbolAtLocation(node) === symbol) this.#value(node, module)
      ts.forEachChild(node, visit)
    }
    visit(this.#source)
  }
}

/** All ambient time and chance in the given files. */
export function ambientUses(root: string, files: readonly string[]): Use[] {
  // No library and no resolution: the checker then knows exactly the names that a file declares itself.
  const program = ts.createProgram([...files], {
    noLib: true,
    noResolve: true,
    types: [],
    allowImportingTsExtensions: true,
    noEmit: true,
    moduleDetection: ts.ModuleDetectionKind.Force,
    target: ts.ScriptTarget.Latest,
    module: ts.ModuleKind.NodeNext
  })
  const checker = program.getTypeChecker()
  return files.flatMap((file) => {
    const source = program.getSourceFile(file)
    return source === undefined ? [] : new AmbientSearch(source, relative(root, file), checker).run().uses
  })
}

export function checkAmbient(root: string, allowed: readonly Allowance[] = allowances): Report {
  const files = packagesIn(root).flatMap((one) => typescriptIn(path.join(one.folder, 'src')))
  const uses = ambientUses(
    root,
    files.filter((file) => !home.test(relative(root, file)))
  )
  const isAllowed = (use: Use): boolean => allowed.some((one) => one.file === use.file && one.names.includes(use.name))
  const faults: Fault[] = uses
    .filter((use) => !isAllowed(use))
    .map(({ file, line, name }) => ({ file, line, message: `${name}: take it from the platform` }))
  for (const { file, names } of allowed) {
    for (const name of names) {
      if (uses.some((use) => use.file === file && use.name === name)) continue
      faults.push({ file, message: `${name} is allowed here and not used: drop the allowance` })
    }
  }
  return { faults, summary: `${files.length} files, ${allowed.length} allowances` }
}

await runAsProgram(import.meta.url, (root) => checkAmbient(root))
