// Reports the first lookup of each name of an API that this realm lacks: file system, network, processes, module loader.
//
// The global object inherits from a proxy. V8 calls its traps only for names that the global object itself lacks, for every
// kind of lookup: bare name, `typeof`, `in`, computed member, destructuring, code made by `eval` or `Function`. The traps
// return the answer of the target object, so a bare name is still a ReferenceError, and `typeof` and `in` are correct.
// Getters for these names would not do: `'process' in globalThis` would be true.
//
// Relies on V8 calling `has` before `get` for a bare name, as the standard requires. Costs 0.8 µs for each lookup of a missing
// or inherited name, and nothing for others. Not handled: lookups after the program replaced the prototype of the global
// object (that replacement is reported at its end), and dynamic imports, which are syntax (imports.js).
import { P } from './primordials.js'
import { ask, bound, webAssembly } from './scope.js'

/** The server's half of this list is src/contract/refused-names.ts. */
const names = [
  'process',
  'require',
  'fs',
  'fetch',
  'XMLHttpRequest',
  'WebSocket',
  'EventSource',
  'child_process',
  'http',
  'https',
  'net',
  'Deno',
  'Bun',
  'Worker',
  'importScripts',
]
const unseen = new P.Set()
for (let index = 0; index < names.length; index++) P.setAdd(unseen, names[index])
if (!webAssembly) P.setAdd(unseen, 'WebAssembly')

const { has, get } = P
const watch = new P.Proxy(P.prototypeOf(globalThis), {
  __proto__: null,
  has(target, key) {
    see(key)
    return has(target, key)
  },
  get(target, key, receiver) {
    see(key)
    return get(target, key, receiver)
  },
})
P.setPrototypeOf(globalThis, watch)

function see(key) {
  if (P.setDelete(unseen, key)) refused(key)
}

function refused(name) {
  try {
    ask('refused', name)
  } catch {
    // The stack is almost used up, or the job has ended.
  }
}

/** Called at the end: without the proxy a lookup would have been missed. */
bound.endWatch = () => {
  if (P.prototypeOf(globalThis) !== watch) refused('globalThis')
}
