import { hunting } from '../case.ts'
import type { Case } from '../case.ts'
import { bytesOf, callsImport, catchesAll } from '../wasm.ts'

const js = String.raw

/** Paths from guest objects to the host's Function, each by its own mechanism. */
export const escape: readonly Case[] = [
  hunted(
    'this-constructor-chain',
    'the global object was made by the host',
    js`hunt('this', this)`,
  ),
  hunted(
    'global-prototype-chain',
    'the prototypes above the global object may be the host’s',
    js`let x = globalThis; while (x) { hunt('proto', x); x = Object.getPrototypeOf(x) }`,
  ),
  hunted('console-object', 'an object lent by the host', js`hunt('console', console)`),
  hunted('console-method', 'a function lent by the host', js`hunt('log', console.log)`),
  hunted(
    'console-all-methods',
    'any one of the lent functions may be the host’s own',
    js`for (const k of Reflect.ownKeys(console)) hunt(String(k), console[k])`,
  ),
  hunted('input-object', 'an input passed as a live object', js`hunt('input', input)`),
  hunted(
    'input-nested-array',
    'a live array deep in the input',
    js`hunt('deep', input.nested.deep.list)`,
  ),
  hunted(
    'input-array-method',
    'methods of a live array are functions of the host',
    js`hunt('map', input.list.map)`,
  ),
  hunted('call-function', 'the capability call is a function of the host', js`hunt('call', call)`),
  hunted(
    'call-promise',
    'the promise of a host’s async function is the host’s: CVE-2026-44000',
    js`const p = call('missing', []); hunt('promise', p); hunt('then', p.then); await p.catch(() => 0)`,
  ),
  hunted(
    'call-rejection-caught',
    'a rejection delivered by await is the host’s error',
    js`try { await call('missing', []) } catch (e) { hunt('caught', e) }`,
  ),
  hunted(
    'call-rejection-handler',
    'a rejection handler gets the host’s error unsanitised: CVE-2026-22709',
    js`await call('missing', []).then(null, (e) => hunt('rejected', e))`,
  ),
  hunted(
    'call-rejection-indirect',
    'the handler is registered through call and apply: GHSA-647f-g98j-qq25',
    js`
      const p = call('missing', [])
      await Function.prototype.call.call(p.then, p, null, (e) => hunt('call', e))
      const q = call('missing', [])
      await Reflect.apply(Reflect.apply, null, [q.then, q, [null, (e) => hunt('apply', e)]])`,
  ),
  hunted(
    'call-rejection-async-caller',
    'an async function that rejects with the host’s error: CVE-2026-22709',
    js`const f = async () => { await call('missing', []) }; await f().catch((e) => hunt('async', e))`,
  ),
  hunted(
    'call-error-cause',
    'the cause of an error is not sanitised with it: GHSA-m283-3h24-438v',
    js`try { await call('missing', []) } catch (e) {
        for (const k of Reflect.ownKeys(e)) { let v; try { v = e[k] } catch (x) { v = x } hunt('own-' + String(k), v) }
        let c = e; for (let i = 0; c && i < 5; i++) { hunt('cause', c); c = c.cause } }`,
  ),
  hunted(
    'call-hostile-name',
    'the host coerces the name: guest code then runs inside a host frame',
    js`
      Error.prepareStackTrace = (e, sites) => { for (const s of sites) { try { hunt('fn', s.getFunction()); hunt('this', s.getThis()) } catch {} } return '' }
      const name = { toString() { new Error().stack; return 'x' }, [Symbol.toPrimitive]() { new Error().stack; return 'x' } }
      try { const p = call(name, []); hunt('p', p); await p } catch (e) { hunt('e', e) }`,
  ),
  hunted(
    'call-proxy-arguments',
    'a proxy among the arguments watches what the host does with it, and who asks it',
    js`
      const seen = [], handler = {}
      Error.prepareStackTrace = (e, sites) => { for (const s of sites) try { seen.push(s.getFunction(), s.getThis()) } catch {} return '' }
      for (const k of Reflect.ownKeys(Reflect)) if (typeof Reflect[k] === 'function')
        handler[k] = (...a) => { new Error().stack; if (seen.length < 300) seen.push(...a.slice(1)); return Reflect[k](...a) }
      for (const made of [[1, {}], { a: 1, length: 1 }, function () {}]) {
        const spy = new Proxy(made, handler)
        for (const args of [spy, [spy], [{ deep: [spy] }]]) try { const p = call('missing', args); seen.push(p); await p } catch (e) { seen.push(e) }
        try { console.log('%d %s', spy, spy) } catch (e) { seen.push(e) }
      }
      // Hunting a proxy that answers everything has no end.
      Object.keys(handler).forEach((k) => delete handler[k])
      for (const s of [...new Set(seen)].slice(0, 60)) hunt('trap', s)`,
  ),
  hunted(
    'call-accessor-arguments',
    'getters among the arguments throw into the host and get its frames',
    js`
      function deep() { return deep() }
      const evil = { get length() { deep() }, get 0() { deep() }, toJSON() { deep() } }
      for (const a of [evil, [evil]]) try { await call('missing', a) } catch (e) { hunt('e', e) }`,
  ),
  hunted(
    'timer-handle',
    'a timer’s handle is the host’s object',
    js`hunt('timer', setTimeout(() => 0, 0))`,
  ),
  hunted('timer-function', 'setTimeout is the host’s function', js`hunt('setTimeout', setTimeout)`),
  hunted(
    'timer-callback-this',
    'the host calls back with an object of its own as this',
    js`await new Promise((done) => setTimeout(function () { hunt('this', this); done() }, 0))`,
  ),
  hunted(
    'timer-callback-arguments',
    'what the host passes to a callback',
    js`await new Promise((done) => setTimeout(function () { for (const a of arguments) hunt('arg', a); hunt('args', arguments); done() }, 0, input))`,
  ),
  hunted(
    'timer-callback-caller',
    'a sloppy callback looks at who called it',
    js`await new Promise((done) => setTimeout(function f() { try { hunt('caller', f.caller) } catch {} try { hunt('callee', arguments.callee.caller) } catch {} done() }, 0))`,
    true,
  ),
  hunted(
    'timer-hostile-delay',
    'the host coerces the delay inside its own frames',
    js`
      function deep() { return deep() }
      try { setTimeout(() => 0, { valueOf() { deep() }, [Symbol.toPrimitive]() { deep() } }) } catch (e) { hunt('e', e) }
      try { setTimeout(Symbol('not a function'), 0) } catch (e) { hunt('type', e) }
      try { setTimeout({}, 0) } catch (e) { hunt('object', e) }`,
  ),
  hunted(
    'host-type-error',
    'wrong arguments make the host throw an error of its own',
    js`
      for (const f of [console.log, call, setTimeout, queueMicrotask, structuredClone, atob, btoa, URL, TextDecoder])
        for (const a of [[Symbol('s')], [null], [{ [Symbol.toPrimitive]: 1 }], [1n, {}]])
          try { const r = new f(...a); hunt('made', r); r?.catch?.((e) => hunt('late', e)) } catch (e) { hunt('e', e); try { const r = f(...a); hunt('r', r); r?.catch?.((e) => hunt('late', e)) } catch (e2) { hunt('e2', e2) } }
      await 0; await 0`,
  ),
  hunted(
    'stack-overflow-in-host',
    'the stack runs out inside a host function, whose RangeError is the host’s',
    js`
      let left = 50
      const dig = () => { try { console.log('.'); dig() } catch (e) { if (left-- > 0) hunt('range', e); throw e } }
      try { dig() } catch (e) { hunt('last', e) }`,
    true,
  ),
  {
    ...hunted(
      'stack-overflow-in-call',
      'the same inside the capability call',
      js`
      let left = 50
      const dig = () => { try { const p = call('x'); p.catch((e) => left-- > 0 && hunt('p', e)); dig() } catch (e) { if (left-- > 0) hunt('range', e); throw e } }
      try { dig() } catch (e) { hunt('last', e) }
      await 0; await 0`,
      true,
    ),
    // Each of thousands of refused calls leaves a promise: a slow machine may not finish in time.
    expect: ['ok', 'error', 'timeout'],
  },
  hunted(
    'stack-overflow-formatting',
    'the stack runs out while the engine formats a stack: GHSA-76w7-j9cq-rx2j',
    js`
      class E extends Error {}
      let left = 40
      const dig = () => { try { dig() } catch (e) { if (left-- > 0) { try { new E().stack } catch (x) { hunt('x', x) } hunt('e', e) } throw e } }
      try { dig() } catch (e) { hunt('last', e) }`,
    true,
  ),
  hunted(
    'stack-symbol-name',
    'formatting an error whose name is a symbol throws in the formatter’s realm: GHSA-v27g-jcqj-v8rw',
    js`const e = new Error('x'); e.name = Symbol('n'); try { e.stack } catch (x) { hunt('x', x) }`,
  ),
  hunted(
    'stack-formatter-removed',
    'without prepareStackTrace the engine falls back to the host’s formatter: GHSA-v27g-jcqj-v8rw',
    js`
      for (const v of [undefined, null, 1]) { try { Error.prepareStackTrace = v } catch {}
        const e = new Error('x'); Object.defineProperty(e, 'name', { get() { throw new Error('inner') } })
        try { e.stack } catch (x) { hunt('x', x) }
        const f = new RangeError(); f.message = Symbol('m'); try { f.stack } catch (x) { hunt('m', x) } }`,
  ),
  hunted(
    'callsites-of-host-frames',
    'call sites hand out the functions and receivers of host frames',
    js`
      Error.stackTraceLimit = 200
      Error.prepareStackTrace = (e, sites) => { for (const s of sites) for (const k of ['getThis', 'getFunction', 'getEvalOrigin', 'getTypeName']) try { hunt(k, s[k]()) } catch {} hunt('sites', sites); hunt('site', sites[0]); return '' }
      new Error().stack
      await new Promise((done) => setTimeout(() => { new Error().stack; done() }, 0))
      try { console.log({ toString() { new Error().stack; return '' }, get x() { new Error().stack } }) } catch {}
      try { await call({ toString() { new Error().stack; return 'x' } }) } catch {}`,
  ),
  hunted(
    'callsites-accumulator',
    'a setter on Array.prototype watches the formatter gather its frames: GHSA-q3fm-4wcw-g57x',
    js`
      const seen = []
      for (let i = 0; i < 6; i++) Object.defineProperty(Array.prototype, i, { configurable: true, set(v) { seen.push(v, this); Object.defineProperty(this, i, { value: v, writable: true, configurable: true }) } })
      const e = new Error('x'); e.stack; try { null.x } catch (x) { x.stack }
      for (let i = 0; i < 6; i++) delete Array.prototype[i]
      for (const s of seen.slice(0, 50)) hunt('frame', s)`,
    true,
  ),
  hunted(
    'capture-stack-trace-target',
    'captureStackTrace writes through a proxy and into objects of the host',
    js`
      const seen = []
      const t = new Proxy({}, { defineProperty: (o, k, d) => { seen.push(d, d.value, d.get); return Reflect.defineProperty(o, k, d) } })
      try { Error.captureStackTrace(t) } catch (e) { seen.push(e) }
      try { Error.captureStackTrace(call) ; seen.push(call.stack) } catch (e) { seen.push(e) }
      for (const s of seen) hunt('trace', s)`,
    true,
  ),
  hunted(
    'inspect-custom',
    'the host’s inspect calls the guest back with its options and itself: GHSA-47x8-96vw-5wg6',
    js`console.log({ [Symbol.for('nodejs.util.inspect.custom')](depth, options, inspect) { hunt('options', options); hunt('inspect', inspect); hunt('this', this); return '' } })`,
  ),
  hunted(
    'inspect-show-proxy',
    'an inspected proxy shows its handler: GHSA-v37h-5mfm-c47c, GHSA-qcp4-v2jj-fjx8',
    js`
      if (typeof Buffer === 'function') {
        const peek = { subarray: Buffer.prototype.inspect, slice: Buffer.prototype.slice, hexSlice: () => '', inner: { console } }
        try { peek.slice(9, { showProxy: true, showHidden: true, depth: 9, stylize(text) { for (const s of this.seen ?? []) { hunt('seen', s); for (const k of Reflect.ownKeys(Object.getPrototypeOf(s) ?? {})) try { hunt('trap', s[k](hunt, 'constructor')) } catch (e) { hunt('e', e) } } return text } }) } catch (e) { hunt('e', e) }
      }`,
    true,
  ),
  hunted(
    'cross-realm-symbols',
    'registered symbols are shared by realms and install hooks on host objects: GHSA-m5q2-4fm3-vfqp',
    js`
      for (const n of ['nodejs.util.promisify.custom', 'nodejs.rejection', 'nodejs.webstream.isClosedPromise', 'nodejs.stream.readable'])
        for (const o of [console, call, setTimeout]) try { o[Symbol.for(n)] = function () { hunt('hook', this); for (const a of arguments) hunt('a', a) }; hunt('own', o[Symbol.for(n)]) } catch (e) { hunt('e', e) }
      for (const s of Object.getOwnPropertySymbols(call)) hunt('sym', call[s])
      for (const s of Object.getOwnPropertySymbols(setTimeout)) hunt('promisified', setTimeout[s])`,
  ),
  hunted(
    'console-thenable-getter',
    'the host looks at properties of what is logged',
    js`
      function deep() { return deep() }
      const bad = { get then() { deep() }, get constructor() { deep() }, get [Symbol.toStringTag]() { deep() }, toString() { return deep() }, toJSON() { return deep() } }
      for (const a of [[bad], ['%s', bad], ['%d', bad], ['%o', bad], ['%j', bad]]) try { console.log(...a) } catch (e) { hunt('e', e) }`,
    true,
  ),
  hunted(
    'console-proxy',
    'proxies with every trap go through the console',
    js`
      const seen = []
      const handler = new Proxy({}, { get: (t, trap) => (...a) => { seen.push(...a); if (seen.length > 400) throw 1; return Reflect[trap](...a) } })
      for (const target of [{}, [], function () {}, new Error('x'), new Map()]) for (const f of ['%s', '%o', '%j', '%d', '']) try { console.log(f, new Proxy(target, handler)) } catch (e) { seen.push(e) }
      for (const s of seen.slice(0, 200)) hunt('trap', s)`,
    true,
  ),
  hunted(
    'promise-then-replaced',
    'the host awaits the job’s promise through a replaced then, and hands it its own resolvers',
    js`
      const then = Promise.prototype.then
      Promise.prototype.then = function (a, b) { hunt('resolve', a); hunt('reject', b); return then.call(this, a, b) }`,
    true,
  ),
  hunted(
    'promise-constructor-getter',
    'the host reads the constructor of the job’s promise',
    js`
      const seen = []
      Object.defineProperty(Promise.prototype, 'constructor', { configurable: true, get() { const F = function (run) { run((v) => seen.push(v), (e) => seen.push(e)) }; seen.push(this); return { [Symbol.species]: F } } })
      const then = Promise.prototype.then
      Promise.prototype.then = function (...a) { for (const x of a) hunt('arg', x); for (const s of seen.splice(0, 20)) hunt('seen', s); return then.apply(this, a) }`,
    true,
  ),
  hunted(
    'promise-species-finally',
    'finally takes a fast path past the wrapped then, so that species survives: GHSA-27g9-p43v-cw3v',
    js`
      const seen = []
      class F { constructor(run) { run((v) => seen.push(v), (e) => seen.push(e)) } then(a, b) { try { seen.push(a, b, a && a()) } catch (e) { seen.push(e) } return this } }
      Object.defineProperty(F, Symbol.species, { get: () => F })
      const dig = async () => { const e = new Error('x'); e.name = Symbol('n'); e.stack; const f = () => f(); f() }
      const p = dig(); p.catch(() => 0)
      Object.defineProperty(p, 'constructor', { get: () => F })
      try { p.finally(() => 0) } catch (e) { seen.push(e) }
      const q = call('missing', []); q.catch(() => 0)
      try { Object.defineProperty(q, 'constructor', { get: () => F }); q.finally(() => 0) } catch (e) { seen.push(e) }
      await 0; await 0; await 0
      for (const s of seen) hunt('species', s)`,
  ),
  hunted(
    'promise-species-subclass',
    'a subclass redirects the engine’s own resolvers: GHSA-76w7-j9cq-rx2j',
    js`
      const seen = []
      let make
      class Sub extends Promise { static get [Symbol.species]() { return make } }
      make = function (run) { run((v) => seen.push(v), (e) => seen.push(e)); seen.push(run) }
      const dig = (d) => { if (d) dig(d - 1); const e = new Error(); e.stack; throw e }
      for (const d of [10, 1000, 8000, 12000]) try { new Sub((r) => r()).then(() => dig(d)) } catch (e) { seen.push(e) }
      await 0; await 0; await 0
      for (const s of seen) hunt('sub', s)`,
    true,
  ),
  hunted(
    'promise-statics-stolen',
    'a static method called on a foreign constructor hands it the engine’s errors: GHSA-55hx-c926-fr95',
    js`
      const seen = []
      function Fake(run) { run((v) => seen.push(v), (e) => seen.push(e)) }
      Fake.resolve = (x) => x
      const bad = { [Symbol.iterator]() { const e = new Error(); e.name = Symbol('n'); e.stack; const f = () => f(); f() } }
      for (const k of ['all', 'race', 'any', 'allSettled', 'try']) try { seen.push(Promise[k].call(Fake, k === 'try' ? bad[Symbol.iterator] : bad)) } catch (e) { seen.push(e) }
      try { Promise.prototype.then.call(Reflect.construct(Promise, [() => bad[Symbol.iterator]()], Fake), null, (e) => seen.push(e)) } catch (e) { seen.push(e) }
      await 0; await 0
      for (const s of seen) hunt('static', s)`,
  ),
  hunted(
    'thenable-from-host-await',
    'the result is a thenable: whoever awaits it calls guest code with resolvers',
    js`
      const then = function (a, b) { hunt('a', a); hunt('b', b); try { hunt('caller', then.caller) } catch {} a(hits.join(' ')) }
      Object.defineProperty(Object.prototype, 'then', { configurable: true, get() { return this === globalThis || this === Object.prototype ? undefined : this.bait ? then : undefined } })
      return { bait: 1 }`,
    true,
  ),
  hunted(
    'array-species-self',
    'a host’s array method asks the guest for the array to fill: GHSA-grj5-jjm8-h35p',
    js`
      const a = input.list, seen = []
      function Make() { seen.push(new.target, this); return a }
      try { a.constructor = { [Symbol.species]: Make } } catch (e) { seen.push(e) }
      for (const k of ['map', 'filter', 'slice', 'splice', 'concat', 'flat', 'flatMap']) try { seen.push(a[k]((x) => x)) } catch (e) { seen.push(e) }
      for (const s of seen) hunt('species', s)`,
  ),
  hunted(
    'array-prototype-setter',
    'a setter on Array.prototype catches what a bridge stores in its own lists: CVE-2026-44008, GHSA-9qj6-qjgg-37qq',
    js`
      const seen = []
      for (let i = 0; i < 8; i++) Object.defineProperty(Array.prototype, i, { configurable: true, get() { return undefined }, set(v) { seen.push(v, v?.arr, this) } })
      try { console.log(1, 2, 3) } catch (e) { seen.push(e) }
      try { call('x', [1, 2]).catch((e) => { seen.push(e) }) } catch (e) { seen.push(e) }
      try { setTimeout(() => 0, 0, 1, 2) } catch (e) { seen.push(e) }
      for (let i = 0; i < 8; i++) delete Array.prototype[i]
      await 0; await 0
      for (const s of seen.slice(0, 80)) hunt('slot', s)`,
  ),
  hunted(
    'typed-array-species',
    'typed arrays and buffers ask for their species in native code',
    js`
      const seen = []
      class B extends ArrayBuffer { static get [Symbol.species]() { return function (n) { seen.push(this, new.target); return new ArrayBuffer(n * 2) } } }
      try { seen.push(new B(8).slice(0, 4)) } catch (e) { seen.push(e) }
      class T extends Uint8Array { static get [Symbol.species]() { return function (n) { seen.push(n, new.target); return new Uint8Array(1) } } }
      for (const k of ['slice', 'map', 'filter', 'subarray']) try { seen.push(new T(8)[k]((x) => x)) } catch (e) { seen.push(e) }
      if (typeof TextEncoder === 'function') { const u = new TextEncoder().encode('x'); hunt('encoded', u); hunt('buffer', u.buffer) }
      for (const s of seen) hunt('typed', s)`,
  ),
  hunted(
    'async-generator-return-thenable',
    'closing a delegating async generator catches what a thenable throws: CVE-2026-45411, GHSA-248r-7h7q-cr24',
    js`
      const inner = { [Symbol.asyncIterator]() { return this }, next: (v) => ({ done: false, value: () => v }) }
      async function* outer() { yield* inner }
      const bad = () => { const e = new Error('x'); e.name = Symbol('n'); e.stack; const f = () => f(); f() }
      for (const t of [{ get then() { bad() } }, { then() { bad() } }, { then: (r) => r({ then() { bad() } }) }]) {
        const it = outer(); await it.next()
        try { const r = await it.return(t); hunt('value', r.value); hunt('inner', r.value?.()) } catch (e) { hunt('e', e) }
        try { const r = await it.throw(t); hunt('thrown', r.value) } catch (e) { hunt('t', e) }
      }`,
  ),
  hunted(
    'async-generator-prototype-poisoned',
    'whoever iterates with for await uses replaced next, return and throw',
    js`
      const P = Object.getPrototypeOf(Object.getPrototypeOf((async function* () {})()))
      for (const k of ['next', 'return', 'throw']) { const f = P[k]; P[k] = function (v) { hunt('v', v); hunt('this', this); return f.call(this, v) } }
      const g = (async function* () { try { yield call } finally { yield console } })()
      for await (const x of g) { hunt('x', x); break }`,
  ),
  hunted(
    'suppressed-error',
    'a disposal hides an engine’s error in a SuppressedError: GHSA-55hx-c926-fr95',
    js`
      const s = new DisposableStack()
      s.defer(() => { throw null })
      s.defer(() => { const e = Error(); e.name = Symbol('n'); e.stack; setTimeout({}); structuredClone(() => 0) })
      try { s.dispose() } catch (e) { hunt('e', e); hunt('error', e.error); hunt('suppressed', e.suppressed) }`,
  ),
  hunted(
    'using-in-eval',
    'a using declaration in eval catches out of sight of a source transformer: GHSA-55hx-c926-fr95',
    js`
      globalThis.dig = setTimeout
      globalThis.res = { [Symbol.dispose]() { dig({}); structuredClone(() => 0) } }
      try { (0, eval)('{ using a = res; throw null }') } catch (e) { hunt('e', e); hunt('error', e?.error); hunt('suppressed', e?.suppressed) }`,
  ),
  hunted(
    'await-using-host-error',
    'asynchronous disposal gathers a host’s rejection',
    js`
      const s = new AsyncDisposableStack()
      s.defer(async () => { throw null })
      s.defer(() => call('missing', []))
      try { await s.disposeAsync() } catch (e) { hunt('e', e); hunt('error', e.error); hunt('suppressed', e.suppressed) }`,
  ),
  hunted(
    'aggregate-error',
    'a host’s rejection inside an AggregateError: GHSA-55hx-c926-fr95',
    js`try { await Promise.any([call('missing', []), call('missing', [])]) } catch (e) { hunt('e', e); for (const x of e.errors) hunt('errors', x) }`,
  ),
  hunted(
    'array-from-async',
    'Array.fromAsync catches out of sight: GHSA-v27g-jcqj-v8rw',
    js`
      await Array.fromAsync([call('missing', [])]).catch((e) => hunt('e', e))
      await Array.fromAsync({ async *[Symbol.asyncIterator]() { yield* [call]; await call('missing', []) } }).catch((e) => hunt('gen', e))`,
  ),
  hunted(
    'null-prototype-throw',
    'a thrown object without a prototype is wrapped as if it were the host’s: GHSA-9vg3-4rfj-wgcm',
    js`
      const o = { __proto__: null }
      try { throw o } catch (e) { e.f = call; e.g = console.log; hunt('f', o.f); hunt('g', o.g); hunt('e', e) }
      const v = await Promise.resolve({ __proto__: null }); v.f = call; hunt('v', v.f)`,
  ),
  hunted(
    'internal-state-probe',
    'a bridge keeps its state where a computed key finds it: GHSA-2cm2-m3w5-gp2f',
    js`
      for (let o = globalThis; o; o = Object.getPrototypeOf(o)) for (const k of Reflect.ownKeys(o)) {
        if (k === 'globalThis' || k === 'eval') continue
        let v; try { v = o[k] } catch (e) { v = e }
        hunt(String(k), v)
        const d = Reflect.getOwnPropertyDescriptor(o, k); hunt('get ' + String(k), d?.get); hunt('set ' + String(k), d?.set)
      }`,
  ),
  hunted(
    'lexical-state-probe',
    'the bootstrap left bindings beside the global object: names are guessed',
    js`
      for (const n of ['$0', '$1', '_ivm', 'ivm', '__host', '__bridge', 'bridge', 'host', 'emit', 'send', 'VM2_INTERNAL_STATE_DO_NOT_USE_OR_PROGRAM_WILL_FAIL', 'require', 'module', 'exports', 'primordials', 'internalBinding', '__proto__', 'arguments', 'global', 'self', 'wrapper', 'resolve', 'reject', 'done', 'finish', 'report', 'callback', 'native'])
        try { hunt(n, (0, eval)(n)); } catch {}
      for (const n of ['$0', 'arguments', 'require', 'module', '__host', 'bridge', 'host', 'emit']) try { hunt('in ' + n, eval(n)) } catch {}`,
  ),
  hunted(
    'receiver-write-through',
    'a write to an object that inherits from a host’s lands on the host’s: GHSA-c4cf-2hgv-2qv6',
    js`
      for (const o of [console, call, input]) { const child = Object.create(o); child.planted = 1; Reflect.set(o, 'planted2', 1, {}) ; if (Object.hasOwn(o, 'planted') || Object.hasOwn(o, 'planted2')) mark('write-through', typeof o) }`,
    true,
  ),
  hunted(
    'prototype-severed',
    'the prototype of a host’s intrinsic is changed through apply: GHSA-v6mx-mf47-r5wg',
    js`
      const set = Object.getOwnPropertyDescriptor(Object.prototype, '__proto__').set
      for (const o of [console.log, call, input.list]) {
        try { Reflect.apply(Function.prototype.call, set, [Object.getPrototypeOf(o), { severed: 1 }]) } catch {}
        hunt('severed', o); hunt('proto', Object.getPrototypeOf(o))
      }`,
  ),
  hunted(
    'proto-getter-walk',
    '__lookupGetter__ walks prototypes past the wrapped ones: GHSA-47x8-96vw-5wg6',
    js`
      const up = ({}).__lookupGetter__('__proto__')
      for (const o of [console, console.log, call, input, input.list, setTimeout]) { let x = o; for (let i = 0; x && i < 6; i++) { hunt('up', x); x = Reflect.apply(up, x, []) } }`,
  ),
  hunted(
    'descriptor-pollution',
    'a bridge that copies property descriptors reads get and set from Object.prototype',
    js`
      let armed = true
      for (const k of ['get', 'set', 'value', 'writable', 'enumerable', 'configurable', 'apply', 'construct'])
        Object.prototype.__defineGetter__(k, function () { if (!armed) return; armed = false; hunt(k, this); try { throw (f) => hunt('f', f) } finally { armed = true } })
      try { console.log({}) } catch (e) { armed = false; typeof e === 'function' && e(call); hunt('e', e) }
      armed = false
      for (const k of ['get', 'set', 'value', 'writable', 'enumerable', 'configurable', 'apply', 'construct']) delete Object.prototype[k]`,
    true,
  ),
  hunted(
    'function-prototype-patched',
    'a bridge uses call, apply and bind that the guest replaced',
    js`
      const seen = []
      for (const k of ['call', 'apply', 'bind', 'toString']) { const f = Function.prototype[k]; Function.prototype[k] = function (...a) { seen.push(this, ...a); return Reflect.apply(f, this, a) } }
      for (const k of Reflect.ownKeys(Reflect)) { const f = Reflect[k]; if (typeof f === 'function' && k !== 'apply') Reflect[k] = function (...a) { seen.push(...a); return f(...a) } }
      try { console.log('x', {}) } catch (e) { seen.push(e) }
      try { await call('missing', [{}]) } catch (e) { seen.push(e) }
      for (const s of seen.slice(0, 100)) hunt('patched', s)`,
  ),
  hunted(
    'every-intrinsic-patched',
    'every method of every intrinsic is replaced before the bridge is used again',
    js`
      const seen = [], note = (x) => { if (seen.length < 300) seen[seen.length] = x }
      const ra = Reflect.apply, desc = Object.getOwnPropertyDescriptor, def = Object.defineProperty
      for (const C of [Array, Map, WeakMap, Set, WeakSet, Promise, RegExp, String, Number, Symbol, Date, JSON, Object, Math, ArrayBuffer, Uint8Array, DataView, Error, BigInt, Boolean])
        for (const o of [C, C.prototype]) { if (!o || o === Object.prototype) continue
          for (const k of Reflect.ownKeys(o)) { const d = desc(o, k)
            if (k === 'constructor' || k === 'prototype' || !d.configurable || typeof d.value !== 'function') continue
            const f = d.value
            if (f.prototype) continue
            d.value = function () { note(this); for (let i = 0; i < arguments.length; i++) note(arguments[i]); return ra(f, this, arguments) }
            def(o, k, d) } }
      try { console.log('x', { a: [1] }) } catch (e) { note(e) }
      try { await call('missing', [{ a: 1 }]) } catch (e) { note(e) }
      for (let i = 0; i < seen.length; i++) hunt('seen', seen[i])`,
  ),
  hunted(
    'globals-replaced',
    'the globals that a bootstrap may still look up are replaced by spies',
    js`
      const seen = []
      for (const k of ['Promise', 'JSON', 'Error', 'Object', 'Array', 'Function', 'Map', 'WeakMap', 'Symbol', 'Reflect', 'Proxy', 'TypeError', 'RangeError', 'Uint8Array', 'String'])
        try { const old = globalThis[k]; const spy = new Proxy(old, { get: (t, p) => { seen.push(p); return t[p] }, apply: (t, th, a) => { seen.push(th, ...a); return Reflect.apply(t, th, a) }, construct: (t, a, n) => { seen.push(...a, n); return Reflect.construct(t, a, n) } }); Object.defineProperty(globalThis, k, { value: spy, configurable: true, writable: true }) } catch {}
      try { console.log('x') } catch (e) { seen.push(e) }
      try { const p = call('missing', []); seen.push(p); await p } catch (e) { seen.push(e) }
      for (const s of seen.slice(0, 100)) hunt('spy', s)`,
  ),
  hunted(
    'iterator-poisoned',
    'spreading and destructuring in the bridge runs a replaced iterator',
    js`
      const seen = []
      const it = Array.prototype[Symbol.iterator]
      Array.prototype[Symbol.iterator] = function () { seen.push(this, ...Object.values(this)); return it.call(this) }
      const P = Object.getPrototypeOf(it.call([])), next = P.next
      P.next = function () { const r = next.call(this); seen.push(r.value); return r }
      try { console.log(1, {}) } catch (e) { seen.push(e) }
      try { await call('missing', [{}]) } catch (e) { seen.push(e) }
      Array.prototype[Symbol.iterator] = it; P.next = next
      for (const s of seen.slice(0, 100)) hunt('it', s)`,
  ),
  hunted(
    'has-instance-and-species-symbols',
    'instanceof and species in the bridge ask the guest',
    js`
      const seen = []
      for (const C of [Error, Promise, Array, Object, Function, TypeError]) { try { Object.defineProperty(C, Symbol.hasInstance, { configurable: true, value(x) { seen.push(x); return true } }) } catch {} try { Object.defineProperty(C, Symbol.species, { configurable: true, get() { seen.push(this); return C } }) } catch {} }
      try { await call('missing', []) } catch (e) { seen.push(e) }
      try { console.log(new Error('x')) } catch (e) { seen.push(e) }
      for (const s of seen.slice(0, 60)) hunt('asked', s)`,
  ),
  hunted(
    'reflect-construct-new-target',
    'constructing with a host’s function as new.target takes its realm’s prototype',
    js`
      for (const t of [console.log, call, setTimeout, input.constructor]) for (const C of [Object, Array, Error, Promise, Function, Map])
        try { const made = Reflect.construct(C, C === Promise ? [() => 0] : [], t); hunt('made', made); hunt('mp', Object.getPrototypeOf(made)) } catch (e) { hunt('e', e) }
      try { const f = Reflect.construct(Function, ['return typeof process === "object" && process'], call); const p = f(); if (p?.pid) mark('newtarget', p.pid) } catch {}`,
  ),
  hunted(
    'bound-host-function',
    'binding, wrapping and inheriting from a host’s function',
    js`
      for (const f of [console.log, call, setTimeout]) { hunt('bound', f.bind(null)); try { class S extends f {}; hunt('sub', Object.getPrototypeOf(S)) } catch (e) { hunt('e', e) } try { hunt('proxied', new Proxy(f, {})) } catch {} }`,
  ),
  hunted(
    'function-constructors',
    'the hidden constructors of function kinds compile in their own realm',
    js`
      const kinds = [function () {}, async function () {}, function* () {}, async function* () {}, () => 0, class {}, console.log, call]
      for (const k of kinds) { const C = Object.getPrototypeOf(k).constructor
        for (const code of ['return typeof process === "object" && process', 'return globalThis.process', 'return this.constructor.constructor("return process")()'])
          try { let r = C(code)(); r = r?.next ? (await r.next()).value : await r; if (r?.pid) mark('kind', r.pid) } catch {} }`,
  ),
  hunted(
    'indirect-eval-and-with',
    'indirect eval and with move code into other scopes',
    js`
      for (const code of ['this', 'globalThis', '(function () { return this })()', 'with (globalThis) { constructor }', 'new Function("return this")()']) try { hunt(code, (0, eval)(code)) } catch {}
      for (const C of [Function, Object.getPrototypeOf(console.log).constructor]) try { hunt('with', C('o', 'with (o) { return constructor.constructor }')(console)) } catch {}`,
  ),
  {
    ...hunted(
      'wasm-jspi-promise',
      'a promise of WebAssembly.promising has the host’s prototype: CVE-2026-47210, GHSA-6j2x-vhqr-qr7q',
      js`
        const seen = [], W = WebAssembly
        if (!W.promising) return noSuspension()
        const { instance } = await W.instantiate(${bytesOf(callsImport)}, { m: { f: new W.Suspending(() => call('missing', [])) } })
        const p = W.promising(instance.exports.run)()
        class F { constructor(run) { run((v) => seen.push(v), (e) => seen.push(e)) } then(a, b) { try { seen.push(a, b, a && a()) } catch (e) { seen.push(e) } } }
        Object.defineProperty(F, Symbol.species, { get: () => F })
        hunt('jspi', p); hunt('then', p.then)
        Object.defineProperty(p, 'constructor', { get: () => F })
        try { p.finally(() => 0) } catch (e) { seen.push(e) }
        await new Promise((d) => setTimeout(d, 20))
        for (const s of seen) hunt('species', s)
        // Without the two functions of JSPI, all that is left is searched: none may suspend a stack, nor wrap a function that does.
        function noSuspension() {
          const { exports } = new W.Instance(new W.Module(${bytesOf(callsImport)}), { m: { f: () => 0 } })
          const left = [W, ...Reflect.ownKeys(W).map((k) => W[k]), exports.run]
          for (const o of left) for (let x = o; x; x = Object.getPrototypeOf(x)) for (const k of Reflect.ownKeys(x))
            if (/^(?:promising|suspending|suspender)$/i.test(String(k))) mark('jspi', String(k))
          for (const options of [{ promising: 'first' }, { suspending: 'first' }])
            for (const make of [() => new W.Function({ parameters: [], results: ['externref'] }, exports.run, options), () => exports.run.constructor({ parameters: [] }, exports.run, options)])
              try { const made = make(); if (made() instanceof Promise) mark('jspi', 'made') } catch {}
          return hits.join(' ') || 'nothing'
        }`,
    ),
    capabilities: ['webassembly'],
    gives: 'nothing',
  },
  hunted(
    'wasm-streaming-promise',
    'compileStreaming gives a host’s promise that rejects with a host’s error: CVE-2026-92956, GHSA-wjwh-qqvp-g4p4',
    js`
      const seen = []
      for (const k of ['compileStreaming', 'instantiateStreaming']) {
        let p; try { p = WebAssembly[k](0) } catch (e) { hunt('sync', e); continue }
        hunt('p', p)
        class F { constructor(run) { run((v) => seen.push(v), (e) => seen.push(e)) } then() {} static get [Symbol.species]() { return F } }
        Object.defineProperty(p, 'constructor', { get: () => F })
        try { p.finally(() => 0) } catch (e) { seen.push(e) }
        try { await p } catch (e) { seen.push(e) }
      }
      for (const s of seen) hunt('stream', s)`,
  ),
  {
    ...hunted(
      'wasm-js-tag',
      'WebAssembly catches a JavaScript exception by its tag, past any catch clause: GHSA-ffh4-j6h5-pg66',
      js`
        const boom = () => { setTimeout({}); structuredClone(() => 0) }
        const { instance } = await WebAssembly.instantiate(${bytesOf(catchesAll)}, { h: { boom, tag: WebAssembly.JSTag } })
        hunt('tagged', instance.exports.run())`,
    ),
    capabilities: ['webassembly'],
  },
  {
    ...hunted(
      'wasm-import-from-host',
      'a host’s function as an import of a module',
      js`
        const { instance } = await WebAssembly.instantiate(${bytesOf(callsImport)}, { m: { f: console.log } })
        hunt('export', instance.exports.run); hunt('error', (() => { try { new WebAssembly.Module(new Uint8Array(3)) } catch (e) { return e } })())
        const { instance: second } = await WebAssembly.instantiate(${bytesOf(callsImport)}, { m: { f: () => { const f = () => { console.log('.'); f() }; f() } } })
        try { second.exports.run() } catch (e) { hunt('e', e) }`,
    ),
    capabilities: ['webassembly'],
  },
  hunted(
    'structured-clone-transfer',
    'structuredClone builds in the realm it was made in',
    js`
      for (const v of [{}, [], new Error('x'), new Map(), new Date(), new Uint8Array(4), /x/]) try { hunt('clone', structuredClone(v)) } catch (e) { hunt('e', e) }
      try { structuredClone(() => 0) } catch (e) { hunt('uncloneable', e) }
      try { const b = new ArrayBuffer(8); hunt('moved', structuredClone(b, { transfer: [b] })); structuredClone(b) } catch (e) { hunt('detached', e) }
      try { structuredClone({ get x() { throw call } }) } catch (e) { hunt('getter', e) }`,
  ),
  hunted(
    'lent-web-objects',
    'objects of the lent web classes, their results and errors',
    js`
      const makes = { url: () => new URL('http://x/?a=1'), params: () => new URL('http://x/?a=1').searchParams, badUrl: () => new URL('::'), enc: () => new TextEncoder().encode('x'), dec: () => new TextDecoder('nope'), abort: () => new AbortController().signal, abortReason: () => { const c = new AbortController(); c.abort(); return c.signal.reason }, event: () => new Event('x'), dom: () => new DOMException('x'), uuid: () => crypto, random: () => crypto.getRandomValues(new Uint8Array(4)), quota: () => crypto.getRandomValues(new Uint8Array(70000)), perf: () => performance, atob: () => atob('%%%'), iter: () => new URLSearchParams('a=1')[Symbol.iterator]() }
      for (const k in makes) { let v; try { v = makes[k]() } catch (e) { v = e } hunt(k, v); try { for (const n of Reflect.ownKeys(v)) hunt(k + String(n), v[n]) } catch {} }`,
  ),
  hunted(
    'event-listener-callbacks',
    'events and aborts call the guest back from lent code',
    js`
      const t = new EventTarget()
      t.addEventListener('x', function (e) { hunt('this', this); hunt('event', e); hunt('target', e.currentTarget); try { hunt('caller', arguments.callee.caller) } catch {} })
      t.addEventListener('x', { get handleEvent() { const f = () => f(); try { f() } catch (e) { hunt('range', e) } return () => 0 } })
      t.dispatchEvent(new Event('x'))
      const c = new AbortController(); c.signal.onabort = function (e) { hunt('abort', e) }; c.abort(call)`,
    true,
  ),
  hunted(
    'microtask-callback',
    'queueMicrotask calls back from the host',
    js`hunt('fn', queueMicrotask); await new Promise((d) => queueMicrotask(function () { hunt('this', this); try { hunt('caller', arguments.callee.caller) } catch {} d() }))`,
  ),
  hunted(
    'buffer-pool',
    'a small Buffer shares its memory with the host’s: GHSA-fcqc-726x-5wfc',
    js`
      if (typeof Buffer === 'function') for (const make of [() => Buffer.from([0]), () => Buffer.from('x'), () => Buffer.concat([Buffer.from('a')]), () => Buffer.of(1), () => Buffer.allocUnsafe(8)]) try { const pool = make().buffer; const text = Buffer.from(pool, 0, pool.byteLength).toString('latin1'); const at = text.indexOf('canary-'); if (at >= 0) mark('pool', text.slice(at, at + 30)) } catch (e) { hunt('e', e) }`,
    true,
  ),
  {
    ...plain('wrapper-closed', 'the source closes the function it is put into and runs beside it'),
    code: js`});
      (function () { var p = this.constructor.constructor('return typeof process === "object" && process')(); if (p) { var w = 'ESC' + 'APED:wrapper:' + p.pid; this.console.log(w) } }).call(this);
      (async () => {`,
  },
  {
    ...plain(
      'wrapper-closed-with-arguments',
      'the source closes its wrapper and looks at its scope',
      true,
    ),
    code: js`}, typeof require === 'function' && console.log('ESC' + 'APED:require'), typeof module === 'object' && console.log('ESC' + 'APED:module'), async () => {`,
  },
  {
    ...plain(
      'wrapper-commented-out',
      'a trailing comment swallows what the wrapper puts behind the source',
      true,
    ),
    code: js`try { hidden } catch {} console.log(typeof process === 'object' ? 'ESC' + 'APED:process' : 'no') //`,
  },
  {
    ...plain(
      'source-tricks',
      'source URL, HTML comments and line separators bend what a scanner sees',
    ),
    code:
      js`//# sourceURL=node:internal/bootstrap
      ` +
      '\u2028' +
      js`var x = 1 <!-- html comment
      --> another
      const p = (0, console.log.constructor)('return typeof process === "object" && process')()
      if (p && p.pid) console.log('ESC' + 'APED:source:' + p.pid)
      //# sourceMappingURL=file:///etc/passwd`,
  },
  {
    ...plain('hashbang', 'a hashbang line before hostile code', true),
    code: js`#!/usr/bin/env node --expose-internals
      if (typeof process === 'object') console.log('ESC' + 'APED:' + process.pid)`,
  },
  {
    ...plain('unicode-escaped-names', 'names written with escapes pass by a textual filter'),
    code: js`const p = c\u006fnsole.log['\x63onstructor']['c\u{6f}nstructor']('return typeof pr\\u006fcess === "object" && pr\\u006fcess')(); if (p && p.pid) console.log('ESC' + 'APED:' + p.pid)`,
  },
  {
    ...plain('split-string-names', 'names put together at run time pass by a textual filter'),
    code: js`const k = ['con', 'struc', 'tor'].join(''); const p = console.log[k]('return typeof ' + ['pro', 'cess'].join('') + ' === "object" && process')(); if (p && p.pid) console.log('ESC' + 'APED:' + p.pid)`,
  },
  {
    ...plain(
      'function-expression-caller',
      'a source that is one function expression looks at its caller',
      true,
    ),
    code: js`(function f(input) { let c = null; try { c = f.caller } catch {} if (c) { const p = c.constructor('return typeof process === "object" && process')(); if (p && p.pid) return 'ESC' + 'APED:' + p.pid } return 'nothing' })`,
  },
  {
    ...plain('module-meta', 'import.meta and the module’s own namespace', true),
    entry: 'module',
    files: [
      {
        path: 'a.js',
        content: js`import * as self from './a.js'; export default self; export const meta = import.meta`,
      },
    ],
    code: js`import ns, { meta } from './a.js'
      export default (input, context) => {
        const found = []
        for (const v of [import.meta, meta, ns, context, input]) { let x = v; for (let i = 0; x && i < 5; i++) { try { const p = x.constructor?.constructor?.('return typeof process === "object" && process')(); if (p && p.pid) found.push('ESC' + 'APED:' + p.pid) } catch {} x = Object.getPrototypeOf(x) } }
        for (const k of Reflect.ownKeys(import.meta)) found.push(String(k) + '=' + String(import.meta[k]))
        return found.join()
      }`,
  },
  {
    ...plain(
      'module-context-argument',
      'the context that a default export gets is a host’s object',
      true,
    ),
    entry: 'module',
    code: js`export default function f(input, context) { const out = []; for (const v of [context, arguments, this, f.constructor, ...Object.values(context ?? {})]) try { const p = v.constructor.constructor('return typeof process === "object" && process')(); if (p && p.pid) out.push('ESC' + 'APED:' + p.pid) } catch {} return out.join() || 'nothing' }`,
  },
]

function hunted(name: string, because: string, body: string, guard?: true): Case {
  return { ...plain(name, because, guard), code: hunting(body) }
}

function plain(name: string, because: string, guard?: true): Omit<Case, 'code'> {
  return {
    name,
    family: 'escape',
    because,
    expect: ['ok', 'error'],
    ...(guard && { guard }),
  }
}
