import { normalPath } from '../contract/files.ts'
import { notebookHint } from '../lib/notebook-syntax.ts'
import type { CellPlan } from '../contract/cell.ts'
import type { Entry, Language } from '../contract/job.ts'
import { languageOfShebang } from '../contract/shebang.ts'
import { capOf, javascriptCap, typescriptCap, type Cap } from './cap.ts'
import { dialectOf, dialectOfFile } from './dialect.ts'
import { withoutUnusedImports } from './elide.ts'
import { complexityOf } from './complexity.ts'
import { cellShapeOf } from './cell-shape.ts'
import { factsOf, type Facts } from './facts.ts'
import { behaviorOf, obfuscatedFrom, type ObfuscationSigns } from './obfuscation.ts'
import { mergeMatches } from './merge-matches.ts'
import type { PatternMatch } from './pattern-match.ts'
import { unparsedMatch } from './unparsed-match.ts'
import { unparsed } from './guess.ts'
import type { Dialect } from './parse.ts'
import type { ErasedFile, Inspection } from './inspection.ts'
import { positionOf } from './position.ts'
import { codeOf } from './rules/eval.ts'
import { fileNeedsNode, needsNode } from './node-only.ts'
import { rules } from './rules/rules.ts'
import { runsItself } from './runs-itself.ts'
import { bindScopes } from './scope.ts'
import { branchesOf, wasmEntry, wasmFault } from './script.ts'
import { nodeShapeOf, shapeOf, type Shape } from './shape.ts'
import { strip } from './strip.ts'
import { inFiles, loadedFacts, type InspectedFile, type Main, type FileInspector } from './files.ts'
import { splitShape } from './zones/split-shape.ts'

export interface InspectRequest {
  readonly code: string
  /** File name of the source. */
  readonly name?: string | undefined
  readonly language?: Language | undefined
  readonly entry: Entry
  readonly files: readonly InspectedFile[]
  /** Also analyse zones. */
  readonly zones?: boolean
  /** True for a cell of a session, whose names persist. */
  readonly cell?: boolean
}

/**
 * Inspects a hostile source: depth and size first, then the native parser, then the rules. Runs only in the
 * disposable analysis process, since the parser may crash. Throws only on an internal failure; the process must
 * then end, and the source counts as UNPARSED.
 */
export function inspect(request: InspectRequest): Inspection {
  const { name } = request
  const language = request.language ?? languageOfShebang(request.code)
  if (language !== request.language) return inspect({ ...request, language })
  if (request.entry === 'main' && language !== 'python')
    return broken(request.code, language ?? 'js', notPython)
  if (language === 'python' || language === 'sh' || language === 'bash' || language === 'wasm') {
    return inspectScript(request, language)
  }
  const dialect = dialectOf(language, name)
  const isTyped = dialect !== undefined && dialect !== 'js'
  const inspection = isTyped
    ? inspectTyped(request, dialect)
    : inspectJavaScript(request, request.code)
  if (!inspection.syntaxError || dialect === 'ts' || dialect === 'tsx') return inspection
  if (dialect) return saidTypeScript(request, inspection, dialect === 'jsx' ? 'tsx' : 'ts')
  // Language not given: a syntax error in JavaScript may be type syntax.
  const typed = inspectTyped(request, 'ts')
  return typed.syntaxError ? inspection : typed
}

/** The error of code that is called JavaScript; it says so if the code parses as TypeScript. */
function saidTypeScript(request: InspectRequest, broken: Inspection, dialect: Dialect): Inspection {
  const { syntaxError } = broken
  if (!syntaxError || inspectJavaScript(request, request.code, { dialect }).syntaxError)
    return broken
  const message = `This is TypeScript, and the code is called JavaScript: name the language "ts", or a file ".ts" (${syntaxError.message})`
  return { ...broken, syntaxError: { ...syntaxError, message: message.slice(0, MESSAGE_MAX) } }
}

/** Same as in the schema of inspections. */
const MESSAGE_MAX = 500

const notPython = {
  kind: 'error',
  entry: 'main',
  message: 'Cannot run entry "main": it is for language "python" only',
  offset: 0,
} as const

function saysWhy(cap: Cap & { readonly kind: 'over' }): string {
  const bound = `the bound is ${cap.max}`
  if (cap.what === 'length') return `${cap.is} characters of source, ${bound}`
  return cap.what === 'tokens' ? `more than ${cap.max} tokens` : `nested too deeply to parse`
}

/** Strips types if they are erasable; otherwise analyses the tree of the original. */
function inspectTyped(request: InspectRequest, dialect: Dialect): Inspection {
  const cap = capOf(request.code, typescriptCap)
  if (cap.kind === 'over') return unparsed(request, saysWhy(cap))
  const javascript =
    dialect === 'ts' && request.language !== 'node' ? strip(request.code) : undefined
  if (javascript !== undefined) {
    const inspection = inspectJavaScript(request, javascript, { erased: true })
    if (inspection.language === 'ts' && !inspection.typed) return { javascript, ...inspection }
    if (inspection.language === 'node') return inspection
  }
  return inspectJavaScript(request, request.code, { dialect })
}

interface Reading {
  /** Dialect of the text. */
  readonly dialect?: Dialect
  /** Types were stripped from the text. */
  readonly erased?: boolean
}

function inspectJavaScript(
  request: InspectRequest,
  source: string,
  { dialect = 'js', erased = false }: Reading = {},
  language = request.language,
): Inspection {
  const isTyped = dialect !== 'js' || erased
  const cap = capOf(source, isTyped ? typescriptCap : javascriptCap)
  if (cap.kind === 'over') return unparsed(request, saysWhy(cap))
  const its = language ?? (isTyped ? 'ts' : 'js')
  const shape = shapeFor(request, source, its, dialect)
  if (shape.kind === 'error') return broken(request.code, its, shape)
  const facts = factsOf(bindScopes(shape.parsed.program))
  if (language === undefined && (needsNode(facts, request.entry) || filesNeedNode(request, facts)))
    return inspectJavaScript(request, source, { dialect, erased }, 'node')
  if (its === 'node' && shape.entry === 'module' && request.entry === 'auto' && runsItself(facts))
    return inspectJavaScript({ ...request, entry: 'program' }, source, { dialect, erased }, 'node')
  const inspection = described(request, source, its, shape, facts)
  if (dialect !== 'js' || (erased && (its === 'node' || hasDecorators(facts))))
    return its === 'node' ? withoutText(inspection) : { ...inspection, typed: true }
  if (!erased || shape.entry !== 'module') return inspection
  const javascript = withoutUnusedImports(source, facts.tree)
  return { ...inspection, javascript }
}

/** Drops the erased text: a program runs from the original file, and its wall handles the types. */
function withoutText({ javascript: _text, ...inspection }: Inspection): Inspection {
  return { ...inspection, typed: true }
}

function hasDecorators({ tree }: Facts): boolean {
  return tree.some(({ type }) => type === 'Decorator')
}

/** A cell that shares a realm with other cells has a shape of its own. */
function shapeFor(
  { entry, cell }: InspectRequest,
  source: string,
  language: Language,
  dialect: Dialect,
): Shape & { readonly plan?: CellPlan } {
  if (language === 'node') return nodeShapeOf(source, entry, dialect)
  return cell ? cellShapeOf(source, dialect) : shapeOf(source, entry, dialect)
}

function broken(code: string, language: Language, error: Shape & { kind: 'error' }): Inspection {
  return {
    language,
    entry: error.entry,
    found: [],
    complexityScore: 0,
    behaviorScore: 0,
    syntaxError: { message: syntaxMessage(code, error), ...positionOf(code, error.offset) },
  }
}

function described(
  request: InspectRequest,
  source: string,
  language: Language,
  shape: Shape & { kind: 'shape' } & { readonly plan?: CellPlan },
  facts: Facts,
): Inspection {
  const behavior = behaviorOf(source, facts)
  const complexity = complexityOf(facts.tree, { bodyCounts: shape.entry !== 'function' })
  const place = (offset: number) => positionOf(source, offset - shape.parsed.shift)
  const own = [...findIn(facts, place), ...obfuscation(behavior, place)]
  const erased: ErasedFile[] = []
  const read: FileInspector = (text, file) => readFile(text, file, language, erased)
  const split = request.zones && splitShape(shape, facts.tree, { source, language })
  return {
    language,
    entry: shape.entry,
    found: mergeMatches([
      ...own,
      ...inFiles(request.files, mainOf(request, facts), { language, read }),
    ]),
    complexityScore: complexity.total,
    behaviorScore: behavior.score,
    ...(shape.runnable === source ? {} : { javascript: shape.runnable }),
    ...(erased.length > 0 && { erased }),
    ...(shape.plan && { cell: shape.plan }),
    ...(split && { split }),
  }
}

type Place = (offset: number) => { line: number; column: number }

function obfuscation({ score, sign, start }: ObfuscationSigns, place: Place): PatternMatch[] {
  if (score < obfuscatedFrom || !sign) return []
  return [{ name: 'OBFUSCATION', ...place(start), count: 1, detail: sign }]
}

/** Nested sources (constant text that is compiled) to analyse: maximum number, and length of each. */
const nestedMax = 16
const nestedUnitsMax = 65_536

function* findIn(facts: Facts, place: Place, nested = 0): Generator<PatternMatch> {
  for (const rule of rules) {
    const places = new Set<number>()
    for (const { start } of rule.find(facts)) places.add(start)
    if (places.size === 0) continue
    yield { name: rule.name, ...place(Math.min(...places)), count: places.size }
  }
  if (nested < 2) yield* findInCode(facts, place, nested + 1)
}

/** Constant text compiled in place is analysed as source; its findings are positioned at the call. */
function* findInCode(facts: Facts, place: Place, nested: number): Generator<PatternMatch> {
  let seen = 0
  for (const call of facts.calls) {
    const code = codeOf(call)
    if (code === undefined || code.length > nestedUnitsMax || ++seen > nestedMax) continue
    if (capOf(code).kind === 'over') {
      yield { ...unparsedMatch('in code made from text'), ...place(call.node.start) }
      continue
    }
    const shape = shapeOf(code, 'body')
    if (shape.kind === 'error') continue
    const inner = factsOf(bindScopes(shape.parsed.program))
    yield* findIn(inner, () => place(call.node.start), nested)
  }
}

function mainOf({ name = '' }: InspectRequest, facts: Facts): Main {
  return { name: normalPath(name), facts }
}

/** True if a file that the source loads, directly or not, needs Node. */
function filesNeedNode({ files, ...request }: InspectRequest, facts: Facts): boolean {
  if (files.length === 0) return false
  const main = mainOf({ files, ...request }, facts)
  const read = (source: string, file: InspectedFile) => parsedFile(source, file, 'ts').parsed?.facts
  for (const one of loadedFacts(files, main, read)) if (fileNeedsNode(one)) return true
  return false
}

interface ParsedFile {
  /** Reason for refusal by the cap. */
  readonly over?: Cap & { readonly kind: 'over' }
  /** Undefined for a file that is not code. */
  readonly parsed?: {
    readonly text: string
    readonly isStripped: boolean
    readonly shift: number
    readonly facts: Facts
  }
}

/** Parse cache of one request, with types stripped or kept. */
const parsedFiles = {
  stripped: new WeakMap<object, ParsedFile>(),
  whole: new WeakMap<object, ParsedFile>(),
}

function parsedFile(source: string, file: InspectedFile, language: Language): ParsedFile {
  const dialect = dialectOfFile(file.path) ?? 'js'
  const strips = dialect === 'ts' && language !== 'node'
  const known = parsedFiles[strips ? 'stripped' : 'whole']
  return known.getOrInsertComputed(file, () => parseFile(source, dialect, strips))
}

function parseFile(source: string, dialect: Dialect, strips: boolean): ParsedFile {
  const over = capOf(source, dialect === 'js' ? javascriptCap : typescriptCap)
  if (over.kind === 'over') return { over }
  const stripped = strips ? strip(source) : undefined
  const text = stripped ?? source
  const shape = shapeOf(text, 'program', stripped === undefined ? dialect : 'js')
  // For example a parameter decorator, which is not JavaScript and runs only with a tsconfig.json that enables
  // it.
  if (shape.kind === 'error')
    return strips && stripped !== undefined ? parseFile(source, dialect, false) : {}
  const { program, shift } = shape.parsed
  const facts = factsOf(bindScopes(program))
  return { parsed: { text, isStripped: stripped !== undefined, shift, facts } }
}

/** Findings and imports of a job's file; undefined if it is no code. */
function readFile(
  source: string,
  file: InspectedFile,
  language: Language,
  erased: ErasedFile[],
): { found: PatternMatch[]; facts?: Facts } {
  const { over, parsed } = parsedFile(source, file, language)
  if (over) return { found: [unparsedMatch(saysWhy(over))] }
  if (!parsed) return { found: [] }
  const { text, isStripped, shift, facts } = parsed
  if (isStripped && file.encoding !== 'base64' && !hasDecorators(facts))
    erased.push({ path: file.path, javascript: withoutUnusedImports(text, facts.tree) })
  const place = (offset: number) => positionOf(text, offset - shift)
  return { found: [...findIn(facts, place), ...obfuscation(behaviorOf(text, facts), place)], facts }
}

const shellEntry = (): Entry => 'program'
/** Python's entry is decided by its guest, which has the parser. */
const pythonEntry = (): Entry => 'auto'
const entryOf = { python: pythonEntry, wasm: wasmEntry, sh: shellEntry, bash: shellEntry }

/** At the end of input the parser only reports an unexpected token, and of notebook syntax any. */
function syntaxMessage(
  code: string,
  { message, offset }: { readonly message: string; readonly offset: number },
): string {
  const hint = notebookHint(lineAt(code, offset), 'js')
  if (hint !== undefined) return `${message}: ${hint}`.slice(0, MESSAGE_MAX)
  const isAtEnd = message === 'Unexpected token' && offset >= code.trimEnd().length
  return isAtEnd
    ? 'Unexpected end of file: a bracket, a brace or a quote is not closed'
    : message.slice(0, MESSAGE_MAX)
}

/** The line of a position, or the last one with text before it: an error may be found only at the next token. */
function lineAt(code: string, offset: number): string {
  const end = code.indexOf('\n', offset)
  const before = code.slice(0, end < 0 ? code.length : end).trimEnd()
  return before.slice(before.lastIndexOf('\n') + 1)
}

function inspectScript(request: InspectRequest, language: keyof typeof entryOf): Inspection {
  const { code, entry } = request
  const badModule = language === 'wasm' ? wasmFault(code) : undefined
  return {
    language,
    entry: entry === 'auto' ? entryOf[language](code) : entry,
    found: [],
    complexityScore: language === 'wasm' ? 1 : branchesOf(code),
    behaviorScore: language === 'wasm' ? 0 : behaviorOf(code).score,
    ...(badModule && { badModule }),
  }
}
