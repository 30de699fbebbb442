import { parseSync } from 'oxc-parser'
import { isFunction } from './scope.ts'
import type { Node } from './syntax.ts'
import { withoutTypes } from './without-types.ts'

/** Parse goal: a script's function body, one expression, a module, or a CommonJS module. */
export type Mode = 'body' | 'expression' | 'module' | 'commonjs'

/** Syntax of a text. */
export type Dialect = 'js' | 'jsx' | 'ts' | 'tsx'

export type ParsedSource =
  | {
      readonly kind: 'parsed'
      readonly program: Node
      /** Length of the wrapper before the source on its first line: subtract it from every offset. */
      readonly shift: number
      readonly hasModuleSyntax: boolean
      readonly hasDefaultExport: boolean
    }
  | { readonly kind: 'error'; readonly message: string; readonly offset: number }

const BODY: Frame = { before: '(async function (input) {', after: '\n})' }
const EXPRESSION: Frame = { before: '0,', after: '\n' }
const BARE: Frame = { before: '', after: '' }

interface Frame {
  readonly before: string
  readonly after: string
}

const frames: Record<Mode, Frame> = {
  body: BODY,
  expression: EXPRESSION,
  module: BARE,
  commonjs: BARE,
}

/**
 * Native parse: only in the disposable process, and only after the cap. A body is wrapped in a function on the
 * same line, so that top-level `return` and `await` parse; a source that closes that function is a syntax error
 * there.
 */
export function parse(source: string, mode: Mode, dialect: Dialect = 'js'): ParsedSource {
  const { before, after } = frames[mode]
  const result = parseSync('source', before + source + after, {
    lang: dialect,
    sourceType: mode === 'module' || mode === 'commonjs' ? mode : 'script',
    preserveParens: false,
  })
  const error = result.errors.find(
    ({ severity, message }) => (severity as string) === 'Error' && !isAllowed(message, mode),
  )
  const shift = before.length
  if (error) {
    const offset = (error.labels[0]?.start ?? shift) - shift
    return { kind: 'error', message: error.message, offset: within(offset, source) }
  }
  const tree = result.program as unknown as Node
  const program = dialect.startsWith('ts') ? withoutTypes(tree) : tree
  if (mode === 'body') {
    const closed = closedEarly(program, source.length, shift)
    if (closed !== undefined) return { kind: 'error', message: 'Unexpected token', offset: closed }
    program['body'][0].expression.wrapper = true
  }
  const { hasModuleSyntax, staticExports } = result.module
  return {
    kind: 'parsed',
    program,
    shift,
    // `export {}` makes a module, and is in no list of exports.
    hasModuleSyntax,
    hasDefaultExport: staticExports.some(({ entries }) =>
      entries.some(
        ({ exportName }) =>
          (exportName.kind as string) === 'Default' || exportName.name === 'default',
      ),
    ),
  }
}

/** A body is wrapped in a function only for its execution: top-level namespaces are allowed. */
function isAllowed(message: string, mode: Mode): boolean {
  return mode === 'body' && message.startsWith('A namespace declaration is only allowed')
}

function within(offset: number, source: string): number {
  return Math.min(Math.max(0, offset), source.length)
}

/** Position where the source closes its wrapper function; undefined if it does not. */
function closedEarly(program: Node, length: number, shift: number): number | undefined {
  const [only, ...others] = program['body'] as readonly Node[]
  const wrapper: Node | undefined = only?.['expression']
  const end = shift + length + 2
  if (others.length === 0 && wrapper?.type === 'FunctionExpression' && wrapper.end === end)
    return undefined
  const first = firstFunction(wrapper)
  return Math.min(length, Math.max(0, (first?.end ?? shift + 1) - 1 - shift))
}

function firstFunction(node: Node | undefined): Node | undefined {
  let at = node
  while (at && at.type !== 'FunctionExpression') {
    at =
      at['callee'] ??
      at['object'] ??
      at['left'] ??
      at['tag'] ??
      at['test'] ??
      at['expressions']?.[0]
  }
  return at
}

/** Function around the statements of a body; undefined for other programs. */
export function wrapperOf(program: Node): Node | undefined {
  const wrapper: Node | undefined = program['body'][0]?.['expression']
  return wrapper?.['wrapper'] === true ? wrapper : undefined
}

/** Statements of a body, without its wrapper, or of another program. */
export function statementsOf(program: Node): readonly Node[] {
  return wrapperOf(program)?.['body'].body ?? program['body']
}

/** A source that is one function, with trailing semicolons as offsets in the parsed text. */
export interface SoleFunction {
  readonly node: Node
  readonly semicolons: readonly number[]
}

/** The single function of a source, parsed as a body or as an expression; else undefined. */
export function soleFunction(program: Node, mode: Mode): SoleFunction | undefined {
  const body = statementsOf(program)
  const [only, ...others] = body.filter(({ type }) => type !== 'EmptyStatement')
  if (!only || others.length > 0) return undefined
  const node = mode === 'body' ? functionIn(only) : secondOf(only)
  if (!node) return undefined
  const empties = body.filter(({ type }) => type === 'EmptyStatement').map(({ start }) => start)
  return { node, semicolons: [...empties, only.end - 1] }
}

function functionIn(statement: Node): Node | undefined {
  if (statement.type === 'FunctionDeclaration') return statement
  const expression: Node | undefined = statement['expression']
  return expression && isFunction(expression) ? expression : undefined
}

function secondOf(statement: Node): Node | undefined {
  const [, second, ...more] = statement['expression']?.expressions ?? []
  return second && more.length === 0 && isFunction(second) ? second : undefined
}
