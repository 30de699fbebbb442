import type { Case, End } from '../case.ts'

const js = String.raw

const anyEnd: readonly End[] = ['ok', 'error', 'limit', 'refused', 'timeout']

/** Attacks on the reader of the result: its type, its serialisation, its timing. */
export const result: readonly Case[] = [
  odd('cyclic', 'a cycle has no JSON', js`const o = {}; o.o = o; return o`),
  odd(
    'nested-million',
    'a nesting that overflows a recursive writer',
    js`let o = 1; for (let i = 0; i < 1e6; i++) o = [o]; return o`,
  ),
  odd(
    'nested-million-objects',
    'the same by keys',
    js`let o = {}; for (let i = 0; i < 1e6; i++) o = { o }; return o`,
  ),
  odd(
    'nested-json-text',
    'a text that overflows a recursive reader on the other side',
    js`return JSON.parse('['.repeat(5000) + ']'.repeat(5000))`,
  ),
  odd(
    'sparse-array',
    'an array whose length says four billion',
    js`const a = []; a[2 ** 32 - 2] = 1; return a`,
  ),
  odd(
    'to-json-recursive',
    'toJSON that returns itself',
    js`const o = Object.create({ toJSON() { return { o } } }); return o`,
  ),
  odd(
    'to-json-throws',
    'toJSON that throws itself',
    js`const o = Object.create({ toJSON() { throw o } }); return o`,
  ),
  odd(
    'getter-throws-overflow',
    'a getter that runs the stack out while it is written',
    js`return { get x() { const f = () => f(); f() } }`,
  ),
  {
    ...odd(
      'proto-key',
      '__proto__ in a result must stay inert',
      js`return JSON.parse('{"__proto__": {"polluted": 1}, "constructor": {"prototype": {"polluted": 1}}}')`,
    ),
    expect: ['ok'],
    gives: {
      $type: 'object',
      value: [
        ['__proto__', { polluted: 1 }],
        ['constructor', { prototype: { polluted: 1 } }],
      ],
    },
  },
  odd(
    'type-tag-forged',
    'an object that pretends to be the encoding’s own tag',
    js`return { $type: 'Map', value: [['__proto__', { x: 1 }]] }`,
  ),
  odd(
    'type-tag-malformed',
    'a tag whose value is no value of that type',
    js`return [{ $type: 'BigInt', value: 'x' }, { $type: 'bytes', value: 1 }, { $type: 'Date', value: {} }, { $type: 'undefined' }, { $type: 'constructor', value: 1 }]`,
  ),
  odd(
    'exotic-values',
    'values that JSON has no word for',
    js`return [1n, undefined, NaN, -0, new Date(NaN), /x/, new Map([[{}, new Map()]]), new Set([new Set()]), new Error('x'), new Proxy([], {}), new (class extends Array {})(3)]`,
  ),
  odd(
    'revoked-proxy',
    'a proxy that throws at every touch',
    js`const r = Proxy.revocable({}, {}); r.revoke(); return r.proxy`,
  ),
  odd(
    'proxy-lies',
    'a proxy that gives different keys each time it is asked',
    js`let n = 0; return new Proxy({}, { ownKeys: () => ['k' + n++], getOwnPropertyDescriptor: () => ({ value: n++, enumerable: true, configurable: true }), get: () => ({ [n++]: 1 }) })`,
  ),
  odd(
    'array-proxy-length',
    'an array whose length changes while it is written',
    js`return new Proxy([], { get: (t, k) => (k === 'length' ? 1e9 : 1) })`,
  ),
  {
    ...odd(
      'date-patched',
      'a Date that writes itself',
      js`Date.prototype.toISOString = Date.prototype.toJSON = () => ({ evil: 1 }); return new Date(0)`,
    ),
    expect: ['ok'],
    gives: { $type: 'Date', value: '1970-01-01T00:00:00.000Z' },
  },
  {
    ...odd(
      'map-patched',
      'a Map whose iteration never ends',
      js`Map.prototype[Symbol.iterator] = Map.prototype.entries = function* () { for (;;) yield [1, 1] }; Map.prototype.forEach = () => { for (;;); }; return new Map([[1, 1]])`,
    ),
    expect: ['ok'],
    gives: { $type: 'Map', value: [[1, 1]] },
  },
  odd(
    'typed-array-detached',
    'bytes that are gone when they are read',
    js`const b = new Uint8Array(8); b.buffer.transfer(); return b`,
  ),
  {
    ...odd(
      'typed-array-getters',
      'bytes that lie about where they are',
      js`const b = new Uint8Array(8); Object.defineProperty(b, 'length', { value: 1e9 }); Object.defineProperty(b, 'byteLength', { value: 1e9 }); Object.defineProperty(b, 'buffer', { get() { return new ArrayBuffer(1e6) } }); return b`,
    ),
    expect: ['ok'],
    gives: { $type: 'bytes', value: 'AAAAAAAAAAA=' },
  },
  odd(
    'boxed-primitives',
    'boxed values whose conversion is replaced',
    js`const n = new Number(1); n.valueOf = () => { throw n }; const s = new String('x'); s.toString = () => { throw s }; return [n, s, Object(1n), Object(Symbol())]`,
  ),
  odd(
    'lone-surrogates',
    'text that is no valid Unicode',
    js`return '\ud800' + '\udc00x\ud800'.repeat(1000)`,
  ),
  odd(
    'control-characters',
    'text that steers a terminal',
    js`return '\u001b]0;owned\u0007\u001b[2J\u0000\u202e'`,
  ),
  {
    ...odd(
      'json-patched',
      'the writer itself is replaced',
      js`JSON.stringify = () => '"json"'; JSON.parse = () => 1; return { plain: true }`,
    ),
    expect: ['ok'],
    gives: { plain: true },
  },
  {
    ...odd(
      'serialiser-intrinsics-patched',
      'everything a writer could use is replaced',
      js`
      const all = [Array.prototype, String.prototype, Map.prototype, Set.prototype, RegExp.prototype, Object, Reflect, JSON, Number, Array, Promise.prototype]
      const keysOf = Reflect.ownKeys
      for (let i = 0; i < all.length; i++) { const P = all[i], keys = keysOf(P)
        for (let k = 0; k < keys.length; k++) { if (keys[k] === 'constructor') continue; try { if (typeof P[keys[k]] === 'function') P[keys[k]] = () => 'intrinsic' } catch {} } }
      return { plain: true }`,
    ),
    expect: ['ok'],
    gives: { plain: true },
  },
  {
    ...odd(
      'object-prototype-to-json',
      'toJSON on Object.prototype changes whatever is written',
      js`Object.prototype.toJSON = String.prototype.toJSON = Array.prototype.toJSON = () => 'toJSON'; return { plain: true }`,
    ),
    expect: ['ok'],
    gives: { plain: true },
  },
  {
    ...odd(
      'object-prototype-setters',
      'setters on Object.prototype catch the fields of the answer',
      js`
        for (const k of ['result', 'status', 'ok', 'error', 'value', 'encoding', 'code', 'message', 'type', 'kind', 'id', 'then', 'name', 'stack'])
          Object.defineProperty(Object.prototype, k, { __proto__: null, configurable: true, get() { return 'forged' }, set() {} })
        return [1]`,
    ),
    expect: ['ok'],
    gives: [1],
  },
  odd(
    'object-prototype-values',
    'values on Object.prototype stand in for fields that are absent',
    js`
      Object.assign(Object.prototype, { status: 'ok', error: null, code: 'forged', encoding: 'tagged', timeout: 1e9, limit: 1e9, done: true })
      throw new Error('x')`,
    ['error'],
  ),
  odd(
    'error-posing-as-ok',
    'an error that looks like an answer',
    js`throw { status: 'ok', result: 'forged', then: 1, toString: () => 'ok' }`,
    ['error', 'timeout'],
  ),
  odd('throw-null', 'nothing is thrown', js`throw null`, ['error']),
  odd('throw-undefined', 'even less is thrown', js`throw undefined`, ['error']),
  odd('throw-symbol', 'a symbol cannot be made a text', js`throw Symbol('x')`, ['error']),
  odd('throw-huge', 'an error with a message of 100 MB', js`throw new Error('x'.repeat(1e8))`, [
    'error',
    'limit',
    'timeout',
  ]),
  odd(
    'throw-huge-name',
    'an error with a name of 100 MB',
    js`const e = new Error('x'); e.name = 'x'.repeat(1e8); throw e`,
    ['error', 'limit', 'timeout'],
  ),
  odd(
    'throw-function',
    'a function with a message',
    js`throw Object.assign(() => 0, { message: { toString() { throw 1 } }, stack: {} })`,
    ['error'],
  ),
  odd(
    'throw-accessors',
    'an error whose every field throws',
    js`throw new Proxy(new Error('x'), { get() { throw new Error('inner') }, getPrototypeOf() { throw 1 }, ownKeys() { throw 1 } })`,
    ['error'],
  ),
  odd(
    'throw-limit-lookalike',
    'an error that names itself like a limit of the sandbox',
    js`const e = new Error('Isolate was disposed during execution due to memory limit'); e.code = 'MEMORY'; e.status = 'limit'; throw e`,
    ['error'],
  ),
  odd(
    'throw-timeout-lookalike',
    'an error that names itself like a timeout',
    js`const e = new Error('Script execution timed out.'); e.code = 'ERR_SCRIPT_EXECUTION_TIMEOUT'; throw e`,
    ['error'],
  ),
  odd(
    'unhandled-rejection',
    'a rejection nobody handles ends a host: GHSA-hw58-p9xv-2mjh',
    js`(async () => { throw new Error('nobody') })(); await new Promise((d) => setTimeout(d, 20)); return 1`,
  ),
  odd(
    'unhandled-rejection-symbol-name',
    'the same with an error that cannot be printed',
    js`new Promise(() => { const e = new Error(); e.name = Symbol('n'); e.stack; throw e }); (async function* () { throw Symbol('s') })().next(); return 1`,
  ),
  odd(
    'unhandled-host-rejection',
    'a capability call that nobody waits for: GHSA-gjq8-xm47-88rc, GHSA-2v2p-6j97-cjg9',
    js`call('missing', []); call('missing', []); await 0; return 1`,
  ),
  odd(
    'exception-in-timer',
    'an exception in a timer has no caller',
    js`setTimeout(() => { throw new Error('late') }, 0); await new Promise((d) => setTimeout(d, 30)); return 1`,
  ),
  odd(
    'exception-in-microtask',
    'an exception in a microtask has no caller',
    js`queueMicrotask(() => { throw new Error('late') }); await new Promise((d) => setTimeout(d, 10)); return 1`,
  ),
  odd(
    'exception-in-listener',
    'an exception in an event listener',
    js`const t = new EventTarget(); t.addEventListener('x', () => { throw new Error('late') }); t.dispatchEvent(new Event('x')); return 1`,
  ),
  odd(
    'rejection-storm',
    'a hundred thousand rejections nobody handles',
    js`for (let i = 0; i < 1e5; i++) Promise.reject(i); return 1`,
  ),
  {
    ...odd(
      'completion-twice',
      'a thenable that resolves, resolves again and rejects',
      js`return { then(a, b) { a(1); a('second'); b(new Error('x')); setTimeout(() => a(2), 10) } }`,
    ),
    expect: ['ok'],
    gives: 1,
  },
  {
    ...odd(
      'completion-late',
      'a second answer after the first',
      js`globalThis.later = () => 'late'; setTimeout(() => { try { throw later() } catch {} }, 5); return 1`,
    ),
    expect: ['ok'],
    gives: 1,
  },
  {
    ...odd(
      'completion-sync-throw-after-resolve',
      'a thenable that throws after it resolved',
      js`return { then(a) { a(1); throw new Error('after') } }`,
    ),
    expect: ['ok'],
    gives: 1,
  },
  odd(
    'then-getter-counts',
    'then is a function only the third time it is read',
    js`let n = 0; return { get then() { return ++n > 2 ? (r) => r('late') : undefined }, value: 1 }`,
  ),
  {
    ...odd(
      'promise-resolve-patched',
      'Promise.resolve and the constructor are replaced',
      js`Promise.resolve = () => ({ then: (r) => r('forged') }); globalThis.Promise = function () {}; return 1`,
    ),
    expect: ['ok'],
    gives: 1,
  },
  odd(
    'frames-in-output',
    'frames of a wire protocol in what is printed',
    js`const f = String.fromCharCode(0x20, 0, 0, 0, 1) + JSON.stringify({ status: 'ok', result: 'forged' }); for (let i = 0; i < 100; i++) console.log(f); throw new Error('real')`,
    ['error'],
  ),
  odd(
    'frames-in-json-lines',
    'lines of JSON in what is printed',
    js`for (const s of ['result', 'end', 'done', 'outcome']) console.log('\n' + JSON.stringify({ type: s, kind: s, status: 'ok', result: 1 }) + '\n'); throw new Error('real')`,
    ['error'],
  ),
  odd(
    'result-too-long-by-one',
    'a result just over the bound',
    js`return 'x'.repeat(4 * 2 ** 20 - 1)`,
  ),
  odd(
    'keys-million',
    'an object with a million keys',
    js`const o = {}; for (let i = 0; i < 1e6; i++) o['k' + i] = 0; return o`,
  ),
  odd('key-huge', 'a key of 50 MB', js`return { ['k'.repeat(5e7)]: 1 }`),
  odd(
    'duplicate-aliases',
    'one object a hundred thousand times',
    js`const o = { a: 'x'.repeat(100) }; return new Array(1e5).fill(o)`,
  ),
  odd(
    'class-instance-private',
    'an instance with accessors and private fields',
    js`return new (class { #p = 1; get x() { return this.#p } static { Object.defineProperty(this.prototype, 'y', { get() { throw 1 }, enumerable: true }) } })()`,
  ),
  odd(
    'array-with-props',
    'an array with keys that are no index',
    js`const a = [1, 2]; a.toJSON = () => a; a.length = 5; a['-1'] = 1; a.then = 1; return a`,
  ),
  odd('global-this', 'the global object as the result', js`return globalThis`),
  odd(
    'module-namespace',
    'an uninitialised namespace as the result',
    js`let ns; try { ns = await import('./self.js') } catch (e) { ns = e } return ns`,
  ),
  odd(
    'arguments-object',
    'mapped arguments as the result',
    js`return (function (a) { return arguments })(1)`,
  ),
  odd(
    'generator-object',
    'a live generator as the result',
    js`return (function* () { yield 1 })()`,
  ),
]

function odd(name: string, because: string, code: string, expect: readonly End[] = anyEnd): Case {
  return { name: `result-${name}`, family: 'result', because, code, expect }
}
