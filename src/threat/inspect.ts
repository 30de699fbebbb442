import type { Entry, Language } from '../contract/job.ts'
import { languageOfShebang } from '../contract/shebang.ts'
import type { Split } from '../contract/zones.ts'
import { capOf, javascriptCap, typescriptCap, type Cap } from './cap.ts'
import { complexityOf } from './complexity.ts'
import { factsOf, type Facts } from './facts.ts'
import { behaviorOf, obfuscatedFrom, type Behavior } from './obfuscation.ts'
import { mergeFound } from './found.ts'
import type { Found } from './patterns.ts'
import { entryWithoutTree, languageWithoutTree } from './guess.ts'
import { positionOf } from './position.ts'
import { codeOf } from './rules/eval.ts'
import { rules } from './rules/rules.ts'
import { bindScopes } from './scope.ts'
import { branchesOf, wasmEntry } from './script.ts'
import { nodeShapeOf, shapeOf, type Shape } from './shape.ts'
import { strip } from './strip.ts'
import { inFiles, type InspectedFile } from './files.ts'
import { splitShape } from './zones/in-shape.ts'

export interface InspectRequest {
  readonly code: string
  /** What the source is called. */
  readonly name?: string | undefined
  readonly language?: Language | undefined
  readonly entry: Entry
  readonly files: readonly InspectedFile[]
  /** Also to say how it can be taken apart. */
  readonly zones?: boolean
}

/** What was seen in a source: plain data, before scores and grants. */
export interface Inspection {
  readonly language: Language
  readonly entry: Entry
  readonly found: readonly Found[]
  readonly complexityScore: number
  readonly behaviorScore: number
  /** What to run instead of the source, where that differs: types erased, every position kept. */
  readonly javascript?: string
  /** How what runs can be taken apart; where that was asked for. */
  readonly split?: Split
  /** Where the source does not parse; then nothing else was looked at. */
  readonly syntaxError?: {
    readonly message: string
    readonly line: number
    readonly column: number
  }
}

/**
 * Reads a source as hostile as it may be: depth and size first, then the native parser, then the rules. Runs in the
 * disposable analysis process alone, since the parser may die of what it reads. Throws only when something in
 * that process broke; then the process must end, and the source counts as unparsed.
 */
export function inspect(request: InspectRequest): Inspection {
  const language = request.language ?? languageOfShebang(request.code)
  if (language !== request.language) return inspect({ ...request, language })
  if (request.entry === 'main' && language !== 'python')
    return broken(request.code, language ?? 'js', notPython)
  if (language === 'ts') return inspectTypeScript(request)
  if (language === 'python' || language === 'sh' || language === 'bash' || language === 'wasm') {
    return inspectScript(request, language)
  }
  return inspectJavaScript(request, request.code, language)
}

const notPython = {
  kind: 'error',
  entry: 'main',
  message: 'Cannot run entry "main": it is for language "python" alone',
  offset: 0,
} as const

/** A source that no parser may read. */
export function unparsed(request: InspectRequest, detail: string): Inspection {
  const language = languageWithoutTree(request.code, request.language)
  return {
    language,
    entry: entryWithoutTree(request.entry, language, request.code),
    found: [{ name: 'UNPARSED', line: 1, column: 1, count: 1, detail }],
    complexityScore: 0,
    behaviorScore: 0,
  }
}

export function saysWhy(cap: Cap & { readonly kind: 'over' }): string {
  const bound = `the bound is ${cap.max}`
  if (cap.what === 'length') return `${cap.is} characters of source, ${bound}`
  return cap.what === 'tokens' ? `more than ${cap.max} tokens` : `nested too deeply to parse`
}

function inspectTypeScript(request: InspectRequest): Inspection {
  const cap = capOf(request.code, typescriptCap)
  if (cap.kind === 'over') return unparsed(request, saysWhy(cap))
  const stripped = strip(request.code)
  if (stripped.kind === 'error') {
    const entry = entryWithoutTree(request.entry, 'ts', request.code)
    return broken(request.code, 'ts', { ...stripped, entry })
  }
  const inspection = inspectJavaScript(request, stripped.javascript, 'ts')
  return { javascript: stripped.javascript, ...inspection }
}

function inspectJavaScript(
  request: InspectRequest,
  source: string,
  language: 'js' | 'ts' | 'node' | undefined,
): Inspection {
  const cap = capOf(source, javascriptCap)
  if (cap.kind === 'over') return unparsed(request, saysWhy(cap))
  const shape =
    language === 'node' ? nodeShapeOf(source, request.entry) : shapeOf(source, request.entry)
  if (shape.kind === 'error') return broken(request.code, language ?? 'js', shape)
  const facts = factsOf(bindScopes(shape.parsed.program))
  if (language === undefined && needsNode(facts)) return inspectJavaScript(request, source, 'node')
  return described(request, source, language ?? 'js', shape, facts)
}

function broken(code: string, language: Language, error: Shape & { kind: 'error' }): Inspection {
  return {
    language,
    entry: error.entry,
    found: [],
    complexityScore: 0,
    behaviorScore: 0,
    syntaxError: { message: error.message.slice(0, 500), ...positionOf(code, error.offset) },
  }
}

/** Imports `node:…`, or calls `require`. */
function needsNode({ loads, calls }: Facts): boolean {
  return (
    loads.some(({ how, module }) => how !== 'require' && module?.startsWith('node:')) ||
    calls.some(({ callee }) => callee === 'require')
  )
}

function described(
  request: InspectRequest,
  source: string,
  language: Language,
  shape: Shape & { kind: 'shape' },
  facts: Facts,
): Inspection {
  const behavior = behaviorOf(source, facts)
  const complexity = complexityOf(facts.tree, { bodyCounts: shape.entry !== 'function' })
  const place = (offset: number) => positionOf(source, offset - shape.parsed.shift)
  const own = [...findIn(facts, place), ...obfuscation(behavior, place)]
  return {
    language,
    entry: shape.entry,
    found: mergeFound([...own, ...inFiles(request.files, facts, readFile)]),
    complexityScore: complexity.total,
    behaviorScore: behavior.score,
    ...(shape.runnable === source ? {} : { javascript: shape.runnable }),
    ...(request.zones && { split: splitShape(shape, facts.tree, { source, language }) }),
  }
}

type Place = (offset: number) => { line: number; column: number }

function obfuscation({ score, sign, start }: Behavior, place: Place): Found[] {
  if (score < obfuscatedFrom || !sign) return []
  return [{ name: 'OBFUSCATION', ...place(start), count: 1, detail: sign }]
}

/** Sources within sources that are looked into: how many, and how long each. */
const nestedMax = 16
const nestedUnitsMax = 65_536

function* findIn(facts: Facts, place: Place, nested = 0): Generator<Found> {
  for (const rule of rules) {
    const places = new Set<number>()
    for (const { start } of rule.find(facts)) places.add(start)
    if (places.size === 0) continue
    yield { name: rule.name, ...place(Math.min(...places)), count: places.size }
  }
  if (nested < 2) yield* findInCode(facts, place, nested + 1)
}

/** Constant text that is compiled where it stands is source too; what it does is found where that happens. */
function* findInCode(facts: Facts, place: Place, nested: number): Generator<Found> {
  let seen = 0
  for (const call of facts.calls) {
    const code = codeOf(call)
    if (code === undefined || code.length > nestedUnitsMax || ++seen > nestedMax) continue
    if (capOf(code).kind === 'over') {
      yield {
        name: 'UNPARSED',
        ...place(call.node.start),
        count: 1,
        detail: 'in code made from text',
      }
      continue
    }
    const shape = shapeOf(code, 'body')
    if (shape.kind === 'error') continue
    const inner = factsOf(bindScopes(shape.parsed.program))
    yield* findIn(inner, () => place(call.node.start), nested)
  }
}

/** What a file of the job has in it, and what it loads in turn; undefined when it is no code. */
function readFile(source: string, typescript: boolean): { found: Found[]; facts?: Facts } {
  const over = capOf(source, typescript ? typescriptCap : javascriptCap)
  if (over.kind === 'over') {
    return { found: [{ name: 'UNPARSED', line: 1, column: 1, count: 1, detail: saysWhy(over) }] }
  }
  const stripped = typescript ? strip(source) : undefined
  if (stripped?.kind === 'error') return { found: [] }
  const text = stripped?.javascript ?? source
  const shape = shapeOf(text, 'program')
  if (shape.kind === 'error') return { found: [] }
  const facts = factsOf(bindScopes(shape.parsed.program))
  const place = (offset: number) => positionOf(text, offset - shape.parsed.shift)
  return { found: [...findIn(facts, place), ...obfuscation(behaviorOf(text, facts), place)], facts }
}

const shellEntry = (): Entry => 'program'
/** Of a Python its guest decides, which has the parser to decide by. */
const pythonEntry = (): Entry => 'auto'
const entryOf = { python: pythonEntry, wasm: wasmEntry, sh: shellEntry, bash: shellEntry }

function inspectScript(request: InspectRequest, language: keyof typeof entryOf): Inspection {
  const { code, entry } = request
  return {
    language,
    entry: entry === 'auto' ? entryOf[language](code) : entry,
    found: [],
    complexityScore: language === 'wasm' ? 1 : branchesOf(code),
    behaviorScore: language === 'wasm' ? 0 : behaviorOf(code).score,
  }
}
