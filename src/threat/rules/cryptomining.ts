import type { Call, Facts } from '../facts.ts'
import type { Node } from '../syntax.ts'
import { isFunction } from '../scope.ts'
import { literalOf } from '../origin.ts'
import { memberKey, textOf } from '../value.ts'
import type { Rule } from './rule.ts'

/** Known miners, mining pools, and proof-of-work loops. */
export const cryptomining: Rule = {
  name: 'CRYPTOMINING',
  *find(facts: Facts) {
    for (const { node, path, use } of facts.references) {
      if (use !== 'typeof' && use !== 'compare' && MINER.test(path) && !path.startsWith('module:'))
        yield node
    }
    for (const { node, module } of facts.loads) {
      if (module !== undefined && (MINER_MODULE.test(module) || isPool(module))) yield node
    }
    for (const { node, key } of facts.writes)
      if (key === 'src' && isPool(textOf(node['right']) ?? '')) yield node
    for (const node of facts.methods) if (isStratum(node)) yield node
    const asked = new Map<string, boolean>()
    for (const call of facts.calls) if (dials(call) && reachesPool(call, asked)) yield call.node
    yield* provingLoops(facts)
  },
}

/** Globals of known in-page and native miners. */
const MINER =
  /^(?:CoinHive|Coinhive|coinhive|CoinImp|CryptoLoot|CRLT|deepMiner|JSECoin|WebMinePool|cryptonight|CryptoNight|cryptoNight|Cryptonight|randomx|RandomX|xmrig|MoneroMiner|startMining|perfektstart|EverythingIsLife)(?:$|\.|\()/
const MINER_MODULE =
  /(?:^|[/.@-])(?:coin-?hive|cryptonight|node-?cryptonight|xmrig|randomx|monero-?miner|crypto-?miner|deepminer|coinimp|crypto-?loot|cpuminer|webminer)(?:$|[/.@-])/i
const POOL =
  /^stratum\d?(?:\+\w+)?:|\b(?:coinhive\.com|coin-hive\.com|authedmine\.com|coinimp\.com|crypto-loot\.com|cryptoloot\.pro|webminepool\.com|minero\.cc|jsecoin\.com|supportxmr\.com|minexmr\.com|nanopool\.org|moneroocean\.stream|hashvault\.pro|2miners\.com|nicehash\.com|minergate\.com|f2pool\.com)\b|^(?:\S*\/)?(?:xmrig|cpuminer|minerd|ethminer|cgminer)\b/i

/** A message of Stratum, the protocol of pools: `{ method: "mining.submit" }`. */
function isStratum(node: Node): boolean {
  return /^mining\.(?:authorize|submit|subscribe)$/.test(textOf(node['value']) ?? '')
}

function isPool(text: string): boolean {
  return POOL.test(text)
}

const DIALLERS =
  /^(?:fetch|WebSocket|EventSource|XMLHttpRequest|Worker|importScripts|require|navigator\.sendBeacon|module:(?:net|tls|http|https|http2|dgram|ws|child_process|axios|node-fetch|got|undici)(?:$|\.))/
const DIALLING_METHODS = /^(?:open|connect|createConnection|startMining|mine|createMiner)$/

function dials({ node, callee }: Call): boolean {
  if (callee !== undefined && DIALLERS.test(callee)) return true
  const to: Node = node['callee']
  return to.type === 'MemberExpression' && DIALLING_METHODS.test(memberKey(to) ?? '')
}

/** `asked`: memo by text, as many calls may share a long one. */
function reachesPool({ given }: Call, asked: Map<string, boolean>): boolean {
  return given.some((argument) => {
    const text = textOf(argument)
    if (text === undefined) return holdsPool(literalOf(argument))
    return asked.getOrInsertComputed(text, isPool)
  })
}

/** Memo by literal, as many calls may share a large one. */
const holders = new WeakMap<Node, boolean>()

function holdsPool(literal: Node | undefined): boolean {
  if (!literal) return false
  const parts: readonly (Node | null)[] = literal['properties'] ?? literal['elements']
  // For a property its value counts.
  const value = (part: Node) => (part.type === 'Property' ? part['value'] : part)
  const holds = () => parts.some((part) => part !== null && isPool(textOf(value(part)) ?? ''))
  return holders.getOrInsertComputed(literal, holds)
}

const LOOPS = new Set(['WhileStatement', 'DoWhileStatement', 'ForStatement'])
const HASHES =
  /^(?:module:crypto\.(?:createHash|hash)|crypto\.subtle\.digest|module:(?:js-sha256|sha\.js|crypto-js|hash\.js))/
const ZEROS = /^0{2,}$/

/** Maximum loops to analyse, among those that hash. */
const loopsMax = 32

/** Loops that hash, themselves or by a function of the source, count, and compare the hash with zeros. */
function* provingLoops(facts: Facts): Generator<Node> {
  const loops = new Set<Node>()
  const hashers = new Set<string>()
  const add = (node: Node) => {
    const loop = loopAround(node)
    if (loop && loops.size < loopsMax) loops.add(loop)
  }
  for (const { node, callee } of facts.calls) {
    if (!HASHES.test(callee ?? '')) continue
    add(node)
    hashers.add(nameAround(node) ?? '')
  }
  hashers.delete('')
  if (hashers.size > 0)
    for (const { node } of facts.calls) if (hashers.has(nameCalled(node) ?? '')) add(node)
  for (const loop of loops) if (provesWork(loop, facts)) yield loop
}

/** Name of the function or method around a node. */
function nameAround(node: Node): string | undefined {
  let at: Node | undefined = node
  while (at && !isFunction(at)) at = at.parent
  const named = at?.['id'] ?? at?.parent?.['id'] ?? at?.parent?.['key'] ?? at?.parent?.['left']
  return named?.name ?? named?.property?.name
}

function nameCalled({ callee }: Node): string | undefined {
  return callee.name ?? (callee.type === 'MemberExpression' ? memberKey(callee) : undefined)
}

function loopAround(node: Node): Node | undefined {
  let at: Node | undefined = node
  while (at && !LOOPS.has(at.type)) at = at.parent
  return at
}

function provesWork(loop: Node, facts: Facts): boolean {
  let [counts, zeros] = [false, false]
  for (const node of facts.tree) {
    if (node.start < loop.start || node.end > loop.end) continue
    counts ||= node.type === 'UpdateExpression' || node['operator'] === '+='
    zeros ||= comparesZeros(node)
  }
  return counts && zeros
}

const COMPARISONS = /^(?:[=!]==?|[<>]=?)$/

/** `h === "00"`, `h.startsWith("00")`, `/^00/.test(h)`: zeros that pad a number are compared with nothing. */
function comparesZeros(node: Node): boolean {
  if (node.type === 'BinaryExpression')
    return COMPARISONS.test(node['operator']) && (isZeros(node['left']) || isZeros(node['right']))
  if (node.type !== 'CallExpression' || node['callee'].type !== 'MemberExpression') return false
  const { callee, arguments: given } = node as unknown as { callee: Node; arguments: Node[] }
  const pattern: string | undefined = callee['object'].regex?.pattern
  if (pattern !== undefined) return /^\^0[0{+]/.test(pattern)
  return given[0] !== undefined && memberKey(callee) === 'startsWith' && isZeros(given[0])
}

/** `"00"`, `"0".repeat(n)`, `Array(n).join("0")`. */
function isZeros(node: Node): boolean {
  const text = textOf(node)
  if (text !== undefined) return ZEROS.test(text)
  if (node.type !== 'CallExpression' || node['callee'].type !== 'MemberExpression') return false
  const { callee, arguments: given } = node as unknown as { callee: Node; arguments: Node[] }
  const name = memberKey(callee)
  if (name === 'repeat') return textOf(callee['object']) === '0'
  return name === 'join' && textOf(given[0]) === '0'
}
