/** What TypeScript's own parser sees in a file: its imports and its functions. */

import {
  isArrowFunction,
  isCallExpression,
  isExportDeclaration,
  isFunctionLikeDeclaration,
  isImportDeclaration,
  isImportExpression,
  isImportTypeNode,
  isLiteralTypeNode,
  isMetaProperty,
  isStringLiteral,
  type Node,
  type SourceFile,
  SyntaxKind,
} from 'typescript/unstable/ast'
import { createVirtualFileSystem } from 'typescript/unstable/fs'
import { API } from 'typescript/unstable/sync'
import type { Source } from './sources.ts'

export interface Import {
  /** `effect` runs a module without taking anything from it; `dynamic` is `import()`. */
  readonly kind: 'value' | 'type' | 'effect' | 'dynamic'
  /** As written; empty when it is computed. */
  readonly from: string
  readonly line: number
}

export interface FunctionSize {
  readonly name: string
  readonly line: number
  /** From its first to its last line, comments before it left out. */
  readonly lines: number
}

export interface Syntax {
  readonly source: Source
  readonly imports: readonly Import[]
  readonly functions: readonly FunctionSize[]
}

/** The files are parsed from `sources` alone, in one run of the compiler; nothing is read from disk. */
export function parseAll(sources: readonly Source[]): Syntax[] {
  const config = { compilerOptions: { noLib: true, noResolve: true, types: [] }, include: ['**/*', '**/.*'] }
  const files = Object.fromEntries(sources.map(({ path, text }) => [`/project/${path}`, text]))
  const fs = createVirtualFileSystem({ ...files, '/project/tsconfig.json': JSON.stringify(config) })
  const api = new API({ cwd: '/project', fs })
  try {
    const [project] = api.updateSnapshot({ openProjects: ['/project/tsconfig.json'] }).getProjects()
    return sources.map((source) => {
      const file = project?.program.getSourceFile(`/project/${source.path}`)
      if (!file) throw new Error(`${source.path} was not parsed`)
      return toSyntax(source, file)
    })
  } finally {
    api.close()
  }
}

function toSyntax(source: Source, file: SourceFile): Syntax {
  const imports: Import[] = []
  const functions: FunctionSize[] = []
  const visit = (node: Node): void => {
    const found = findImport(node)
    if (found) imports.push({ ...found, line: lineOf(file, node.getStart(file)) })
    if (isFunctionLikeDeclaration(node) && 'body' in node && node.body) functions.push(toSize(file, node))
    node.forEachChild(visit)
  }
  visit(file)
  return { source, imports, functions }
}

function findImport(node: Node): Pick<Import, 'kind' | 'from'> | undefined {
  if (isImportDeclaration(node)) {
    const from = textOf(node.moduleSpecifier)
    if (!node.importClause) return { kind: 'effect', from }
    return { kind: node.importClause.phaseModifier === SyntaxKind.TypeKeyword ? 'type' : 'value', from }
  }
  if (isExportDeclaration(node) && node.moduleSpecifier)
    return { kind: node.isTypeOnly ? 'type' : 'value', from: textOf(node.moduleSpecifier) }
  if (isImportTypeNode(node))
    return { kind: 'type', from: isLiteralTypeNode(node.argument) ? textOf(node.argument.literal) : '' }
  if (isCallExpression(node) && isImportCallee(node.expression))
    return { kind: 'dynamic', from: node.arguments[0] ? textOf(node.arguments[0]) : '' }
  return undefined
}

/** `import(…)`, and `import.defer(…)` and its like. */
function isImportCallee(node: Node): boolean {
  return isImportExpression(node) || (isMetaProperty(node) && node.keywordToken === SyntaxKind.ImportKeyword)
}

function textOf(node: Node): string {
  return isStringLiteral(node) ? node.text : ''
}

function toSize(file: SourceFile, node: Node): FunctionSize {
  const first = lineOf(file, node.getStart(file))
  const name = 'name' in node && node.name ? file.text.slice(...rangeOf(file, node.name as Node)) : undefined
  return {
    name: name ?? (isArrowFunction(node) ? 'an arrow function' : 'a function'),
    line: first,
    lines: lineOf(file, node.end) - first + 1,
  }
}

function rangeOf(file: SourceFile, node: Node): [number, number] {
  return [node.getStart(file), node.end]
}

/** Counted from one. */
function lineOf(file: SourceFile, position: number): number {
  return file.getLineAndCharacterOfPosition(position).line + 1
}
