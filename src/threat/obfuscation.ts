import type { Facts } from './facts.ts'
import { codeOf } from './rules/eval.ts'
import type { Node } from './syntax.ts'
import { memberKey, pathOf, textOf } from './value.ts'

/** Lowest `behaviorScore` of packed or encoded source. */
export const obfuscatedFrom = 50

export interface ObfuscationSigns {
  /** 0 to 100. */
  readonly score: number
  /** Strongest sign as text; undefined if none. */
  readonly sign?: string
  /** First position of that sign, as an offset in the parsed text. */
  readonly start: number
}

/**
 * Signs of obfuscation: escaped letters, decoders that feed `eval`, string tables behind a lookup function,
 * code in six characters, globals spelled in pieces. Short names and missing white space do not count: minified
 * code is common and honest.
 */
export function behaviorOf(source: string, facts?: Facts): ObfuscationSigns {
  const signs = [
    escapes(source),
    symbols(source),
    longTexts(source),
    ...(facts ? inTree(facts) : []),
  ]
  const score = Math.min(
    100,
    signs.reduce((sum, { weight }) => sum + weight, 0),
  )
  const strongest = signs.reduce((most, sign) => (sign.weight > most.weight ? sign : most))
  return strongest.weight > 0
    ? { score: Math.round(score), sign: strongest.says, start: strongest.start }
    : { score: 0, start: 0 }
}

interface Sign {
  readonly says: string
  readonly weight: number
  readonly start: number
}

const ESCAPE = /\\x[2-7][\da-f]|\\u00[2-7][\da-f]|\\u\{0*[2-7][\da-f]\}/gi

/** Escaped letters, digits and signs that need no escape. */
function escapes(source: string): Sign {
  let units = 0
  let count = 0
  let start = 0
  for (const match of source.matchAll(ESCAPE)) {
    if (count++ === 0) start = match.index
    units += match[0].length
  }
  const share = units / Math.max(1, source.length)
  const weight = count < 12 ? 0 : Math.min(70, 20 + share * 250)
  return { says: 'letters written as escapes', weight: share > 0.05 ? weight : 0, start }
}

/** Code in brackets and operators alone, or in letters of no language. */
function symbols(source: string): Sign {
  const weight = isBare(source) ? 80 : 0
  return { says: 'code written in brackets and operators', weight, start: 0 }
}

/** True if 120 or more units are not white space, and more than 85 % of them are brackets, `!` or `+`. */
function isBare(source: string): boolean {
  // Ends within the first part of usual code.
  const othersMax = source.length * 0.15
  let bare = 0
  let others = 0
  for (let at = 0; at < source.length && others < othersMax; at++) {
    const unit = source.charCodeAt(at)
    if (BARE.has(unit)) bare++
    else if (unit === SPACE) continue
    else if ((unit > SPACE && unit < 0x80) || !WHITE.test(source[at]!)) others++
  }
  const dense = bare + others
  return dense >= 120 && bare / dense > 0.85
}

const BARE = new Set(Array.from('[]()!+{}', (bracket) => bracket.charCodeAt(0)))
const SPACE = 0x20
const WHITE = /\s/

const ENCODED = /(["'`])[\w+/=%\\-]{400,}\1/g

/** Long texts without spaces and with high entropy: data, or encoded code. */
function longTexts(source: string): Sign {
  let units = 0
  let start = 0
  for (const match of source.matchAll(ENCODED)) {
    if (entropyOf(match[0]) < 4.5) continue
    if (units === 0) start = match.index
    units += match[0].length
  }
  const share = units / Math.max(1, source.length)
  return { says: 'long encoded text', weight: share > 0.5 ? 30 : units > 0 ? 10 : 0, start }
}

/** Entropy in bits a unit, of the first 4,096 units. */
export function entropyOf(text: string): number {
  const sample = text.slice(0, 4_096)
  const counts = new Map<string, number>()
  for (const unit of sample) counts.set(unit, (counts.get(unit) ?? 0) + 1)
  let bits = 0
  for (const count of counts.values()) {
    const share = count / sample.length
    bits -= share * Math.log2(share)
  }
  return bits
}

function inTree(facts: Facts): Sign[] {
  return [decodedCode(facts), manglings(facts), pieces(facts), codes(facts), lookUps(facts)]
}

const DECODERS =
  /^(?:atob|unescape|decodeURIComponent|decodeURI|String\.fromCharCode|String\.fromCodePoint|Buffer\.from)$/
const DECODING_METHODS = new Set([
  'fromCharCode',
  'replace',
  'split',
  'charCodeAt',
  'reverse',
  'join',
])
const COMPILERS = /^(?:eval|Function|%Function|execScript|setTimeout|setInterval|module:vm\.\w+)$/

/** Code decoded where it is compiled. */
function decodedCode({ calls }: Facts): Sign {
  for (const call of calls) {
    if (!COMPILERS.test(call.callee ?? '')) continue
    const code = call.given.at(call.callee?.startsWith('set') ? 0 : -1)
    if (code && decodes(code)) {
      const constant = codeOf(call)
      const weight = constant === undefined || constant.length > 40 ? 60 : 30
      return { says: 'code decoded where it is compiled', weight, start: call.node.start }
    }
  }
  return none
}

const none: Sign = { says: '', weight: 0, start: 0 }

/** Maximum depth of nested calls. */
const callsDeepMax = 8

function decodes(node: Node, depth = 0): boolean {
  if (depth > callsDeepMax) return false
  if (node.type === 'AssignmentExpression') return decodes(node['right'], depth + 1)
  if (node.type === 'NewExpression') return decodes(node['callee'], depth + 1)
  if (node.type !== 'CallExpression') return false
  const callee: Node = node['callee']
  if (DECODERS.test(pathOf(callee) ?? '')) return true
  if (callee.type === 'FunctionExpression') return usesDecoder(node)
  if (callee.type !== 'MemberExpression')
    return node['arguments'].some((one: Node) => decodes(one, depth + 1))
  const name: unknown = callee['property'].name ?? textOf(callee['property'])
  if (typeof name === 'string' && DECODING_METHODS.has(name)) return true
  return decodes(callee['object'], depth + 1)
}

/** A packer: `eval(function (p, a, c, k, e, d) { … }('…', 62, …))`. */
function usesDecoder(call: Node): boolean {
  const given: readonly Node[] = call['arguments']
  return given.some(
    (argument) => (textOf(argument)?.length ?? 0) > 20 || argument.type === 'CallExpression',
  )
}

const MANGLED = /^_0x[\da-f]{2,}$|^[Il1]{6,}$|^[O0o]{6,}$|^_{3,}[$_]*$/i

/** Names typical of obfuscators. */
function manglings({ tree }: Facts): Sign {
  let names = 0
  let start = 0
  let all = 0
  for (const node of tree) {
    if (node.type !== 'Identifier') continue
    all++
    if (!MANGLED.test(node['name'])) continue
    if (names++ === 0) start = node.start
  }
  const weight = names >= 8 && names / all > 0.2 ? 60 : 0
  return { says: 'names mangled to be unreadable', weight, start }
}

const TELLING =
  /^(?:process|require|eval|Function|fetch|XMLHttpRequest|WebSocket|module|%Function)(?:\.|$)/

/** Globals whose names are concatenated or decoded. */
function pieces({ references }: Facts): Sign {
  const spelled = references.filter(({ node, path }) => TELLING.test(path) && isSpelled(node))
  return {
    says: 'names of globals spelled in pieces',
    weight: Math.min(60, spelled.length * 15),
    start: spelled[0]?.node.start ?? 0,
  }
}

function isSpelled(node: Node): boolean {
  for (let at = node; at.type === 'MemberExpression'; at = at['object']) {
    if (at['computed'] && at['property'].type !== 'Literal' && textOf(at['property']) !== undefined)
      return true
  }
  return false
}

/** Many numbers converted into one text. */
function codes({ calls }: Facts): Sign {
  const long = calls.filter(
    ({ callee, given }) =>
      /^String\.from(?:CharCode|CodePoint)$/.test(callee ?? '') && given.length >= 8,
  )
  const weight = Math.min(60, long.length * 20)
  return { says: 'text written as character codes', weight, start: long[0]?.node.start ?? 0 }
}

/** Globals with dynamic names. */
function lookUps({ tree }: Facts): Sign {
  const places = tree.filter(
    (node) =>
      node.type === 'MemberExpression' &&
      node['computed'] === true &&
      pathOf(node['object']) === 'globalThis' &&
      memberKey(node) === undefined,
  )
  return {
    says: 'globals looked up by computed names',
    weight: Math.min(30, places.length * 10),
    start: places[0]?.start ?? 0,
  }
}
