import type { Call, Reference } from '../facts.ts'
import type { Node } from '../syntax.ts'
import { memberNode, pathOf, textOf, valueOf } from '../value.ts'
import { isReached, isPathWithin, moduleRoot, type Rule } from './rule.ts'

/** Text compiled into code. */
export const evalRule: Rule = {
  name: 'EVAL',
  *find(facts) {
    for (const reference of facts.references) if (evaluates(reference)) yield reference.node
    for (const call of facts.calls) if (takesCode(call)) yield call.node
    for (const { node, module, how } of facts.loads) {
      if (
        module === undefined ? startsWithData(node['source']) : how !== 'export' && isCode(module)
      )
        yield node
    }
  },
}

/** Constant code argument of a call, for nested analysis. */
export function codeOf({ callee, given }: Call): string | undefined {
  if (callee === undefined) return undefined
  if (callee === '%constructor') return codeLike(textOf(given.at(-1)))
  if (COMPILERS.test(callee)) return textOf(given.at(-1))
  if (FIRST_IS_CODE.test(callee) || TIMERS.test(callee)) return textOf(given[0])
  return undefined
}

/** Any object has a constructor, which is given words as well as code. */
function codeLike(text: string | undefined): string | undefined {
  return text !== undefined && /[.([`=]|\breturn\b/.test(text) ? text : undefined
}

const COMPILERS = /^(?:Function|%Function)$/
const FIRST_IS_CODE =
  /^(?:eval|execScript|module:vm\.(?:runIn\w+|Script|compileFunction|SourceTextModule))$/
const TIMERS = /^(?:setTimeout|setInterval|setImmediate)$/

function evaluates(reference: Reference): boolean {
  if (!isReached(reference)) return false
  const { path, use } = reference
  if (isPathWithin(path, 'eval') || path === 'execScript' || path === 'ShadowRealm') return true
  if (path.startsWith('module') && COMPILES.test(path)) return true
  if (path === 'Function') return use === 'call' || use === 'new' || isExtended(reference.node)
  if (path === 'Function.apply' || path === 'Function.bind' || path === 'Function.call')
    return use === 'call' && reference.node.type === 'MemberExpression'
  return false
}

const COMPILES =
  /^(?:module(?::module)?\.(?:.*\.)?_compile(?:\.|$)|module:vm\.(?:runIn\w+|Script|compileFunction|SourceTextModule)$)/

/** `class extends Function`: constructing it compiles text. */
function isExtended(node: Node): boolean {
  return node.parent?.['superClass'] === node
}

/** Also a call by way of `apply`, `bind` or `Reflect`. */
function takesCode({ node, callee, given }: Call): boolean {
  if (callee === undefined) return false
  if (TIMERS.test(callee)) return isText(given[0])
  if (WORKERS.test(callee)) return startsWithData(given[0]) || runsText(given[1])
  if (callee !== 'eval' && !COMPILERS.test(callee)) return false
  return node['callee'].type === 'CallExpression' || pathOf(node['callee']) !== callee
}

const WORKERS = /^(?:module:worker_threads\.)?Worker$/

/** `new Worker(text, { eval: true })` */
function runsText(options: Node | undefined): boolean {
  const value = options && valueOf(memberNode(options, 'eval'))
  return value?.kind === 'constant' && Boolean(value.value)
}

/** Text that is known, or made in place of a known part. */
function isText(node: Node | undefined): boolean {
  if (textOf(node) !== undefined || node?.type === 'TemplateLiteral') return true
  if (node?.type !== 'BinaryExpression' || node['operator'] !== '+') return false
  return isText(node['left']) || isText(node['right'])
}

function startsWithData(node: Node | undefined): boolean {
  let first = node
  while (first?.type === 'BinaryExpression') first = first['left']
  const text = first?.type === 'TemplateLiteral' ? first['quasis'][0].value.cooked : textOf(first)
  return /^data:/i.test(text ?? '')
}

function isCode(module: string): boolean {
  return /^data:/i.test(module) || moduleRoot(module) === 'vm'
}
