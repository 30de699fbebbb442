import { posix } from 'node:path'
import { parseSync } from 'oxc-parser'
import { importsOf } from './imports.ts'
import { isTest, type Source } from './tree.ts'

/** Longest function, in lines from its head to its closing bracket. */
export const functionLinesMax = 70

/** Words that name nothing: a reader cannot search for them, and learns the subject of the sentence last. */
const emptyWords = [
  'what|who|whoever|whose|whom|whatever|which|whichever|where|that|of|one',
  'it|its|itself|they|them|their|theirs|this|these|those|he|him|his|she|her|hers|we|us|our|ours|you|your|my|me',
  'none|nobody|nothing|everybody|everyone|everything|somebody|someone|something|anybody|anyone|anything',
]
const emptyOpeners = new RegExp(`^(${emptyWords.join('|')})\\b`, 'i')
const code = /\.(ts|js|mjs)$/
/** Type of JSDoc: `import('./a.js').A`. */
const typeInComment = /import\('(\.[^']+)'\)\.\w/g
const titled = /^(test|suite|it|describe)$/
const grouping = /^(suite|describe)$/

export interface FunctionSize {
  readonly name: string
  readonly line: number
  readonly lines: number
}

export interface Shape {
  readonly path: string
  readonly lines: number
  /** Lines with code on them: neither blank nor all comment. */
  readonly codeLines: number
  readonly commentLines: number
  readonly functions: readonly FunctionSize[]
  /** `line: text` of each comment and test title that opens with an empty word. */
  readonly openers: readonly string[]
  readonly exportedTypes: readonly string[]
  /** Functions and constants. */
  readonly exportedValues: readonly string[]
}

interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [key: string]: unknown
}

/** Shapes of all TypeScript and JavaScript sources. */
export function shapesOf(sources: readonly Source[]): readonly Shape[] {
  return sources.filter(({ path }) => code.test(path)).map(shapeOf)
}

function shapeOf({ path, text }: Source): Shape {
  const { program, comments } = parseSync(path, text)
  const lineAt = lineFinder(text)
  const functions: FunctionSize[] = []
  const openers: string[] = []
  const exportedTypes: string[] = []
  const exportedValues: string[] = []
  for (const comment of comments) {
    if (continuesLineComment(text, comment.start)) continue
    const words = comment.value.replace(/^[\s*/]+/, '')
    if (emptyOpeners.test(words)) openers.push(`${lineAt(comment.start)}: ${firstLine(words)}`)
  }
  const groups = new Set<Node>()
  walk(program as unknown as Node, (node) => {
    // A group of tests is a list, as a module is: each test of it is measured by itself.
    if (isTest(path)) for (const callback of groupCallbacks(node)) groups.add(callback)
    const size = groups.has(node) ? undefined : functionSize(node, lineAt)
    if (size) functions.push(size)
    const title = isTest(path) ? titleIn(node) : undefined
    if (title && emptyOpeners.test(title))
      openers.push(`${lineAt(node.start)}: ${firstLine(title)}`)
    const name = exportedTypeIn(node)
    if (name) exportedTypes.push(name)
    exportedValues.push(...exportedValuesIn(node))
  })
  return { path, ...countLines(text, comments), functions, openers, exportedTypes, exportedValues }
}

/** `path:line: text` of each comment and test title that opens with an empty word. */
export function openerFaults(shapes: readonly Shape[]): readonly string[] {
  return shapes.flatMap(({ path, openers }) => openers.map((opener) => `${path}:${opener}`))
}

/** `path:line: name, lines` of each function over `functionLinesMax`. */
export function longFunctionFaults(shapes: readonly Shape[]): readonly string[] {
  return shapes.flatMap(({ path, functions }) =>
    functions
      .filter(({ lines }) => lines > functionLinesMax)
      .map(({ name, line, lines }) => `${path}:${line}: ${name}, ${lines} lines`),
  )
}

/** Names of exported types that more than one file defines, with those files. */
export function duplicateTypes(shapes: readonly Shape[]): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>()
  for (const { path, exportedTypes } of shapes)
    for (const name of new Set(exportedTypes)) found.set(name, [...(found.get(name) ?? []), path])
  return new Map([...found].filter(([, paths]) => paths.length > 1))
}

/** Modules of one interface, such as two engines or two verbs: the same name is the same step of it. */
const parallel = [
  /^src\/cli\/[^/]+$/,
  /^src\/tiers\//,
  /^src\/warden\/engines\/[^/]+\//,
  /^src\/sdk\//,
] as const

/** Names of exported functions and constants that more than one file defines, with those files; except in parallel modules. */
export function duplicateValues(shapes: readonly Shape[]): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>()
  for (const { path, exportedValues } of shapes)
    for (const name of new Set(exportedValues)) found.set(name, [...(found.get(name) ?? []), path])
  const isParallel = (paths: readonly string[]) =>
    parallel.some((folder) => paths.every((path) => folder.test(path)))
  return new Map([...found].filter(([, paths]) => paths.length > 1 && !isParallel(paths)))
}

/** Groups of files that import each other in a circle, types included, each sorted. */
export function importCycles(sources: readonly Source[]): readonly (readonly string[])[] {
  const known = new Set(sources.map(({ path }) => path))
  const edges = new Map(
    sources
      .filter(({ path }) => code.test(path))
      .map((source) => [source.path, localImports(source, known)] as const),
  )
  return components(edges).filter((group) => group.length > 1)
}

/** Imports of a file, with those of types in comments of JavaScript. */
function localImports(source: Source, known: ReadonlySet<string>): readonly string[] {
  const inComments = [...source.text.matchAll(typeInComment)].map(([, to = '']) =>
    posix.join(posix.dirname(source.path), to),
  )
  const paths = [...importsOf(source).map(({ path }) => path), ...inComments]
  return [...new Set(paths)].filter((path) => path !== undefined && known.has(path)) as string[]
}

/** Strongly connected components, by Tarjan's algorithm. */
function components(edges: ReadonlyMap<string, readonly string[]>): readonly string[][] {
  const index = new Map<string, number>()
  const low = new Map<string, number>()
  const stack: string[] = []
  const onStack = new Set<string>()
  const groups: string[][] = []
  const visit = (node: string): void => {
    index.set(node, index.size)
    low.set(node, index.get(node)!)
    stack.push(node)
    onStack.add(node)
    for (const next of edges.get(node) ?? []) {
      if (!index.has(next)) visit(next)
      if (onStack.has(next)) low.set(node, Math.min(low.get(node)!, low.get(next)!))
    }
    if (low.get(node) !== index.get(node)) return
    const group = stack.splice(stack.indexOf(node))
    for (const member of group) onStack.delete(member)
    groups.push(group.sort())
  }
  for (const node of edges.keys()) if (!index.has(node)) visit(node)
  return groups
}

function walk(node: Node, visit: (node: Node) => void): void {
  visit(node)
  for (const value of Object.values(node)) {
    if (Array.isArray(value)) for (const item of value) walkIn(item, visit)
    else walkIn(value, visit)
  }
}

function walkIn(value: unknown, visit: (node: Node) => void): void {
  if (typeof (value as Node | null)?.type === 'string') walk(value as Node, visit)
}

function functionSize(node: Node, lineAt: (offset: number) => number): FunctionSize | undefined {
  if (!/^(FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/.test(node.type))
    return undefined
  const line = lineAt(node.start)
  const { name = 'a function' } = (node['id'] as { name?: string } | null) ?? {}
  return { name, line, lines: lineAt(node.end) - line + 1 }
}

function titleIn(node: Node): string | undefined {
  if (!titled.test(calleeOf(node))) return undefined
  const [first] = node['arguments'] as readonly Node[]
  if (first?.type === 'Literal') return String(first['value'])
  if (first?.type !== 'TemplateLiteral') return undefined
  const [head] = first['quasis'] as readonly { readonly value: { readonly raw: string } }[]
  return head?.value.raw
}

function groupCallbacks(node: Node): readonly Node[] {
  return grouping.test(calleeOf(node)) ? (node['arguments'] as readonly Node[]) : []
}

/** Name of the function that a call calls, without its modifier (`test.skip`); empty for other nodes. */
function calleeOf(node: Node): string {
  if (node.type !== 'CallExpression') return ''
  const callee = node['callee'] as Node
  const name = callee.type === 'MemberExpression' ? callee['object'] : callee
  return String((name as Node)['name'])
}

function exportedTypeIn(node: Node): string | undefined {
  if (node.type !== 'ExportNamedDeclaration') return undefined
  const declared = node['declaration'] as Node | null
  if (!declared || !/^(TSInterface|TSTypeAlias|Class)Declaration$/.test(declared.type))
    return undefined
  return (declared['id'] as { readonly name: string }).name
}

function exportedValuesIn(node: Node): readonly string[] {
  const declared =
    node.type === 'ExportNamedDeclaration' ? (node['declaration'] as Node | null) : null
  const of = declared?.type === 'VariableDeclaration' ? declared['declarations'] : [declared]
  if (!/^(VariableDeclaration|FunctionDeclaration)$/.test(declared?.type ?? '')) return []
  return (of as readonly Node[]).flatMap(({ id }) => (id as { name?: string }).name ?? [])
}

interface Comment {
  readonly type: string
  readonly start: number
  readonly end: number
}

function countLines(text: string, comments: readonly Comment[]) {
  const all = text.split('\n')
  let bare = text
  for (const { start, end } of comments)
    bare = bare.slice(0, start) + text.slice(start, end).replace(/[^\n]/g, ' ') + bare.slice(end)
  const isBlank = (line: string) => line.trim() === ''
  const codeLines = bare.split('\n').filter((line) => !isBlank(line)).length
  const blank = all.filter(isBlank).length
  return { lines: all.length, codeLines, commentLines: all.length - blank - codeLines }
}

/** Whether a line comment goes on from the line above, so that its first word opens nothing. */
function continuesLineComment(text: string, start: number): boolean {
  if (text[start + 1] !== '/') return false
  const before = text.slice(0, start).split('\n')
  const isAlone = before.at(-1)!.trim() === ''
  return isAlone && /^\s*\/\//.test(before.at(-2) ?? '')
}

function firstLine(text: string): string {
  return text.split('\n')[0]!.trim().slice(0, 100)
}

function lineFinder(text: string): (offset: number) => number {
  const starts = [0]
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
  return (offset) => {
    let [from, to] = [0, starts.length - 1]
    while (from < to) {
      const middle = (from + to + 1) >> 1
      if (starts[middle]! <= offset) from = middle
      else to = middle - 1
    }
    return from + 1
  }
}
