import type { Case } from '../case.ts'

const js = String.raw

/** Two consecutive jobs of one tenant: the second searches for traces of the first. */
export const state: readonly Case[] = [
  pair(
    'global-variable',
    'a global outlives its job',
    js`globalThis.planted = 1; return 1`,
    js`return typeof planted !== 'undefined' && found('global')`,
  ),
  pair(
    'object-prototype',
    'a polluted prototype outlives its job',
    js`Object.prototype.planted = 1; return 1`,
    js`return {}.planted && found('prototype')`,
  ),
  pair(
    'intrinsic-replaced',
    'a replaced method serves the next job',
    js`Array.prototype.map = () => 'planted'; JSON.parse = () => 'planted'; return 1`,
    js`return ([1].map((x) => x) === 'planted' || JSON.parse('1') === 'planted') && found('intrinsic')`,
  ),
  pair(
    'input-prototype',
    'the prototypes of a live input are the host’s: GHSA-vwrp-x96c-mhwq',
    js`input.__proto__.planted = 1; input.list.__proto__.planted = 1; return 1`,
    js`return (input.planted || input.list.planted) && found('host prototype')`,
  ),
  pair(
    'host-function-property',
    'a property on a lent function',
    js`console.log.planted = 1; call.planted = 1; setTimeout.planted = 1; return 1`,
    js`return [console.log, call, setTimeout].some((f) => f.planted) && found('function')`,
  ),
  pair(
    'host-function-prototype',
    'a property on the prototype of lent functions',
    js`Object.getPrototypeOf(setTimeout).planted = 1; Object.getPrototypeOf(console.log).planted = 1; return 1`,
    js`return (Object.getPrototypeOf(setTimeout).planted || console.log.planted) && found('function prototype')`,
  ),
  pair(
    'host-method-replaced',
    'a method of the host’s prototype is replaced for everybody',
    js`const P = Object.getPrototypeOf(input.list); const old = P.at; P.at = function (i) { return 'planted' }; return 1`,
    js`return input.list.at(0) === 'planted' && found('method')`,
  ),
  pair(
    'lent-class-prototype',
    'a lent class keeps what is put on its prototype',
    js`URL.prototype.planted = TextEncoder.prototype.planted = 1; return 1`,
    js`return (URL.prototype.planted || TextEncoder.prototype.planted) && found('class')`,
  ),
  pair(
    'host-promise-prototype',
    'the prototype of a host’s promise',
    js`const p = call('missing', []); p.catch(() => 0); Object.getPrototypeOf(p).planted = 1; return 1`,
    js`const p = call('missing', []); p.catch(() => 0); return Object.getPrototypeOf(p).planted && found('promise')`,
  ),
  pair(
    'host-error-prototype',
    'the prototype of a host’s error',
    js`try { await call('missing', []) } catch (e) { Object.getPrototypeOf(e).planted = 1 } return 1`,
    js`try { await call('missing', []) } catch (e) { return e.planted && found('error') }`,
  ),
  pair(
    'console-replaced',
    'the next job’s console is the first one’s',
    js`const log = console.log; Object.getPrototypeOf(console).planted = 1; console.log = (...a) => log('planted', ...a); return 1`,
    js`return console.planted && found('console')`,
  ),
  pair(
    'symbol-registry',
    'registered symbols are shared by the whole engine',
    js`Symbol.for('planted'); const f = call; f[Symbol.for('planted')] = 1; return 1`,
    js`return Reflect.ownKeys(call).includes(Symbol.for('planted')) && found('symbol')`,
  ),
  pair(
    'timer-survives',
    'a timer of the first job fires in the second',
    js`setInterval(() => { try { globalThis.planted = 1; console.log.planted = 1; input.list.push('planted') } catch {} }, 1); return 1`,
    js`await new Promise((d) => setTimeout(d, 50)); return (globalThis.planted || console.log.planted || input.list.includes('planted')) && found('timer')`,
  ),
  pair(
    'microtask-survives',
    'a loop of microtasks starves the next job',
    js`(async () => { for (;;) await null })(); return 1`,
    js`return 1`,
    ['ok', 'timeout'],
  ),
  pair(
    'promise-survives',
    'a promise of the first job settles in the second',
    js`setTimeout(() => { Function.prototype.planted = 1 }, 30); return 1`,
    js`await new Promise((d) => setTimeout(d, 60)); return (() => 0).planted && found('promise')`,
  ),
  pair(
    'prepare-stack-trace-survives',
    'a formatter of the first job sees the errors of the second',
    js`Error.prepareStackTrace = () => 'planted'; Error.stackTraceLimit = 1; return 1`,
    js`return String(new Error('x').stack).includes('planted') && found('formatter')`,
  ),
  pair(
    'regexp-statics',
    'the last match is kept beside the engine’s RegExp',
    js`/(secret-\d+)/.exec('secret-42'); return 1`,
    js`return (RegExp.$1 || RegExp.lastMatch).includes('secret') && found('last match')`,
  ),
  pair(
    'frozen-intrinsics',
    'frozen prototypes break the next job',
    js`Object.freeze(Object.prototype); Object.freeze(Array.prototype); Object.freeze(globalThis); return 1`,
    js`const o = {}; try { o.toString = 1; globalThis.x = 1 } catch {} return o.toString !== 1 && found('frozen')`,
  ),
  pair(
    'frozen-host-objects',
    'frozen objects of the host break the next job',
    js`Object.freeze(Object.getPrototypeOf(input)); Object.freeze(Object.getPrototypeOf(input.list)); return 1`,
    js`return (Object.isFrozen(Object.getPrototypeOf(input)) || Object.isFrozen(Object.getPrototypeOf(input.list))) && found('frozen')`,
  ),
  pair(
    'memory-left-behind',
    'what the first job took is not there for the second',
    js`globalThis.a = new Array(1e6).fill(1.5); return 1`,
    js`return new Array(1e6).fill(1.5).length`,
  ),
  pair(
    'after-a-timeout',
    'a job after one that was cut',
    js`globalThis.planted = 1; Object.prototype.planted = 1; for (;;) {}`,
    js`return (globalThis.planted || {}.planted) && found('left')`,
    ['timeout'],
  ),
  pair(
    'after-out-of-memory',
    'a job after one that was out of memory',
    js`globalThis.planted = 1; const a = []; for (;;) a.push(new Array(1000).fill(1))`,
    js`return globalThis.planted && found('left')`,
    ['limit', 'error', 'timeout'],
  ),
  differing(
    'math-random-repeats',
    'a cloned or seeded engine repeats its randomness',
    js`return Array.from({ length: 4 }, () => Math.random())`,
  ),
  differing(
    'crypto-repeats',
    'a cloned process repeats its keys',
    js`return [crypto.randomUUID(), ...crypto.getRandomValues(new Uint32Array(4))]`,
  ),
  differing(
    'math-random-across-contexts',
    'a state of randomness that is shared can be computed from its outputs',
    js`const a = []; for (let i = 0; i < 64; i++) a.push(Math.floor(Math.random() * 2 ** 30)); return a`,
  ),
  {
    name: 'clock-resolution',
    family: 'state',
    because: 'a fine clock times what is not the job’s: clocks step by 1 ms',
    expect: ['ok', 'error'],
    code: js`
      const clocks = { now: () => performance.now(), date: () => Date.now(), intl: () => Temporal.Now.instant().epochNanoseconds, event: () => new Event('x').timeStamp }
      const out = []
      for (const k in clocks) { const seen = new Set(); try { const end = Date.now() + 30; while (Date.now() < end) { const t = clocks[k](); seen.add(typeof t === 'bigint' ? Number(t % 1000000000000n) / 1e6 : t) } } catch { continue }
        const at = [...seen].sort((a, b) => a - b); const steps = at.slice(1).map((t, i) => t - at[i])
        if (steps.some((s) => s > 0 && s < 0.999)) out.push('ESC' + 'APED:' + 'clock:' + k) }
      return out.join(' ') || 'coarse'`,
  },
  {
    name: 'clock-by-shared-counter',
    family: 'state',
    because: 'a counter in shared memory is a clock of any resolution',
    expect: ['ok', 'error', 'timeout'],
    code: js`const c = new Int32Array(new SharedArrayBuffer(4)); Atomics.add(c, 0, 1); return 'ESC' + 'APED:' + 'counter'`,
  },
  {
    name: 'clock-by-time-origin',
    family: 'state',
    because: 'the start of the process tells jobs apart that should not be',
    expect: ['ok', 'error'],
    code: js`return typeof performance === 'object' && performance.timeOrigin % 1 ? 'ESC' + 'APED:' + performance.timeOrigin : 'coarse'`,
    guard: true,
  },
]

function pair(
  name: string,
  because: string,
  code: string,
  second: string,
  expect: Case['expect'] = ['ok', 'error'],
): Case {
  const looks = `const found = (how) => 'ESC' + 'APED:' + how\n${second}`
  return {
    name: `state-${name}`,
    family: 'state',
    because,
    code,
    expect,
    second: { code: looks, expect: ['ok', 'error'] },
  }
}

function differing(name: string, because: string, code: string): Case {
  const expect: Case['expect'] = ['ok']
  return {
    name: `state-${name}`,
    family: 'state',
    because,
    code,
    expect,
    second: { code, differs: true, expect },
    guard: true,
  }
}
