import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from '../inspect.ts'
import { rules } from './rules.ts'

/** Four disguises of the pattern of each rule, which a text search does not find: rules read the syntax tree. */
const ways = ['split strings', 'escapes', 'computed members', 'comments'] as const

const disguised: Readonly<Record<string, readonly [string, string, string, string]>> = {
  VM_ESCAPE: [
    'this["const" + "ructor"]["const" + "ructor"]("return 1")()',
    'this.constr\\u0075ctor.constr\\u{75}ctor("return 1")()',
    'const k = "constructor"; this[k][k]("return 1")()',
    'this /* a */ . /* b */ constructor // c\n.constructor("return 1")()',
  ],
  CRYPTOMINING: [
    'new globalThis["Coin" + "Hive"].Anonymous("k")',
    'new Coin\\u0048ive.Anonymous("k")',
    'new CoinHive["Anonymous"]("k")',
    'new /* a */ CoinHive /* b */ . /* c */ Anonymous("k")',
  ],
  CHILD_PROCESS: [
    'require("child_" + "process").exec("id")',
    'require("child_\\u0070rocess").exec("id")',
    'require("child_process")["exec"]("id")',
    'require(/* a */ "child_process" /* b */) /* c */ .exec("id")',
  ],
  PROCESS_ACCESS: [
    'globalThis["pro" + "cess"].exit()',
    '\\u0070rocess.exit()',
    'process["exit"]()',
    'process /* a */ . /* b */ exit()',
  ],
  FILESYSTEM: [
    'require("f" + "s").readFileSync("x")',
    'require("\\u0066s").readFileSync("x")',
    'require("fs")["readFileSync"]("x")',
    'require(/* a */ "fs") /* b */ .readFileSync("x")',
  ],
  PROTOTYPE_POLLUTION: [
    '({})["__pro" + "to__"].x = 1',
    '({}).__pr\\u006fto__.x = 1',
    'const k = "__proto__"; ({})[k].x = 1',
    '({}) /* a */ . /* b */ __proto__ /* c */ .x = 1',
  ],
  EVAL: [
    'globalThis["ev" + "al"]("1")',
    '\\u0065val("1")',
    'globalThis["eval"]("1")',
    'eval /* a */ (/* b */ "1")',
  ],
  BUFFER_OVERFLOW: [
    'Buffer["all" + "oc"](1e9)',
    'Buffer.all\\u006fc(1e9)',
    'Buffer["allocUnsafe"](1e9)',
    'Buffer /* a */ . /* b */ alloc(/* c */ 1e9)',
  ],
  NETWORK: [
    'globalThis["fe" + "tch"]("http://a.example")',
    'f\\u0065tch("http://a.example")',
    'globalThis["fetch"]("http://a.example")',
    'fetch /* a */ (/* b */ "http://a.example")',
  ],
  REQUIRE: [
    'globalThis["req" + "uire"]("x")',
    'r\\u0065quire("x")',
    'globalThis["require"]("x")',
    'require /* a */ (/* b */ "x")',
  ],
  IMPORT: [
    'import("f" + "s")',
    'import("\\u0066s")',
    'const n = ["fs"]; import(n[0])',
    'import /* a */ (/* b */ "fs")',
  ],
  TIMING_ATTACK: [
    'performance["n" + "ow"]()',
    'perform\\u0061nce.now()',
    'performance["now"]()',
    'performance /* a */ . /* b */ now()',
  ],
}

test('S3-19: each rule finds its pattern in split strings, escapes, computed members and comments', () => {
  assert.deepEqual(Object.keys(disguised).sort(), rules.map(({ name }) => name).sort())
  for (const [name, codes] of Object.entries(disguised))
    for (const [at, code] of codes.entries()) {
      const { found, syntaxError } = inspect({ code, entry: 'auto', files: [] })
      assert.equal(syntaxError, undefined, code)
      const names = found.map((one) => one.name as string)
      assert.ok(names.includes(name), `${name} by ${ways[at]}: ${code}`)
    }
})
