// Reduces the global object to exactly the names of language `js`. Rare parts are accessors that load their
// script on first use and then become plain values.
import { P } from './primordials.js'
import { ask, bound, webAssembly } from './scope.js'

const global = globalThis
// Removed: shared memory and finalisers reveal time or outlive the job; WebAssembly memory is not counted.
const removed = ['SharedArrayBuffer', 'WeakRef', 'FinalizationRegistry', 'console']
if (!webAssembly) removed[removed.length] = 'WebAssembly'
for (let index = 0; index < removed.length; index++) delete global[removed[index]]
delete global.Atomics.waitAsync
if (webAssembly) {
  delete global.WebAssembly.promising
  delete global.WebAssembly.Suspending
  delete global.WebAssembly.SuspendError
  compileAtOnce(global.WebAssembly)
  withoutSharedBuffers(global.WebAssembly.Memory.prototype)
}

/** A shared memory has a SharedArrayBuffer, and by its constructor the one that was removed. */
function withoutSharedBuffers(memory) {
  const read = P.uncurry(P.descriptorOf(memory, 'buffer').get)
  P.getters(memory, { __proto__: null, buffer: (self) => unshared(read(self)) })
  const methods = ['toFixedLengthBuffer', 'toResizableBuffer']
  for (let index = 0; index < methods.length; index++) {
    const name = methods[index]
    if (!P.hasOwn(memory, name)) continue
    const make = P.uncurry(memory[name])
    P.put(memory, name, function () {
      return unshared(make(this))
    })
  }
}

function unshared(buffer) {
  try {
    P.bufferByteLength(buffer)
  } catch {
    throw new P.TypeError(
      'Cannot read the memory: it is shared, and there is no shared memory here',
    )
  }
  return buffer
}

/**
 * V8 posts asynchronous WebAssembly compilation to a task queue that an isolate lacks, so its promise would
 * never settle: compile synchronously instead.
 */
function compileAtOnce({ Module, Instance }) {
  const hasModule = P.uncurry(Function.prototype[Symbol.hasInstance])
  const soon = (make) => new P.Promise((resolve) => resolve(make()))
  const made = {
    __proto__: null,
    compile: (bytes) => soon(() => new Module(bytes)),
    instantiate: (source, imports) =>
      soon(() => {
        if (hasModule(Module, source)) return new Instance(source, imports)
        const module = new Module(source)
        return { module, instance: new Instance(module, imports) }
      }),
  }
  for (const name in made) P.put(global.WebAssembly, name, made[name])
}

const parts = new P.Map()
const part = (name) => {
  if (!P.mapHas(parts, name)) P.mapSet(parts, name, ask('load', name)(scope))
  return P.mapGet(parts, name)
}

const scope = { __proto__: null, P, ask, bound, part }

const define = (name, value) => P.hide(global, name, value)

function lazily(name, from) {
  P.defineProperty(global, name, {
    __proto__: null,
    get() {
      const value = part(from)[name]
      define(name, value)
      return value
    },
    set(value) {
      define(name, value)
    },
    enumerable: false,
    configurable: true,
  })
}

const lazy = {
  __proto__: null,
  performance: 'performance',
  setTimeout: 'timers',
  setInterval: 'timers',
  clearTimeout: 'timers',
  clearInterval: 'timers',
  queueMicrotask: 'timers',
  structuredClone: 'clone',
  TextEncoder: 'text',
  TextDecoder: 'text',
  atob: 'base64',
  btoa: 'base64',
  URL: 'url',
  URLSearchParams: 'url',
  crypto: 'crypto',
  Event: 'events',
  EventTarget: 'events',
  AbortController: 'events',
  AbortSignal: 'events',
  DOMException: 'dom-exception',
  Temporal: 'temporal',
}
bound.Temporal = global.Temporal
for (const name in lazy) lazily(name, lazy[name])

/** Names only for a job with a network. */
const network = () => {
  lazily('fetch', 'fetch')
  lazily('Headers', 'fetch')
  lazily('Response', 'fetch')
}

export { define, part, network }
