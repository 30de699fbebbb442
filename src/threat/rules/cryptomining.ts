import type { Call, Facts } from '../facts.ts'
import type { Node } from '../syntax.ts'
import { literalOf, memberKey, pathOf, textOf } from '../value.ts'
import type { Rule } from './rule.ts'

/** Miners by name, pools dialled, and loops that hash until zeros come out. */
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
    for (const call of facts.calls) if (dials(call) && reachesPool(call)) yield call.node
    for (const node of facts.tree) if (LOOPS.has(node.type) && provesWork(node, facts)) yield node
  },
}

/** Globals that in-page and native miners are known by. */
const MINER =
  /^(?:CoinHive|Coinhive|coinhive|CoinImp|CryptoLoot|CRLT|deepMiner|JSECoin|WebMinePool|cryptonight|CryptoNight|cryptoNight|Cryptonight|randomx|RandomX|xmrig|MoneroMiner|startMining|perfektstart|EverythingIsLife)(?:$|\.|\()/
const MINER_MODULE =
  /(?:^|[/.@-])(?:coin-?hive|cryptonight|node-?cryptonight|xmrig|randomx|monero-?miner|crypto-?miner|deepminer|coinimp|crypto-?loot|cpuminer|webminer)(?:$|[/.@-])/i
const POOL =
  /^stratum\d?(?:\+\w+)?:|\b(?:coinhive\.com|coin-hive\.com|authedmine\.com|coinimp\.com|crypto-loot\.com|cryptoloot\.pro|webminepool\.com|minero\.cc|jsecoin\.com|supportxmr\.com|minexmr\.com|nanopool\.org|moneroocean\.stream|hashvault\.pro|2miners\.com|nicehash\.com|minergate\.com|f2pool\.com)\b|^(?:\S*\/)?(?:xmrig|cpuminer|minerd|ethminer|cgminer)\b/i

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

function reachesPool({ given }: Call): boolean {
  return given.some((argument) => {
    const text = textOf(argument)
    if (text !== undefined) return isPool(text)
    const parts: readonly Node[] =
      literalOf(argument)?.['properties'] ?? literalOf(argument)?.['elements'] ?? []
    return parts.some((part) => part && isPool(textOf(part['value'] ?? part) ?? ''))
  })
}

const LOOPS = new Set(['WhileStatement', 'DoWhileStatement', 'ForStatement'])
const HASHES =
  /^(?:module:crypto\.(?:createHash|hash)|crypto\.subtle\.digest|module:(?:js-sha256|sha\.js|crypto-js|hash\.js))/
const ZEROS = /^0{2,}$/

/** A loop that hashes, counts, and compares the hash with zeros. */
function provesWork(loop: Node, facts: Facts): boolean {
  const within = (node: Node) => node.start >= loop.start && node.end <= loop.end
  const hashes = facts.calls.some(({ node, callee }) => within(node) && HASHES.test(callee ?? ''))
  if (!hashes) return false
  let [counts, zeros] = [false, false]
  for (const node of facts.tree) {
    if (!within(node)) continue
    counts ||= node.type === 'UpdateExpression'
    zeros ||= isZeros(node)
  }
  return counts && zeros
}

function isZeros(node: Node): boolean {
  if (node.type === 'Literal' && typeof node['value'] === 'string') return ZEROS.test(node['value'])
  if (node.type !== 'CallExpression' || node['callee'].type !== 'MemberExpression') return false
  const { callee } = node as unknown as { callee: Node }
  return (
    memberKey(callee) === 'repeat' && textOf(callee['object']) === '0' && pathOf(node) === undefined
  )
}
