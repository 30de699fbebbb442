// Reports the first lookup of each name that stands for a power this realm lacks: the file system, a network, processes,
// a loader.
//
// The global object inherits from a proxy. V8 asks that only for names the global object has not, whatever looks: a
// bare name, `typeof`, `in`, a computed member, a destructuring, code made by `eval` or `Function`. Every answer is that
// of the object behind it, so a bare name stays a ReferenceError, and `typeof` and `in` tell the truth. Getters in the
// place of the names could not: `'process' in globalThis` would hold.
//
// Relies on V8 asking `has` ahead of `get` for a bare name, as the standard says. Costs 0.8 µs for each lookup of a name
// that is missing or inherited, and nothing for any other. Not handled: code that takes another prototype for the global object
// is seen no more, which is reported at its end; and a dynamic import, which is syntax.
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
