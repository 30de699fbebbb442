import type { Case } from '../case.ts'
import { bytesOf, callsImport } from '../wasm.ts'

const js = String.raw

/** Host resources that a job must not reach, and their effects. */
export const reach: readonly Case[] = [
  effect(
    'process-global',
    'a process object would give pid, environment and exit',
    js`if (typeof process !== 'undefined') found('process', process.pid ?? process)`,
    true,
  ),
  effect(
    'process-env',
    'the environment holds secrets',
    js`const p = typeof process === 'object' ? process : F('return typeof process === "object" && process')(); found('env', p && p.env.HOSTILE_CANARY)`,
  ),
  effect(
    'process-exit',
    'the host is told to leave',
    js`const p = F('return typeof process === "object" && process')(); if (p) { found('exit', p.pid); p.exit(0) }`,
  ),
  effect(
    'process-kill',
    'the host is told to kill itself',
    js`const p = F('return typeof process === "object" && process')(); if (p) { found('kill', p.pid); p.kill(p.pid, 'SIGTERM') }`,
  ),
  effect(
    'process-binding',
    'internal bindings below the module loader',
    js`const p = F('return typeof process === "object" && process')(); for (const k of ['binding', '_linkedBinding', 'dlopen', 'getBuiltinModule']) found(k, p && typeof p[k] === 'function' && k)`,
  ),
  effect(
    'builtin-module',
    'getBuiltinModule gives fs without require',
    js`const p = F('return typeof process === "object" && process')(); const fs = p && p.getBuiltinModule('fs'); found('fs', fs && fs.readFileSync(input.canaryFile, 'utf8'))`,
  ),
  effect(
    'write-file',
    'a file is written on the host',
    js`const p = F('return typeof process === "object" && process')(); const fs = p && p.getBuiltinModule('fs'); if (fs) fs.writeFileSync(input.markFile, 'x')`,
  ),
  effect(
    'child-process',
    'a program is started on the host',
    js`const p = F('return typeof process === "object" && process')(); const c = p && p.getBuiltinModule('child_process'); if (c) c.execFileSync('/usr/bin/touch', [input.markFile])`,
  ),
  effect(
    'worker-threads',
    'a thread with all of Node',
    js`const p = F('return typeof process === "object" && process')(); const w = p && p.getBuiltinModule('worker_threads'); found('worker', w && typeof w.Worker === 'function' && 'yes')`,
  ),
  effect(
    'inspector',
    'the debugger of the host’s own engine',
    js`const p = F('return typeof process === "object" && process')(); const i = p && p.getBuiltinModule('inspector'); if (i) { const s = new i.Session(); s.connect(); found('inspector', 'connected'); s.disconnect() }`,
  ),
  effect(
    'ffi',
    'native code of the host’s address space',
    js`const p = F('return typeof process === "object" && process')(); let f; try { f = p && p.getBuiltinModule('node:ffi') } catch {} found('ffi', f && Object.keys(f).join('+'))`,
    true,
  ),
  effect(
    'require-global',
    'a module loader in scope',
    js`for (const n of ['require', 'module', 'exports', '__filename', '__dirname']) found(n, (0, eval)('typeof ' + n) !== 'undefined' && n)`,
    true,
  ),
  effect(
    'require-main-module',
    'the loader of the main module',
    js`const p = F('return typeof process === "object" && process')(); found('main', p && p.mainModule && 'yes'); const m = p && p.getBuiltinModule('module'); found('createRequire', m && m.createRequire('/')('fs') && 'yes')`,
  ),
  effect(
    'fetch-global',
    'fetch where no network is granted',
    js`if (typeof fetch === 'function') { found('fetch', 'function'); await fetch(input.canaryUrl).catch(() => 0) }`,
    true,
  ),
  effect(
    'fetch-of-the-host',
    'the fetch of the host’s realm',
    js`const f = F('return typeof fetch === "function" && fetch')(); if (f) await f(input.canaryUrl).catch(() => 0)`,
  ),
  effect(
    'network-classes',
    'other ways out: sockets, beacons, workers',
    js`for (const n of ['WebSocket', 'EventSource', 'XMLHttpRequest', 'Worker', 'SharedWorker', 'BroadcastChannel', 'MessageChannel', 'navigator', 'caches', 'localStorage', 'indexedDB', 'importScripts', 'WebTransport', 'RTCPeerConnection']) found(n, typeof globalThis[n] !== 'undefined' && n)`,
    true,
  ),
  effect(
    'net-module',
    'a raw socket from the host’s net',
    js`const p = F('return typeof process === "object" && process')(); const h = p && p.getBuiltinModule('http'); if (h) await new Promise((d) => h.get(input.canaryUrl, (r) => { r.resume(); r.on('end', d) }).on('error', d))`,
  ),
  effect(
    'import-builtin',
    'import() of a built-in',
    js`for (const n of ['node:fs', 'fs', 'node:child_process', 'node:process', 'process', 'inspector/promises', 'node:module', 'module', 'node:vm', 'node:wasi', 'node:worker_threads']) try { const m = await import(n); found(n, Object.keys(m).length) } catch {}`,
    true,
  ),
  effect(
    'import-data-url',
    'import() of a data: URL',
    js`for (const u of ['data:text/javascript,export default 1', 'data:application/json,{}', 'blob:x', 'file://' + input.canaryFile, input.canaryUrl, 'node:fs?x', '/etc/passwd', '../../package.json']) try { found(u.slice(0, 8), Object.keys(await import(u)).length + 1) } catch {}`,
    true,
  ),
  effect(
    'import-attributes',
    'import attributes choose another loader',
    js`for (const t of ['json', 'css', 'wasm', 'text', 'bytes']) try { found(t, (await import('file://' + input.canaryFile, { with: { type: t } })) && 'loaded') } catch {} try { await import('x', { get with() { throw new Error('x') } }) } catch {}`,
    true,
  ),
  effect(
    'import-from-function',
    'import() compiled by Function has another referrer',
    js`for (const C of [Function, F, Object.getPrototypeOf(async () => 0).constructor]) try { found('fs', Object.keys(await C('return import("node:fs")')()).length) } catch {} try { found('eval', Object.keys(await (0, eval)('import("node:fs")')).length) } catch {}`,
    true,
  ),
  effect(
    'import-hostile-specifier',
    'the specifier is an object whose toString runs in the loader',
    js`try { await import({ toString() { const f = () => f(); f() } }) } catch (e) { const P = e.constructor.constructor('return typeof process === "object" && process')(); found('process', P && P.pid) }`,
    true,
  ),
  {
    ...base('import-static-builtin', 'a static import of a built-in in a js module', true),
    entry: 'module',
    expect: ['error', 'blocked'],
    code: js`import fs from 'node:fs'
      export default (input) => 'ESC' + 'APED:' + fs.readFileSync(input.canaryFile, 'utf8')`,
  },
  {
    ...base('import-job-path-escape', 'computed paths climb out of the job’s files', true),
    entry: 'handler',
    expect: ['ok'],
    gives: 'nothing',
    files: [{ path: 'a.cjs', content: 'module.exports = 1' }],
    code: js`exports.handler = () => {
      const out = []
      if (require('./' + 'a.cjs') !== 1) out.push('its own file is missing')
      for (const p of ['../a.cjs', '/../a.cjs', '../../../../../../etc/passwd', './a.cjs/../../../etc/hostname', '/etc/hostname', 'file:///etc/hostname', './%2e%2e/%2e%2e/etc/hostname', 'a.cjs', 'a.cjs\u0000', '.\\..\\a', '/proc/self/environ'])
        for (const how of [require, require.resolve]) try { how(p); out.push('ESC' + 'APED:' + p) } catch {}
      return out.join() || 'nothing' }`,
  },
  {
    ...base(
      'import-cycle-and-tla',
      'modules in a cycle with top-level await that never settles',
      true,
    ),
    entry: 'module',
    expect: ['timeout', 'error'],
    files: [
      { path: 'a.js', content: js`import './b.js'; await new Promise(() => 0); export default 1` },
      { path: 'b.js', content: js`import './a.js'; export const b = 1` },
    ],
    code: js`import a from './a.js'
      export default a`,
  },
  effect(
    'webassembly-absent',
    'WebAssembly memory is not counted, and its compiler is attack surface',
    js`found('WebAssembly', typeof WebAssembly !== 'undefined' && 'there')`,
  ),
  effect(
    'shared-array-buffer-absent',
    'shared memory is a clock and a covert channel',
    js`found('SharedArrayBuffer', typeof SharedArrayBuffer !== 'undefined' && 'there')`,
  ),
  {
    ...effect(
      'shared-memory-by-the-back-door',
      'a shared memory of WebAssembly recovers SharedArrayBuffer',
      js`const S = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }).buffer.constructor; found('shared', S && S.name)`,
    ),
    capabilities: ['webassembly'],
  },
  effect(
    'atomics-wait-async-absent',
    'waitAsync outlives the job',
    js`found('waitAsync', typeof Atomics === 'object' && typeof Atomics.waitAsync === 'function' && 'there')`,
  ),
  effect(
    'weak-refs-absent',
    'WeakRef and FinalizationRegistry run guest code when the collector wants',
    js`found('WeakRef', typeof WeakRef !== 'undefined' && 'there'); found('FinalizationRegistry', typeof FinalizationRegistry !== 'undefined' && 'there')`,
  ),
  effect(
    'deleted-globals-recovered',
    'what was taken from the global object is looked for elsewhere',
    js`
      const roots = [globalThis, Reflect, Intl, Atomics, structuredClone, console, crypto, performance, Iterator, Promise]
      const names = ['WebAssembly', 'SharedArrayBuffer', 'WeakRef', 'FinalizationRegistry', 'ShadowRealm']
      for (const r of roots) { for (const k of Reflect.ownKeys(r)) if (names.includes(k)) found(k, 'there') }
      for (const n of names) try { const v = F('return ' + n)(); found(n, v && 'by Function') } catch {}
      for (const n of names) try { found(n, (0, eval)(n) && 'by eval') } catch {}`,
    true,
  ),
  effect(
    'wasm-module-run',
    'code that analysis cannot see',
    js`const { instance } = await WebAssembly.instantiate(${bytesOf(callsImport)}, { m: { f() { found('wasm', 'ran') } } }); instance.exports.run()`,
  ),
  effect(
    'unexpected-globals',
    'a global that the documentation does not list is a door somebody forgot',
    js`
      const known = new Set(('Object Function Array Number parseFloat parseInt Infinity NaN undefined Boolean String Symbol Date Promise RegExp Error AggregateError SuppressedError EvalError RangeError ReferenceError SyntaxError TypeError URIError globalThis JSON Math Intl Temporal ArrayBuffer Atomics Uint8Array Int8Array Uint16Array Int16Array Uint32Array Int32Array Float16Array Float32Array Float64Array Uint8ClampedArray BigUint64Array BigInt64Array DataView Map BigInt Set Iterator WeakMap WeakSet DisposableStack AsyncDisposableStack Proxy Reflect decodeURI decodeURIComponent encodeURI encodeURIComponent escape unescape eval isFinite isNaN console input call setTimeout clearTimeout setInterval clearInterval queueMicrotask structuredClone TextEncoder TextDecoder URL URLSearchParams atob btoa crypto performance AbortController AbortSignal Event EventTarget DOMException').split(' '))
      const extra = Reflect.ownKeys(globalThis).filter((k) => !known.has(k)).map(String)
      found('extra', extra.length > 0 && extra.join('+'))`,
  ),
  effect(
    'host-canary-global',
    'a value that only the host’s realm has',
    js`found('canary', F('return this.hostCanary || globalThis.hostCanary')())`,
  ),
  effect(
    'source-of-the-bootstrap',
    'the text of lent functions names the host’s paths',
    js`for (const o of [console.log, call, setTimeout, queueMicrotask, structuredClone]) { const s = Function.prototype.toString.call(o); found('path', /node:internal|file:\/\/|\/(usr|home|work|opt)\//.test(s) && 'in source') }`,
    true,
  ),
  effect(
    'paths-in-stacks',
    'a stack names files of the host',
    js`const stacks = []; try { await call('missing', []) } catch (e) { stacks.push(e.stack) } try { null.x } catch (e) { stacks.push(e.stack) } try { new URL('::') } catch (e) { stacks.push(e.stack) } try { setTimeout() } catch (e) { stacks.push(e.stack) } found('path', /file:\/\/|node:internal|\/(usr|home|work|opt|tmp)\//.test(stacks.join()) && 'in stack')`,
  ),
  effect(
    'command-line-and-pid',
    'facts about the host’s process by lent objects',
    js`for (const k of ['timeOrigin', 'nodeTiming', 'eventLoopUtilization', 'timerify', 'getEntries']) found(k, typeof performance === 'object' && (k === 'timeOrigin' ? false : k in performance) && k); found('subtle', typeof crypto === 'object' && crypto.subtle && 'there')`,
    true,
  ),
]

function effect(name: string, because: string, body: string, guard?: true): Case {
  return {
    ...base(name, because, guard),
    code: `${js`
      const said = []
      function found(what, value) { if (value) { const line = 'ESC' + 'APED:' + what + ':' + String(value).slice(0, 60); said.push(line); try { console.log(line) } catch {} } }
      const F = this?.constructor?.constructor ?? console.log.constructor`}
${body}
;return said.join(' ') || 'nothing'`,
  }
}

function base(name: string, because: string, guard?: true): Omit<Case, 'code'> {
  return { name, family: 'reach', because, expect: ['ok', 'error'], ...(guard && { guard }) }
}
