import type { Call, Reference } from '../facts.ts'
import type { Node } from '../syntax.ts'
import { memberNode, pathOf, textOf } from '../value.ts'
import { isReached, isWithinAny, type Rule } from './rule.ts'

/** Paths from a sandboxed object to its creator: constructors of constructors, stack hooks, host bindings. */
export const vmEscape: Rule = {
  name: 'VM_ESCAPE',
  *find(facts) {
    for (const reference of facts.references) if (escapes(reference)) yield reference.node
    for (const call of facts.calls) if (buildsReach(call) || setsStackHook(call)) yield call.node
    for (const { node, object, key } of facts.writes) {
      if (object === 'Error' && key === STACK_HOOK) yield node
    }
  },
}

const STACK_HOOK = 'prepareStackTrace'

const bindings = [
  'process.binding',
  'process._linkedBinding',
  'process.dlopen',
  'process.mainModule',
  'module.constructor._load',
  'module:module._load',
  'module:v8.setFlagsFromString',
  'arguments.callee.caller',
  'WebAssembly.Suspending',
  'WebAssembly.promising',
]

const DEFINERS = /^(?:Object\.(?:assign|define\w+)|Reflect\.(?:set|defineProperty))$/

function setsStackHook({ callee, given }: Call): boolean {
  if (callee === undefined || !DEFINERS.test(callee)) return false
  const [object, key] = given
  if (!key || pathOf(object) !== 'Error') return false
  return textOf(key) === STACK_HOOK || memberNode(key, STACK_HOOK) !== undefined
}

function escapes(reference: Reference): boolean {
  if (!isReached(reference)) return false
  if (reference.path === '%Function') return reference.use !== 'write' && !isNamed(reference.node)
  if (/^%Function\.(?:apply|bind|call)$/.test(reference.path)) return true
  return isWithinAny(reference.path, bindings)
}

/** Code, and not prose such as "Cannot process this file": an error is copied by `new error.constructor(message)`. */
const REACH =
  /\breturn\s+(?:this|globalThis|process|global)\s*(?:$|[^\w\s])|\bprocess(?:\?\.|\.|\[)[\w$'"`]|\b(?:require|import)(?:\(|\s*\(\s*['"`])|\bmainModule\b/

/** `const F = (async () => {}).constructor`, whose uses count: comparing with it is a test of the kind of a function. */
function isNamed(node: Node): boolean {
  const { parent } = node
  if (parent?.type !== 'VariableDeclarator' || parent['id'].type !== 'Identifier') return false
  return parent['init'] === node && parent.parent?.parent?.type !== 'ExportNamedDeclaration'
}

/** `x.constructor('return process')`: any object's constructor may compile an escape. */
function buildsReach({ callee, given }: Call): boolean {
  if (callee === '%Function') return true
  return callee === '%constructor' && given.some((argument) => REACH.test(textOf(argument) ?? ''))
}
