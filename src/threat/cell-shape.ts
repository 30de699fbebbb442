import type { CellEdit, CellEditKind, CellPlan } from '../contract/cell.ts'
import { MODULE_STATEMENT } from './guess.ts'
import { parse, statementsOf, type Dialect, type ParsedSource } from './parse.ts'
import { ownNodes } from './scope.ts'
import { moduleOf, type Shape } from './shape.ts'
import { leavesOf, type Node } from './syntax.ts'

/**
 * Parse goal and rewrite positions for cells of a `js` or `ts` session, so that their top-level names persist from
 * cell to cell.
 *
 * Problem: a V8 script has a completion value and its names persist, but declaring a `const` twice is an error, and it
 * cannot `await`. V8's REPL mode, which allows both, is accessible through an inspector only, and the inspector of an
 * isolate runs code in a thread without a deadline.
 *
 * Mechanism: top-level names become properties of the global object, so that functions of earlier cells see later
 * declarations too. A cell that awaits, imports or returns becomes an async function whose names are hoisted out of
 * it. The result contains positions only, no code.
 *
 * Not handled: a `const` can be assigned, and names have no temporal dead zone. An enum of a cell that awaits does not
 * persist.
 */
export function cellShapeOf(source: string, dialect: Dialect): Shape & { plan?: CellPlan } {
  const parsed = objectOf(source, dialect) ?? parsedCell(source, dialect)
  if (parsed.kind === 'error') return { ...parsed, entry: 'program' }
  const exported = statementsOf(parsed.program).find(({ type }) => type.startsWith('Export'))
  if (exported)
    return { kind: 'error', message: noExport, offset: exported.start, entry: 'program' }
  const plan = planOf(parsed, source)
  return { kind: 'shape', entry: 'program', parsed, runnable: source, plan }
}

const noExport = "A cell exports nothing: its names last from cell to cell without 'export'"

/** Parses `{ a: 1 }` alone as an object literal instead of a block. */
function objectOf(source: string, dialect: Dialect): ParsedSource | undefined {
  if (!/^\s*\{/.test(source) || /;\s*$/.test(source)) return undefined
  const parsed = parse(source, 'expression', dialect)
  return parsed.kind === 'parsed' && objectIn(parsed.program) ? parsed : undefined
}

function objectIn(program: Node): Node | undefined {
  const [only, ...others] = program['body'] as readonly Node[]
  const [, object, ...more] = (only?.['expression']?.expressions ?? []) as readonly Node[]
  const isAlone = others.length === 0 && more.length === 0
  return isAlone && object?.type === 'ObjectExpression' ? object : undefined
}

function parsedCell(source: string, dialect: Dialect): ParsedSource {
  const module = moduleOf(source, dialect)
  if (module?.kind === 'parsed' && module.hasModuleSyntax) return module
  const body = parse(source, 'body', dialect)
  return body.kind === 'error' && module?.kind === 'error' && MODULE_STATEMENT.test(source)
    ? module
    : body
}

function planOf({ program, shift }: ParsedSource & { kind: 'parsed' }, source: string): CellPlan {
  const object = objectIn(program)
  const edits = new Edits(source, shift)
  if (object) {
    edits.add('result', object.start, object.end)
    return { awaits: awaitsIn([object]), edits: edits.sorted() }
  }
  const statements = statementsOf(program)
  const awaits = awaitsIn(statements)
  for (const statement of statements) declare(statement, awaits, edits)
  if (awaits) hoist(statements, edits)
  return { awaits, edits: edits.sorted() }
}

function declare(statement: Node, awaits: boolean, edits: Edits): void {
  const { type, start, end } = statement
  if (type === 'VariableDeclaration') declareVariables(statement, awaits, edits)
  else if (type === 'ClassDeclaration' && statement['id']) {
    edits.add(statement['abstract'] === true ? 'abstract-class' : 'class', start, end)
    edits.name('name', statement['id'])
  } else if (type === 'FunctionDeclaration' && awaits && statement['id'])
    edits.name('function', statement['id'])
  else if (type === 'ImportDeclaration') {
    edits.add('import', start, end)
    for (const { local } of statement['specifiers'] as Node[]) edits.name('name', local)
  }
}

function declareVariables(statement: Node, awaits: boolean, edits: Edits): void {
  const { kind, start } = statement
  if ((kind !== 'let' && kind !== 'const') || !edits.declares(kind, start)) return
  edits.add('lexical', start, start + kind.length)
  for (const { id, init, definite, end } of statement['declarations'] as Node[]) {
    for (const name of leavesOf(id)) edits.name('name', name)
    if (awaits) edits.type(id)
    if (!init && !definite) edits.add('bare', end, end)
  }
}

/** Edits each `var` outside of functions, and marks the value of the last expression. */
function hoist(statements: readonly Node[], edits: Edits): void {
  for (const { node, parent } of ownNodes(statements)) {
    if (node.type !== 'VariableDeclaration' || node['kind'] !== 'var') continue
    if (!edits.declares('var', node.start)) continue
    const isLoop = parent?.type === 'ForInStatement' || parent?.type === 'ForOfStatement'
    edits.add(isLoop && parent['left'] === node ? 'loop-var' : 'var', node.start, node.start + 3)
    for (const { id } of node['declarations'] as Node[]) {
      for (const name of leavesOf(id)) edits.name('name', name)
      edits.type(id)
    }
  }
  const last = statements.findLast(({ type }) => type !== 'EmptyStatement')
  if (last?.type === 'ExpressionStatement')
    edits.add('result', last.start, edits.has(';', last.end - 1) ? last.end - 1 : last.end)
}

/** True if the cell cannot be a script: it awaits, returns, imports, is strict, or has `using` at its top level. */
function awaitsIn(statements: readonly Node[]): boolean {
  for (const { node } of ownNodes(statements))
    if (
      node.type === 'AwaitExpression' ||
      node['await'] === true ||
      node.type === 'ReturnStatement' ||
      node.type === 'ImportDeclaration' ||
      node['directive'] === 'use strict' ||
      (node.type === 'VariableDeclaration' && String(node['kind']).endsWith('using'))
    )
      return true
  return false
}

/** Characters searched for `const enum`, which allows some space in between. */
const ENUM_UNITS = 80

class Edits {
  readonly #source: string
  readonly #shift: number
  readonly #list: CellEdit[] = []

  constructor(source: string, shift: number) {
    this.#source = source
    this.#shift = shift
  }

  /** `start` and `end` are offsets in the parsed text. */
  add(kind: CellEditKind, start: number, end: number): void {
    this.#list.push([kind, start - this.#shift, end - this.#shift])
  }

  /** In TypeScript the node of a name includes its type annotation, which is cut off here. */
  name(kind: CellEditKind, { start, end, name }: Node): void {
    this.add(kind, start, this.has(name, start) ? start + name.length : end)
  }

  /** Adds the type annotation of a variable: the rest of the range of its name. */
  type({ type, start, end, name, properties, elements }: Node): void {
    const last: Node | undefined = (properties ?? elements ?? []).at(-1)
    const close = type === 'ObjectPattern' ? '}' : ']'
    const own =
      type === 'Identifier'
        ? start + name.length
        : this.#source.indexOf(close, (last?.end ?? start) - this.#shift) + this.#shift + 1
    if (own < end && (type !== 'Identifier' || this.has(name, start))) this.add('type', own, end)
  }

  /** False for an enum or a namespace, which the parser reports as a `const`. */
  declares(keyword: string, at: number): boolean {
    const rest = this.#source.slice(at - this.#shift, at - this.#shift + ENUM_UNITS)
    return rest.startsWith(keyword) && !/^const\s+enum\b/.test(rest)
  }

  has(text: string, at: number): boolean {
    return this.#source.startsWith(text, at - this.#shift)
  }

  /** Sorted by position; a class comes before its name. */
  sorted(): readonly CellEdit[] {
    return this.#list.toSorted((a, b) => a[1] - b[1] || b[2] - a[2])
  }
}
