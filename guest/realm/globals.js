// The global object, brought to exactly what language `js` has. Parts that most jobs never touch are
// accessors that load their script on first use and then become plain values.
export default function (P, ask, webAssembly) {
  const global = globalThis
  // Frozen clocks, shared memory and finalisers tell time or outlive the job; Wasm memory is not counted.
  const removed = ['SharedArrayBuffer', 'WeakRef', 'FinalizationRegistry', 'console']
  if (!webAssembly) removed[removed.length] = 'WebAssembly'
  for (let index = 0; index < removed.length; index++) delete global[removed[index]]
  delete global.Atomics.waitAsync
  if (webAssembly) {
    delete global.WebAssembly.promising
    delete global.WebAssembly.Suspending
    delete global.WebAssembly.SuspendError
    compileAtOnce(global.WebAssembly)
  }

  /** What V8 compiles beside a realm is handed to a loop that a realm has not, and never comes: here it comes at once. */
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
    for (const name in made) {
      P.defineProperty(global.WebAssembly, name, {
        __proto__: null,
        value: made[name],
        writable: true,
        enumerable: true,
        configurable: true,
      })
    }
  }

  const parts = new P.Map()
  const part = (name) => {
    if (!P.mapHas(parts, name)) P.mapSet(parts, name, ask('load', name)(P, ask, part, bound))
    return P.mapGet(parts, name)
  }

  /** What the driver and lazily loaded parts share, filled in by whoever owns it. */
  const bound = { __proto__: null }

  function define(name, value) {
    P.defineProperty(global, name, {
      __proto__: null,
      value,
      writable: true,
      enumerable: false,
      configurable: true,
    })
  }

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

  /** What only a job with a network has. */
  const network = () => {
    lazily('fetch', 'fetch')
    lazily('Headers', 'fetch')
    lazily('Response', 'fetch')
  }
  return { __proto__: null, define, part, bound, network }
}
