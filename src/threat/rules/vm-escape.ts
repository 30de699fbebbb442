import type { Call, Reference } from '../facts.ts'
import { textOf } from '../value.ts'
import { isReached, isWithinAny, type Rule } from './rule.ts'

/** Paths from a sandboxed object to its creator: constructors of constructors, stack hooks, host bindings. */
export const vmEscape: Rule = {
  name: 'VM_ESCAPE',
  *find(facts) {
    for (const reference of facts.references) if (escapes(reference)) yield reference.node
    for (const call of facts.calls) if (buildsReach(call)) yield call.node
    for (const { node, object, key } of facts.writes) {
      if (object === 'Error' && key === 'prepareStackTrace') yield node
    }
  },
}

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

function escapes(reference: Reference): boolean {
  if (!isReached(reference)) return false
  if (reference.path === '%Function') return reference.use !== 'write'
  if (/^%Function\.(?:apply|bind|call)$/.test(reference.path)) return true
  return isWithinAny(reference.path, bindings)
}

const REACH =
  /\b(?:return\s+(?:this|globalThis|process|global)\b|process\b|require\b|mainModule\b|import\s*\()/

/** `x.constructor('return process')`: any object's constructor may compile an escape. */
function buildsReach({ callee, given }: Call): boolean {
  if (callee === '%Function') return true
  return callee === '%constructor' && given.some((argument) => REACH.test(textOf(argument) ?? ''))
}
