import type { Entry } from '../contract/job.ts'
import { MODULE_STATEMENT, MODULE_WORD } from './guess.ts'
import { parse, soleFunction, type Dialect, type Mode, type ParsedSource } from './parse.ts'

/** Entry and tree of a JavaScript source; or the position of its syntax error. */
export type Shape =
  | {
      readonly kind: 'shape'
      readonly entry: Entry
      readonly parsed: ParsedSource & { readonly kind: 'parsed' }
      /** The source with parts that prevent evaluation blanked out; positions stay. */
      readonly runnable: string
    }
  | (ParsedSource & { readonly kind: 'error'; readonly entry: Entry })

/** Chooses body, function or module for languages that run in an isolate. */
export function shapeOf(source: string, asked: Entry, dialect: Dialect = 'js'): Shape {
  if (asked === 'program') return programOf(source, dialect)
  if (asked === 'handler') return { ...programOf(source, dialect), entry: 'handler' }
  if (asked === 'module') {
    const parsed = parse(source, 'module', dialect)
    return parsed.kind === 'parsed' ? shape(source, 'module', parsed) : { ...parsed, entry: asked }
  }
  const module = asked === 'auto' ? moduleOf(source, dialect) : undefined
  if (module?.kind === 'parsed' && module.hasModuleSyntax) return shape(source, 'module', module)
  return bodyOf(source, asked, module, dialect)
}

/** Chooses module or program for Node. */
export function nodeShapeOf(source: string, asked: Entry, dialect: Dialect = 'js'): Shape {
  if (asked !== 'auto' && asked !== 'program') return shapeOf(source, asked, dialect)
  const module = moduleOf(source, dialect)
  if (asked === 'auto' && module?.kind === 'parsed' && module.hasDefaultExport)
    return shape(source, 'module', module)
  return programOf(source, dialect)
}

/** Parses as a module; undefined without a word that every module has. */
export function moduleOf(source: string, dialect: Dialect): ParsedSource | undefined {
  return MODULE_WORD.test(source) ? parse(source, 'module', dialect) : undefined
}

function shape(
  source: string,
  entry: Entry,
  parsed: ParsedSource & { readonly kind: 'parsed' },
  runnable = source,
): Shape {
  return { kind: 'shape', entry, parsed, runnable }
}

function bodyOf(
  source: string,
  asked: Entry,
  module: ParsedSource | undefined,
  dialect: Dialect,
): Shape {
  const body = parse(source, 'body', dialect)
  const asFunction =
    functionOf(source, body, 'body') ??
    (body.kind === 'error'
      ? functionOf(source, parse(source, 'expression', dialect), 'expression')
      : undefined)
  if (asFunction) return asFunction
  if (asked === 'function' && body.kind === 'parsed') {
    const message = 'Expected one function and nothing else'
    return { kind: 'error', message, offset: 0, entry: asked }
  }
  if (body.kind === 'parsed') return shape(source, 'body', body)
  const entry = asked === 'auto' ? 'body' : asked
  if (module?.kind === 'error' && MODULE_STATEMENT.test(source))
    return { ...module, entry: 'module' }
  return { ...body, entry }
}

function functionOf(source: string, parsed: ParsedSource, mode: Mode): Shape | undefined {
  if (parsed.kind === 'error') return undefined
  const sole = soleFunction(parsed.program, mode)
  if (!sole) return undefined
  const places = sole.semicolons.map((at) => at - parsed.shift)
  return shape(source, 'function', parsed, blanked(source, places))
}

/** Replaces the semicolons at these offsets with spaces. */
function blanked(source: string, places: readonly number[]): string {
  const parts: string[] = []
  let from = 0
  for (const at of places.toSorted((a, b) => a - b)) {
    if (at < from || source[at] !== ';') continue
    parts.push(source.slice(from, at), ' ')
    from = at + 1
  }
  return from === 0 ? source : parts.join('') + source.slice(from)
}

/** A program is a module by its syntax, or if only that allows its top-level `await`. */
function programOf(source: string, dialect: Dialect): Shape {
  const module = moduleOf(source, dialect)
  if (module?.kind === 'parsed' && module.hasModuleSyntax) return shape(source, 'program', module)
  const script = parse(source, 'commonjs', dialect)
  if (script.kind === 'parsed') return shape(source, 'program', script)
  const again = module ?? parse(source, 'module', dialect)
  if (again.kind === 'parsed') return shape(source, 'program', again)
  return { ...(MODULE_STATEMENT.test(source) ? again : script), entry: 'program' }
}
