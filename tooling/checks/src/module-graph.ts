import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import ts from 'typescript'

/** A place where a module names another. */
export interface Reference {
  readonly specifier: string
  readonly line: number
  /** Erased when the file runs: `import type`, or nothing but types among the names. */
  readonly typeOnly: boolean
}

export interface Module {
  readonly file: string
  readonly references: readonly Reference[]
  /** Lines of `export *`, with or without a name. */
  readonly starExports: readonly number[]
}

function isTypeOnly(node: ts.ImportDeclaration | ts.ExportDeclaration): boolean {
  if (ts.isExportDeclaration(node)) {
    const names =
      node.exportClause !== undefined && ts.isNamedExports(node.exportClause) ? node.exportClause : undefined
    return node.isTypeOnly || (names !== undefined && names.elements.length > 0 && names.elements.every(isTypeName))
  }
  const clause = node.importClause
  if (clause === undefined) return false
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true
  const names = clause.namedBindings
  return (
    clause.name === undefined &&
    names !== undefined &&
    ts.isNamedImports(names) &&
    names.elements.length > 0 &&
    names.elements.every(isTypeName)
  )
}

const isTypeName = (name: ts.ImportSpecifier | ts.ExportSpecifier): boolean => name.isTypeOnly

/** Everything a file imports or re-exports: declarations, `import()`, `require()`, `import('x').T` in types. */
export function readModule(file: string): Module {
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true)
  const references: Reference[] = []
  const starExports: number[] = []
  const lineOf = (node: ts.Node): number => source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1
  const refer = (at: ts.Node, specifier: ts.Node | undefined, typeOnly: boolean): void => {
    if (specifier !== undefined && ts.isStringLiteralLike(specifier)) {
      references.push({ specifier: specifier.text, line: lineOf(at), typeOnly })
    }
  }
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) refer(node, node.moduleSpecifier, isTypeOnly(node))
    else if (ts.isExportDeclaration(node)) {
      refer(node, node.moduleSpecifier, isTypeOnly(node))
      if (node.exportClause === undefined || ts.isNamespaceExport(node.exportClause)) starExports.push(lineOf(node))
    } else if (ts.isImportEqualsDeclaration(node) && ts.isExternalModuleReference(node.moduleReference)) {
      refer(node, node.moduleReference.expression, node.isTypeOnly)
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      refer(node, node.argument.literal, true)
    } else if (ts.isCallExpression(node)) {
      const callee = node.expression
      const loads =
        callee.kind === ts.SyntaxKind.ImportKeyword || (ts.isIdentifier(callee) && callee.text === 'require')
      if (loads) refer(node, node.arguments[0], false)
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return { file, references, starExports }
}

/** The file a relative specifier names, without a `?suffix`; undefined when there is no such file. */
export function relativeTarget(from: string, specifier: string): string | undefined {
  const file = path.resolve(path.dirname(from), specifier.replace(/\?.*$/, ''))
  return existsSync(file) ? file : undefined
}

/** Cycles among named nodes: each strongly connected set with more than one member (Tarjan). */
export function cyclesOf(edges: ReadonlyMap<string, ReadonlySet<string>>): string[][] {
  const index = new Map<string, number>()
  const low = new Map<string, number>()
  const stack: string[] = []
  const cycles: string[][] = []
  const connect = (node: string): void => {
    index.set(node, index.size)
    low.set(node, index.size - 1)
    stack.push(node)
    for (const next of edges.get(node) ?? []) {
      if (!index.has(next)) connect(next)
      else if (!stack.includes(next)) continue
      low.set(node, Math.min(low.get(node) as number, low.get(next) as number))
    }
    if (low.get(node) !== index.get(node)) return
    const members = stack.splice(stack.indexOf(node))
    if (members.length > 1) cycles.push(members.sort())
  }
  for (const node of edges.keys()) if (!index.has(node)) connect(node)
  return cycles
}
