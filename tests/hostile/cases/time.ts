import type { Case, End } from '../case.ts'
import { bytesOf, loops } from '../wasm.ts'

const js = String.raw

/** Endless work, and work that no limit inside the engine can interrupt. */
export const time: readonly Case[] = [
  slow('busy-loop', 'the simplest of all', js`for (;;) {}`),
  slow(
    'busy-loop-in-finally',
    'finally blocks run on the way out of a termination',
    js`try { for (;;) {} } finally { for (;;) {} }`,
  ),
  slow(
    'catch-everything',
    'the loop catches whatever is thrown at it',
    js`const f = () => { for (;;) try { for (;;) {} } catch {} }; f()`,
  ),
  slow(
    'microtask-loop',
    'microtasks that queue microtasks never return to the event loop',
    js`const f = () => Promise.resolve().then(f); await f()`,
    ['timeout', 'limit'],
  ),
  slow(
    'queue-microtask-loop',
    'the same by queueMicrotask',
    js`const f = () => queueMicrotask(f); f(); await new Promise(() => 0)`,
    ['timeout', 'limit'],
  ),
  slow('async-spin', 'each await gives way, none of them ends', js`for (;;) await 0`),
  slow(
    'async-spin-after-return',
    'the job has answered; its loop goes on',
    js`(async () => { for (;;) await null })(); return 1`,
    ['ok', 'timeout'],
  ),
  slow(
    'async-busy-loop-later',
    'a busy loop that starts when the synchronous part is over',
    js`await 0; for (;;) {}`,
  ),
  slow(
    'busy-loop-after-return',
    'a busy loop in a timer after the answer',
    js`setTimeout(() => { for (;;) {} }, 1); return 1`,
    ['ok', 'timeout'],
  ),
  slow(
    'never-settles',
    'waiting costs no cpu, so that only a wall clock ends it',
    js`await new Promise(() => 0)`,
  ),
  slow(
    'interval-forever',
    'an interval keeps the job alive',
    js`await new Promise(() => setInterval(() => 0, 0))`,
  ),
  slow(
    'timers-that-breed',
    'each timer makes two',
    js`const f = () => { setTimeout(f, 0); setTimeout(f, 0) }; f(); await new Promise(() => 0)`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'timers-flood',
    'a million timers at once',
    js`for (let i = 0; i < 1e6; i++) setTimeout(() => 0, 1e6); await new Promise(() => 0)`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'timer-after-the-limit',
    'a timer set for after the end',
    js`setTimeout(() => { console.log('ESC' + 'APED:late') }, 900); await new Promise((d) => setTimeout(d, 1e9))`,
  ),
  slow('regex-catastrophic', 'backtracking', js`return /^(\w+\s?)*$/.test('a'.repeat(40) + '!')`),
  slow(
    'regex-nested-quantifiers',
    'backtracking with captures and lookahead',
    js`return /^(?:(a+)+|(?=(b*))\2c)*$/.exec('a'.repeat(34) + 'x')`,
  ),
  slow(
    'regex-replace-callback',
    'a replace that calls back for ever',
    js`const s = 'a'.repeat(1e6); for (;;) s.replace(/a/g, () => 'b')`,
  ),
  slow(
    'regex-split-unicode',
    'a case-insensitive unicode search over a long text',
    js`const s = '\u{1F600}a'.repeat(2e6); for (;;) s.search(/(?:\p{L}\p{Emoji})*x/iu)`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'getter-while-serialised',
    'a getter that loops while the result is written out',
    js`return { get x() { for (;;) {} } }`,
  ),
  slow('to-json-loops', 'toJSON that never returns', js`return { toJSON() { for (;;) {} } }`, [
    'timeout',
    'error',
  ]),
  slow(
    'proxy-result-loops',
    'a proxy with keys without end as the result',
    js`return new Proxy({}, { ownKeys() { for (;;) {} } })`,
  ),
  slow(
    'thenable-result-never',
    'a thenable result that never calls back',
    js`return { then() {} }`,
  ),
  slow(
    'thenable-result-forever',
    'a thenable that resolves with another one, for ever',
    js`const t = () => ({ then(r) { r(t()) } }); return t()`,
  ),
  slow(
    'iterator-endless-spread',
    'spreading an endless iterator',
    js`function* g() { for (;;) yield 1 } return Math.max(...g())`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'generator-endless',
    'an endless generator that allocates nothing',
    js`function* g() { for (;;) yield } for (const _ of g());`,
  ),
  slow(
    'async-generator-endless',
    'the same asynchronously',
    js`async function* g() { for (;;) yield } for await (const _ of g());`,
  ),
  slow(
    'iterator-helpers-endless',
    'native loops over an endless iterator',
    js`return Iterator.from({ next: () => ({ done: false }) }).map((x) => x).filter(() => false).next()`,
  ),
  slow(
    'array-from-endless',
    'Array.from over an array-like that says it is long',
    js`return Array.from({ length: 2 ** 31 }, () => 0).length`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'bigint-squaring',
    'one native operation longer than the limit: it cannot be interrupted',
    js`let x = 3n; for (;;) x *= x`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'bigint-power',
    'a power of a large number in one operation',
    js`return ((2n ** 2000000n - 1n) ** 13n).toString().length`,
    ['timeout', 'limit', 'error', 'ok'],
  ),
  slow(
    'bigint-to-string',
    'conversion to decimal is quadratic and native',
    js`let x = (1n << 20000000n) - 1n; for (;;) x.toString(10)`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'bigint-parse',
    'conversion from decimal',
    js`const s = '9'.repeat(5e6); for (;;) BigInt(s)`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'string-normalize',
    'normalisation is native',
    js`const s = '\u0344\u1e9b\u0323'.repeat(3e6); for (;;) s.normalize('NFKD')`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'string-locale-compare',
    'collation is native',
    js`const s = '\u00e9\u0301'.repeat(3e6); for (;;) s.localeCompare(s + 'x')`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'intl-construct',
    'Intl objects load data in native code',
    js`for (;;) new Intl.DateTimeFormat('ar-u-ca-islamic', { dateStyle: 'full' }).format(1)`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'intl-segmenter',
    'segmenting a long text',
    js`const s = 'ก'.repeat(2e6); for (const _ of new Intl.Segmenter('th', { granularity: 'word' }).segment(s));`,
    ['timeout', 'limit', 'error', 'ok'],
  ),
  slow(
    'array-sort-comparator',
    'a comparator that loops inside a native sort',
    js`[3, 2, 1].sort(() => { for (;;) {} })`,
  ),
  slow(
    'array-sort-sparse',
    'sorting a sparse array of great length',
    js`const a = []; a.length = 2 ** 32 - 1; a.sort()`,
    ['timeout', 'limit', 'error', 'ok'],
  ),
  slow(
    'array-reverse-sparse',
    'reversing a sparse array walks all of its length',
    js`const a = [1]; a.length = 2 ** 32 - 1; a.reverse()`,
    ['timeout', 'limit', 'error', 'ok'],
  ),
  slow(
    'array-like-native-loop',
    'an array method over an object with a huge length',
    js`Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1)`,
  ),
  slow(
    'array-like-reverse',
    'the same with writes',
    js`Array.prototype.reverse.call({ length: 2 ** 53 - 1 })`,
    // Memory accumulates: on a fast machine that limit is reached before the timeout.
    ['timeout', 'limit'],
  ),
  slow(
    'typed-array-fill-loop',
    'large native fills one after the other',
    js`const a = new Uint8Array(2e7); for (;;) a.fill(1)`,
  ),
  slow(
    'typed-array-sort',
    'a native sort of a large array',
    js`const a = new Float64Array(3e6).map(Math.random); for (;;) a.sort()`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'json-parse-loop',
    'parsing a large text over and over',
    js`const s = '[' + '1,'.repeat(1e6) + '1]'; for (;;) JSON.parse(s)`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'json-stringify-nested',
    'an object shared by itself so often that its text has no end',
    js`let o = {}; for (let i = 0; i < 60; i++) o = { a: o, b: o }; return JSON.stringify(o).length`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'rope-flatten',
    'a rope is flattened again and again',
    js`let s = 'ab'; for (let i = 0; i < 23; i++) s += s; for (;;) { (s + 'c').charCodeAt(1); }`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'rope-replace',
    'replace over a large rope',
    js`let s = 'ab'; for (let i = 0; i < 22; i++) s += s; for (;;) s.replaceAll('a', 'cc')`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'string-index-of',
    'a search that is quadratic',
    js`const s = 'a'.repeat(4e6); for (;;) s.indexOf('a'.repeat(2e6) + 'b')`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'decode-uri',
    'native decoding of a long text',
    js`const s = '%41'.repeat(4e6); for (;;) decodeURIComponent(s)`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'date-parse',
    'parsing dates of great length',
    js`const s = '('.repeat(1e7); for (;;) Date.parse(s)`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'eval-loop',
    'the compiler is kept busy',
    js`const s = 'x=>{' + 'a+'.repeat(2e5) + '1}'; for (;;) (0, eval)('(' + s + ')')`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'function-constructor-loop',
    'the same by Function',
    js`for (let i = 0; ; i++) Function('return ' + i + '+'.repeat(0) + ';'.repeat(1e5))()`,
    ['timeout', 'limit', 'error'],
  ),
  slow(
    'error-message-getter',
    'an error whose message loops: the host asks for it',
    js`throw Object.defineProperty(new Error(), 'message', { get() { for (;;) {} } })`,
    ['timeout', 'error', 'limit'],
  ),
  slow(
    'error-stack-getter',
    'an error whose stack loops',
    js`throw Object.defineProperty(new Error('x'), 'stack', { get() { for (;;) {} } })`,
    ['timeout', 'error', 'limit'],
  ),
  slow(
    'error-name-getter',
    'an error whose name loops',
    js`throw Object.defineProperty(new Error('x'), 'name', { get() { for (;;) {} } })`,
    ['timeout', 'error', 'limit'],
  ),
  slow(
    'error-cause-chain',
    'causes without end',
    js`const e = (n) => Object.defineProperty(new Error('x' + n), 'cause', { get: () => e(n + 1) }); throw e(0)`,
    ['timeout', 'error', 'limit'],
  ),
  slow(
    'error-to-string-loops',
    'a thrown object whose conversion loops',
    js`throw { toString() { for (;;) {} }, [Symbol.toPrimitive]() { for (;;) {} } }`,
    ['timeout', 'error', 'limit'],
  ),
  slow(
    'thrown-proxy-loops',
    'a thrown proxy whose every trap loops',
    js`throw new Proxy({}, new Proxy({}, { get() { for (;;) {} } }))`,
    ['timeout', 'error', 'limit'],
  ),
  slow(
    'thrown-proxy-prototype-loops',
    'a thrown proxy that loops when asked whether it is an Error',
    js`throw new Proxy({}, { getPrototypeOf() { for (;;) {} } })`,
    ['timeout', 'error', 'limit'],
  ),
  slow(
    'prepare-stack-trace-loops',
    'formatting the stack of an engine’s error runs guest code that loops',
    js`Error.prepareStackTrace = () => { for (;;) {} }; null.x`,
    ['timeout', 'error', 'limit'],
  ),
  slow(
    'rejection-with-looping-error',
    'the same as a rejection nobody handles',
    js`Promise.reject(Object.defineProperty(new Error(), 'message', { get() { for (;;) {} } })); await new Promise((d) => setTimeout(d, 50))`,
    ['timeout', 'error', 'limit', 'ok'],
  ),
  slow(
    'console-argument-loops',
    'the console formats an object that loops',
    js`console.log({ get x() { for (;;) {} }, toString() { for (;;) {} }, toJSON() { for (;;) {} } })`,
    ['timeout', 'error', 'ok', 'limit'],
  ),
  slow(
    'console-proxy-loops',
    'the console looks at a proxy that loops',
    js`console.log(new Proxy([], new Proxy({}, { get() { for (;;) {} } })))`,
    ['timeout', 'error', 'ok', 'limit'],
  ),
  slow(
    'call-argument-loops',
    'an argument of a capability call that loops',
    js`await call('missing', [{ toJSON() { for (;;) {} } }])`,
    ['timeout', 'error', 'limit'],
  ),
  slow(
    'timer-argument-loops',
    'a delay that loops while it is converted',
    js`setTimeout(() => 0, { valueOf() { for (;;) {} } }); return 1`,
    ['timeout', 'error', 'ok'],
  ),
  slow(
    'finalization-after-end',
    'a cleanup callback runs after the end: vm2’s advisory on FinalizationRegistry',
    js`
      const r = new FinalizationRegistry(() => { for (;;) {} }); globalThis.keep = r
      for (let i = 0; i < 1e4; i++) r.register({ i }, i)
      const a = []; for (let i = 0; i < 200; i++) { a.push(new Array(1e4).fill(i)); await 0 }
      return 1`,
    ['ok', 'error', 'timeout', 'limit'],
  ),
  slow(
    'wasm-loop',
    'compiled code that loops',
    js`new WebAssembly.Instance(new WebAssembly.Module(${bytesOf(loops)})).exports.run()`,
    ['timeout', 'error'],
  ),
  slow(
    'atomics-wait',
    'a blocking wait on shared memory',
    js`Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)`,
    ['timeout', 'error'],
  ),
  slow(
    'dispose-loops',
    'disposal on the way out of a termination',
    js`using x = { [Symbol.dispose]() { for (;;) {} } }; for (;;) {}`,
  ),
  slow(
    'class-static-block-loops',
    'a loop while a class is defined',
    js`class A { static { for (;;) {} } }`,
  ),
  slow(
    'default-parameter-loops',
    'a loop while parameters are bound',
    js`((a = (() => { for (;;) {} })()) => a)()`,
  ),
  {
    ...slow(
      'module-evaluation-loops',
      'a loop while a dependency is evaluated',
      js`import './a.js'
export default 1`,
    ),
    entry: 'module',
    files: [{ path: 'a.js', content: 'for (;;) {}' }],
  },
  {
    ...slow(
      'module-default-loops',
      'a loop in the default export',
      js`export default function () { for (;;) {} }`,
    ),
    entry: 'module',
  },
  {
    ...slow(
      'module-thenable-namespace',
      'a module that exports then is a thenable that never calls back',
      js`export function then() { for (;;) {} }
export default 1`,
      ['ok', 'error', 'timeout'],
    ),
    entry: 'module',
  },
]

function slow(
  name: string,
  because: string,
  code: string,
  expect: readonly End[] = ['timeout'],
): Case {
  return { name, family: 'time', because, code, expect }
}
