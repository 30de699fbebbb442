import type { Call, Reference } from '../facts.ts'
import type { Node } from '../syntax.ts'
import { pathOf, textOf } from '../value.ts'
import { isReached, isPathWithin, moduleRoot, type Rule } from './rule.ts'

/** Text compiled into code. */
export const evalRule: Rule = {
  name: 'EVAL',
  *find(facts) {
    for (const reference of facts.references) if (evaluates(reference)) yield reference.node
    for (const call of facts.calls) if (takesCode(call)) yield call.node
    for (const { node, module, how } of facts.loads) {
      if (module !== undefined && how !== 'export' && isCode(module)) yield node
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
  if (isPathWithin(path, 'eval') || path === 'execScript') return true
  if (path === 'Function') return use === 'call' || use === 'new' || isExtended(reference.node)
  if (/^Function\.(?:apply|bind|call)$/.test(path))
    return use === 'call' && reference.node.type === 'MemberExpression'
  return /^module:vm\.(?:runIn\w+|Script|compileFunction|SourceTextModule)$/.test(path)
}

/** `class extends Function`: constructing it compiles text. */
function isExtended(node: Node): boolean {
  return node.parent?.['superClass'] === node
}

/** Also a call by way of `apply`, `bind` or `Reflect`. */
function takesCode({ node, callee, given }: Call): boolean {
  if (callee === undefined) return false
  if (TIMERS.test(callee)) return textOf(given[0]) !== undefined
  if (!/^(?:Function|eval|%Function)$/.test(callee)) return false
  return node['callee'].type === 'CallExpression' || pathOf(node['callee']) !== callee
}

function isCode(module: string): boolean {
  return /^data:/i.test(module) || moduleRoot(module) === 'vm'
}
