import type { Case } from '../case.ts'

const js = String.raw

/** Jobs of two tenants: the second must not observe any trace of the first. */
export const tenants: readonly Case[] = [
  other(
    'secret-in-global',
    'a secret of one tenant lies about',
    js`globalThis.secret = 'tenant-secret'; return 1`,
    js`return typeof secret !== 'undefined' && found('secret')`,
  ),
  other(
    'secret-in-prototype',
    'a channel through shared prototypes',
    js`input.__proto__.secret = 'tenant-secret'; Object.prototype.secret = 1; return 1`,
    js`return ({}.secret || input.secret) && found('prototype')`,
  ),
  other(
    'secret-on-lent-function',
    'a channel through lent functions',
    js`console.log.secret = setTimeout.secret = call.secret = 'tenant-secret'; return 1`,
    js`return (console.log.secret || setTimeout.secret || call.secret) && found('function')`,
  ),
  {
    ...other(
      'secret-in-files',
      'the files of one tenant’s job, by names that are computed while it runs',
      js`exports.handler = () => require('./' + 'secret.cjs').length`,
      js`exports.handler = () => { for (const p of ['./secret.cjs', './secret.json', '/secret.cjs', '../secret.cjs', 'secret.cjs']) try { require(p); return found('file') } catch {} return 'none' }`,
      ['ok'],
    ),
    entry: 'handler',
  },
  {
    ...other(
      'secret-in-module-cache',
      'a module that another tenant’s job evaluated',
      js`import secret from './secret.js'
      export default () => secret.length`,
      js`import secret from './secret.js'
      export default () => found('module')`,
      ['ok'],
    ),
    entry: 'module',
  },
  other(
    'spy-left-behind',
    'a spy of the first tenant reads the second one’s input',
    js`
      const P = Object.getPrototypeOf(input); Object.defineProperty(P, 'spied', { configurable: true, get() { return 'ESC' + 'APED:' + 'spy' } })
      const T = Object.getPrototypeOf(setTimeout); Object.defineProperty(T, 'spied', { configurable: true, get() { return 1 } })
      return 1`,
    js`return (input.spied || setTimeout.spied) && found('spy')`,
  ),
  other(
    'stringify-spy',
    'toJSON on a shared prototype reads every answer',
    js`Object.getPrototypeOf(input.list).toJSON = function () { return 'spied' }; return 1`,
    js`return JSON.stringify(input.list) === '"spied"' && found('spy')`,
  ),
  other(
    'uninitialised-memory',
    'fresh memory holds what another job wrote',
    js`
      const keep = []; for (let i = 0; i < 50; i++) { const b = new Uint8Array(65536); for (let k = 0; k < b.length; k++) b[k] = 'tenant-secret'.charCodeAt(k % 13); keep.push(b.length) } return keep.length`,
    js`
      for (let i = 0; i < 40; i++) if (new Uint8Array(65536).some((x) => x)) return found('memory')
      if (typeof Buffer === 'function') for (let i = 0; i < 200; i++) if (Buffer.allocUnsafe(4096).includes('tenant-secret')) return found('buffer')
      return 'clean'`,
  ),
  other(
    'shared-pool',
    'a pooled buffer of the host holds another tenant’s text: GHSA-fcqc-726x-5wfc',
    js`if (typeof Buffer === 'function') globalThis.keep = Buffer.from('tenant-secret'); return 1`,
    js`
      if (typeof Buffer !== 'function') return 'none'
      const pool = Buffer.from([0]).buffer; return Buffer.from(pool).includes('tenant-secret') && found('pool')`,
  ),
  other(
    'shared-symbol',
    'the registry of symbols as a channel',
    js`console.log[Symbol.for('tenant-secret')] = 1; return 1`,
    js`return Object.getOwnPropertySymbols(console.log).length > 0 && found('symbol')`,
  ),
  other(
    'timer-of-the-other',
    'a timer of the first tenant acts while the second runs',
    js`setInterval(() => { try { console.log.tick = (console.log.tick ?? 0) + 1; input.list.tick = 1; Object.getPrototypeOf(input.list).tick = 1 } catch {} }, 1); return 1`,
    js`await new Promise((d) => setTimeout(d, 60)); return (console.log.tick || input.list.tick) && found('timer')`,
  ),
  other(
    'output-of-the-other',
    'the first tenant prints into the second one’s output',
    js`setInterval(() => console.log('ESC' + 'APED:' + 'printed'), 5); await 0; return 1`,
    js`await new Promise((d) => setTimeout(d, 60)); return 'quiet'`,
  ),
  other(
    'result-of-the-other',
    'the first tenant answers in the second one’s place',
    js`const t = Promise.prototype.then; Object.getPrototypeOf(call('missing', []).catch(() => 0)).then = function (a, b) { return t.call(this, () => a('ESC' + 'APED:' + 'forged'), b) }; return 1`,
    js`return await 'mine'`,
  ),
  other(
    'starvation-by-cpu',
    'the first tenant’s endless loop takes the second one’s time',
    js`(async () => { for (;;) await null })(); return 1`,
    js`return 'in time'`,
    ['ok', 'timeout'],
  ),
  other(
    'starvation-by-memory',
    'the first tenant’s memory is missing for the second',
    js`globalThis.a = []; for (;;) a.push(new Uint8Array(1e6).fill(1))`,
    js`return new Array(1e6).fill(1).length`,
    ['limit', 'error', 'timeout'],
  ),
  other(
    'starvation-by-timers',
    'the first tenant’s timers keep the second from being served',
    js`for (let i = 0; i < 2e5; i++) try { setInterval(() => 0, 0) } catch { break } await new Promise((d) => queueMicrotask(d)); return 1`,
    js`await new Promise((d) => setTimeout(d, 5)); return 'in time'`,
    ['ok', 'error', 'limit', 'timeout'],
  ),
  other(
    'crash-of-the-other',
    'the first tenant’s crash must not reach the second',
    js`const f = () => { try { call('x').catch(() => 0); f() } catch { try { console.log('x'); f() } catch {} } }; f(); return 1`,
    js`return 'alive'`,
    ['ok', 'error', 'limit', 'timeout'],
  ),
  other(
    'clock-channel',
    'how busy the first tenant was, by a fine clock',
    js`return 1`,
    js`
      const seen = new Set(); try { const end = Date.now() + 20; while (Date.now() < end) seen.add(performance.now()) } catch { return 'none' }
      const at = [...seen].sort((a, b) => a - b); return at.some((t, i) => i && t - at[i - 1] < 0.999) && found('clock')`,
  ),
]

function other(
  name: string,
  because: string,
  code: string,
  second: string,
  expect: Case['expect'] = ['ok', 'error'],
): Case {
  const looks = `const found = (how) => 'ESC' + 'APED:' + how\n${second}`
  return {
    name: `tenant-${name}`,
    family: 'tenants',
    because,
    code,
    files: [
      { path: 'secret.cjs', content: 'module.exports = "tenant-secret"' },
      { path: 'secret.json', content: '"tenant-secret"' },
      { path: 'secret.js', content: 'export default "tenant-secret"' },
    ],
    expect,
    second: { code: looks, tenant: 'other', expect: ['ok', 'error'] },
  }
}
