import type { Case, End } from '../case.ts'

const js = String.raw

/** Allocation beyond the limit, each by another path through the engine. */
export const memory: readonly Case[] = [
  bomb(
    'arrays-forever',
    'took 4.2 GB in an isolate limited to 8 MB, and its thread never came back',
    js`const a = []; for (;;) a.push(new Array(1000).fill(1))`,
  ),
  bomb('arrays-doubled', 'an array pushed onto itself', js`let a = [1]; for (;;) a = a.concat(a)`),
  bomb(
    'array-spread',
    'spreading into a new array is one native allocation',
    js`let a = new Array(1e6).fill(0); for (;;) a = [...a, ...a]`,
  ),
  bomb(
    'array-preallocated',
    'one allocation far over the limit',
    js`return new Array(2 ** 27).fill(1.5).length`,
  ),
  bomb('array-fill-huge', 'fill makes a holey array real', js`return Array(2 ** 28).fill().length`),
  bomb(
    'array-flat',
    'flattening repeats of one large array',
    js`const a = new Array(1e6).fill(1); return new Array(500).fill(a).flat().length`,
  ),
  bomb(
    'array-join',
    'joining repeats of one large text',
    js`const s = 'x'.repeat(1e6); return new Array(500).fill(s).join('').length`,
  ),
  bomb(
    'array-from-string',
    'a text taken apart into an array',
    js`return Array.from('x'.repeat(3e7)).length`,
  ),
  bomb(
    'array-buffers',
    'backing stores are outside of the heap',
    js`const a = []; for (;;) a.push(new ArrayBuffer(1e7))`,
  ),
  bomb(
    'array-buffer-huge',
    'one buffer of a gigabyte: GHSA-v836-6xw4-9cx3',
    js`return new Uint8Array(2 ** 30).fill(1).length`,
  ),
  bomb(
    'array-buffer-resizable',
    'a buffer grown in place',
    js`const b = new ArrayBuffer(8, { maxByteLength: 2 ** 30 }); b.resize(2 ** 30); new Uint8Array(b).fill(1); return b.byteLength`,
  ),
  bomb(
    'array-buffer-transfer',
    'transfer to a greater length',
    js`let b = new ArrayBuffer(1e6); const a = []; for (;;) { b = b.transfer(b.byteLength * 2); new Uint8Array(b).fill(1); a.push(b.slice(0)) }`,
  ),
  bomb(
    'typed-arrays',
    'typed arrays, filled',
    js`const a = []; for (;;) a.push(new Float64Array(1e6).fill(1))`,
  ),
  bomb(
    'typed-array-from',
    'Uint8Array.from an array-like with a large length',
    js`return Float64Array.from({ length: 1e8 }, (_, i) => i).length`,
  ),
  bomb(
    'shared-buffers',
    'shared backing stores',
    js`const a = []; for (;;) { const b = new SharedArrayBuffer(1e7); new Uint8Array(b).fill(1); a.push(b) }`,
  ),
  bomb(
    'wasm-memory',
    'memory of WebAssembly is not counted by the isolate',
    js`const a = []; for (;;) { const m = new WebAssembly.Memory({ initial: 200 }); new Uint8Array(m.buffer).fill(1); a.push(m) }`,
  ),
  bomb(
    'wasm-memory-grow',
    'the same grown in place',
    js`const m = new WebAssembly.Memory({ initial: 1 }); for (;;) { m.grow(100); new Uint8Array(m.buffer).fill(1) }`,
  ),
  bomb(
    'wasm-table',
    'tables of WebAssembly',
    js`const a = []; for (;;) a.push(new WebAssembly.Table({ initial: 1e6, element: 'externref' }, {}))`,
  ),
  bomb(
    'buffer-alloc',
    'a Buffer of the host: GHSA-6785-pvv7-mvg7',
    js`const a = []; for (;;) a.push(Buffer.alloc(2e7, 1))`,
  ),
  bomb(
    'string-doubled',
    'a rope doubles for free until it is flattened',
    js`let s = 'xy'; for (;;) { s += s; s.charCodeAt(0) }`,
  ),
  bomb(
    'string-repeat',
    'repeat and keep',
    js`const a = []; for (let i = 0; ; i++) { const s = (i + 'x').repeat(1e6); s.charCodeAt(3); a.push(s) }`,
  ),
  bomb(
    'string-pad',
    'padStart in one native step',
    js`const a = []; for (let i = 0; ; i++) a.push(String(i).padStart(5e7, 'ab'))`,
  ),
  bomb(
    'string-replace-all',
    'each character becomes many',
    js`let s = 'a'.repeat(1000); for (;;) s = s.replaceAll('a', 'aaaaaaaa')`,
  ),
  bomb(
    'string-replace-context',
    'a replacement by the whole text: quadratic',
    js`return 'a'.repeat(30000).replace(/a/g, "$'$` + '`' + js`").length`,
  ),
  bomb(
    'string-normalize-growth',
    'normalisation makes a text eighteen times as long',
    js`let s = '\ufdfa'.repeat(2e6); const a = []; for (;;) a.push(s.normalize('NFKD'))`,
  ),
  bomb(
    'string-split',
    'a text split into its characters',
    js`const a = []; for (;;) a.push('x'.repeat(5e6).split(''))`,
  ),
  bomb(
    'template-literal',
    'templates doubling',
    js`let s = 'x'.repeat(1e6); const a = []; for (;;) { s = ` +
      '`${s}${s}`' +
      js`; a.push(s + 'y'); a.at(-1).charCodeAt(0) }`,
  ),
  bomb(
    'tagged-template-cache',
    'each tagged template keeps its strings',
    js`for (let i = 0; ; i++) { globalThis['t' + i] = (0, eval)('((s)=>s)' + String.fromCharCode(96) + 'x'.repeat(1e5) + i + String.fromCharCode(96)) }`,
  ),
  bomb(
    'json-parse-growth',
    'a short text becomes a large value',
    js`const a = []; const s = '[' + '{},'.repeat(1e6) + '0]'; for (;;) a.push(JSON.parse(s))`,
  ),
  bomb(
    'json-stringify-growth',
    'a value refers to one text many times over',
    js`const s = 'x'.repeat(1e6); return JSON.stringify(new Array(500).fill(s)).length`,
  ),
  bomb(
    'json-stringify-indent',
    'indentation multiplies the length',
    js`let o = 1; for (let i = 0; i < 3000; i++) o = [o, 1, 2, 3]; return JSON.stringify(o, null, '          ').length * JSON.stringify([o, o, o, o, o], null, '          ').length`,
  ),
  bomb(
    'json-escape-growth',
    'each character is written as six',
    js`return JSON.stringify('\u0001'.repeat(8e7)).length`,
  ),
  bomb(
    'to-json-bomb',
    'toJSON returns more on every call',
    js`const f = (n) => ({ toJSON: () => [f(n + 1), 'x'.repeat(1e5), f(n + 1)] }); return f(0)`,
  ),
  bomb('result-string', 'a result of 400 MB', js`return 'x'.repeat(400e6)`, [
    'error',
    'limit',
    'refused',
    'timeout',
  ]),
  bomb(
    'result-string-two-byte',
    'a result that doubles when it is encoded',
    js`return '\u20ac'.repeat(150e6)`,
    ['error', 'limit', 'refused', 'timeout'],
  ),
  bomb(
    'result-rope',
    'a result that is a rope over one text',
    js`let s = 'xy'; for (let i = 0; i < 27; i++) s += s; return s`,
    ['error', 'limit', 'refused', 'timeout'],
  ),
  bomb(
    'result-aliases',
    'a small object whose text is huge',
    js`let o = 'x'.repeat(100); for (let i = 0; i < 30; i++) o = [o, o]; return o`,
    ['error', 'limit', 'refused', 'timeout'],
  ),
  bomb(
    'result-array-length',
    'a sparse array of the greatest length',
    js`const a = []; a.length = 2 ** 32 - 1; return a`,
    ['error', 'limit', 'refused', 'timeout', 'ok'],
  ),
  bomb('maps', 'a Map that grows', js`const m = new Map(); for (let i = 0; ; i++) m.set(i, { i })`),
  bomb('sets', 'a Set that grows', js`const m = new Set(); for (let i = 0; ; i++) m.add('k' + i)`),
  bomb(
    'weak-maps',
    'a WeakMap whose keys are kept',
    js`const m = new WeakMap(), k = []; for (;;) { const o = {}; k.push(o); m.set(o, [o]) }`,
  ),
  bomb(
    'symbols',
    'symbols that are kept',
    js`const a = []; for (let i = 0; ; i++) a.push(Symbol('x'.repeat(100) + i))`,
  ),
  bomb(
    'symbol-registry',
    'the registry is never collected',
    js`for (let i = 0; ; i++) Symbol.for('x'.repeat(100) + i)`,
  ),
  bomb(
    'properties',
    'one object with properties without end',
    js`const o = {}; for (let i = 0; ; i++) o['k' + i] = i`,
  ),
  bomb(
    'hidden-classes',
    'each object has a shape of its own',
    js`const a = []; for (let i = 0; ; i++) { const o = {}; for (let k = 0; k < 20; k++) o['p' + i + '_' + k] = k; a.push(o) }`,
  ),
  bomb(
    'closures',
    'closures that are kept',
    js`const a = []; for (let i = 0; ; i++) { const b = new Array(100).fill(i); a.push(() => b) }`,
  ),
  bomb(
    'promises',
    'promises that never settle',
    js`const a = []; for (;;) a.push(new Promise(() => 0).then(() => 1))`,
  ),
  bomb(
    'promise-chain',
    'a chain that is resolved with itself',
    js`let p = Promise.resolve(); for (;;) p = p.then(() => p)`,
  ),
  bomb(
    'async-frames',
    'suspended functions that are kept',
    js`const f = async () => { const b = new Array(100).fill(1); await new Promise(() => 0); return b }; const a = []; for (;;) a.push(f())`,
  ),
  bomb(
    'generators',
    'suspended generators that are kept',
    js`function* g() { const b = new Array(100).fill(1); yield b } const a = []; for (;;) { const i = g(); i.next(); a.push(i) }`,
  ),
  bomb('microtask-queue', 'the queue itself grows', js`for (;;) queueMicrotask(() => 0)`),
  bomb(
    'timers-with-payload',
    'timers keep what they were given',
    js`for (;;) setTimeout(() => 0, 1e9, new Array(1000).fill(1))`,
  ),
  bomb(
    'errors-with-stacks',
    'errors keep their frames',
    js`Error.stackTraceLimit = 1e6; const a = []; const f = (n) => n ? f(n - 1) : a.push(new Error('x')); for (;;) f(2000)`,
  ),
  bomb(
    'deep-recursion-big-frames',
    'a deep stack of large frames',
    js`const f = (...a) => f(...a, ...a, 1); f(1)`,
    ['error', 'limit', 'timeout'],
  ),
  bomb(
    'spread-arguments',
    'a call with millions of arguments',
    js`return Math.max(...new Array(5e7).fill(1))`,
    ['error', 'limit', 'timeout'],
  ),
  bomb(
    'bigint-shift',
    'one shift makes a number of a hundred megabytes',
    js`const a = []; for (let i = 0n; ; i++) a.push(1n << (900000000n + i))`,
  ),
  bomb(
    'bigint-growth',
    'numbers that are kept',
    js`let x = 1n; const a = []; for (;;) { x = (x << 2000000n) | 1n; a.push(x) }`,
  ),
  bomb(
    'regexp-compile',
    'expressions that compile to much',
    js`const a = []; for (let i = 0; ; i++) { const r = new RegExp('(?:' + 'a?'.repeat(20000) + '){1,9}' + i); r.test('b'); a.push(r) }`,
  ),
  bomb(
    'regexp-captures',
    'matches that are kept',
    js`const a = [], s = 'ab'.repeat(1e6); for (;;) a.push([...s.matchAll(/(a)(b)/g)])`,
  ),
  bomb(
    'functions-compiled',
    'code that is kept',
    js`const a = []; for (let i = 0; ; i++) a.push(Function('return ' + 'x+'.repeat(1e4) + i))`,
  ),
  bomb(
    'structured-clone-growth',
    'clones that are kept',
    js`const a = [], o = new Array(1e6).fill(1); for (;;) a.push(structuredClone(o))`,
  ),
  bomb(
    'text-encoder',
    'encoded text outside of the heap',
    js`const a = [], e = new TextEncoder(), s = 'x'.repeat(1e7); for (;;) a.push(e.encode(s))`,
  ),
  bomb(
    'intl-objects',
    'Intl objects keep native memory',
    js`const a = []; for (let i = 0; ; i++) a.push(new Intl.DateTimeFormat(['ar', 'th', 'ja', 'fa'][i % 4], { timeZone: 'UTC', dateStyle: 'full' }), new Intl.Collator('de'))`,
  ),
  bomb(
    'temporal-objects',
    'dates without end',
    js`const a = []; for (let i = 0; ; i++) a.push(Temporal.PlainDate.from('2020-01-01').add({ days: i % 9999 }))`,
  ),
  bomb('proxies', 'a proxy over a proxy', js`let p = {}; for (;;) p = new Proxy(p, {})`, [
    'error',
    'limit',
    'timeout',
  ]),
  bomb(
    'prototype-chain',
    'a chain of prototypes without end',
    js`let o = {}; for (;;) o = Object.create(o)`,
    ['error', 'limit', 'timeout'],
  ),
  bomb(
    'bound-functions',
    'a bound function of a bound function',
    js`let f = () => 0; for (;;) f = f.bind(null, f)`,
    ['error', 'limit', 'timeout'],
  ),
  bomb(
    'finalization-registry',
    'a registry that grows',
    js`const r = new FinalizationRegistry(() => 0), k = []; for (;;) { const o = {}; k.push(o); r.register(o, new Array(100).fill(1)) }`,
  ),
  bomb(
    'catch-out-of-memory',
    'each RangeError is caught and it goes on',
    js`const a = []; for (let n = 2 ** 30; ; ) try { a.push(new Uint8Array(n).fill(1)) } catch { n = Math.max(1000, n >> 1) }`,
  ),
  bomb(
    'slow-growth',
    'a little at a time, with pauses for the collector',
    js`const a = []; for (;;) { a.push(new Array(20000).fill({})); await new Promise((d) => setTimeout(d, 1)) }`,
    ['error', 'limit', 'timeout'],
  ),
]

function bomb(
  name: string,
  because: string,
  code: string,
  expect: readonly End[] = ['error', 'limit', 'timeout'],
): Case {
  return { name, family: 'memory', because, code, expect }
}
