import type { ZoneKind } from '../../contract/zones.ts'
import { memberKey, textOf } from '../value.ts'
import { factsOf, type Facts } from '../facts.ts'
import { childProcess } from '../rules/child-process.ts'
import { filesystem } from '../rules/filesystem.ts'
import { network } from '../rules/network.ts'
import type { Rule } from '../rules/rule.ts'
import type { Node } from '../syntax.ts'
import { bindingOf } from './names.ts'

/** Access of a function. */
export interface FunctionUses {
  readonly network: boolean
  /** Capability names it calls; `any` if one is dynamic. */
  readonly capabilities: readonly string[] | 'any'
}

const secretWords = /secret|passw|credential|token|api_?key|private_?key/i
const validatingWords = /valid|saniti[sz]e|check|verif|assert|escape|ensure|normali[sz]e|^is[A-Z]/
const parsingWords = /pars|decod|tokeni[sz]|lex|deseriali[sz]|^read/i

export function usesOf(nodes: readonly Node[]): FunctionUses {
  let network = false
  let isAny = false
  const capabilities = new Set<string>()
  for (const node of nodes) {
    if (node.type !== 'Identifier' || bindingOf(node) || isKey(node)) continue
    if (node['name'] === 'fetch') network = true
    if (node['name'] !== 'call') continue
    const [first]: readonly (Node | undefined)[] = node.parent?.['arguments'] ?? []
    const name = textOf(first)
    if (name === undefined) isAny = true
    else capabilities.add(name)
  }
  return { network, capabilities: isAny ? 'any' : [...capabilities].sort() }
}

function isKey({ parent, ...node }: Node): boolean {
  return parent?.type === 'MemberExpression' && parent['property'].start === node.start
}

/** Kind of a zone: by its access first, then its name, then its activity. */
export function kindOf(name: string, nodes: readonly Node[], uses: FunctionUses): ZoneKind {
  const { capabilities } = uses
  const named = capabilities === 'any' ? [] : capabilities
  if (named.some((one) => secretWords.test(one)) || secretWords.test(name)) return 'secrets'
  const facts = factsOf(nodes)
  if (isFound(childProcess, facts)) return 'exec'
  const isOutward = uses.network || named.some((one) => /network|http|fetch/i.test(one))
  if (isOutward || isFound(network, facts)) return 'network'
  if (isFound(filesystem, facts)) return 'files'
  if (capabilities === 'any' || named.length > 0) return 'capability'
  if (validatingWords.test(name) || throwsOnInput(nodes)) return 'input-validation'
  return parsingWords.test(name) || nodes.some(isParse) ? 'parsing' : 'compute'
}

function isFound(rule: Rule, facts: Facts): boolean {
  for (const _ of rule.find(facts)) return true
  return false
}

function throwsOnInput(nodes: readonly Node[]): boolean {
  const hasTypeof = nodes.some((node) => node['operator'] === 'typeof')
  return hasTypeof && nodes.some(({ type }) => type === 'ThrowStatement')
}

function isParse(node: Node): boolean {
  const callee: Node | undefined = node.type === 'CallExpression' ? node['callee'] : undefined
  if (callee?.type !== 'MemberExpression') return false
  const { name } = callee['object'] as { name?: string }
  return memberKey(callee) === 'parse' && name === 'JSON'
}
