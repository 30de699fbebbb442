import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { inspect } from './inspect.ts'
import { entropyOf, obfuscatedFrom } from './obfuscation.ts'

const look = (code: string) => inspect({ code, language: 'js', entry: 'auto', files: [] })
const isFlagged = (code: string) => look(code).found.some(({ name }) => name === 'OBFUSCATION')
const hex = (text: string) => text.replace(/./g, (unit) => `\\x${unit.charCodeAt(0).toString(16)}`)
const base64 = (text: string) => Buffer.from(text).toString('base64')
const payload =
  'const secret = input.token; console.log(secret.split("").reverse().join("")); return secret'

const packed: Record<string, string> = {
  'a packer': `eval(function(p,a,c,k,e,d){while(c--)if(k[c])p=p.replace(new RegExp('\\\\b'+c.toString(a)+'\\\\b','g'),k[c]);return p}('0 1=2.3;4.5(1)',6,6,'const|secret|input|token|console|log'.split('|')))`,
  'code in base64': `eval(atob("${base64(payload)}"))`,
  'code in base64 made into a function': `new Function(atob("${base64(payload)}"))()`,
  'code in a buffer': `eval(Buffer.from("${base64(payload)}", "base64").toString())`,
  'code in character codes': `eval(String.fromCharCode(${Array.from(payload)
    .map((unit) => unit.charCodeAt(0))
    .join()}))`,
  'code in percent escapes': `eval(unescape("${Array.from(payload)
    .map((unit) => `%${unit.charCodeAt(0).toString(16)}`)
    .join('')}"))`,
  'code turned around': `eval("${Array.from('console.log(input); return input.secretToken').toReversed().join('')}".split("").reverse().join(""))`,
  'text in hexadecimal escapes': `const a = ["${hex('console')}", "${hex('log')}", "${hex('this is the secret text')}"]; globalThis[a[0]][a[1]](a[2])`,
  'names in Unicode escapes': `const t = "${Array.from('the quick brown fox')
    .map((unit) => `\\u00${unit.charCodeAt(0).toString(16)}`)
    .join('')}"; return t`,
  'mangled names': `var _0x3fa1=['log','text'];(function(_0x2b1c,_0x1d){while(--_0x1d)_0x2b1c.push(_0x2b1c.shift())}(_0x3fa1,3));var _0x5c=function(_0x9a,_0x8b){return _0x3fa1[_0x9a-0]};console[_0x5c('0x0')](_0x5c('0x1'))`,
  'code in six characters': Array(3)
    .fill('[][(![]+[])[+[]]+(![]+[])[!+[]+!+[]]+(![]+[])[+!+[]]+(!![]+[])[+[]]]')
    .join('+'),
  'globals in pieces': `globalThis["fe"+"tch"]("a"); globalThis["pro"+"cess"].exit(); globalThis["ev"+"al"]("1"); globalThis["req"+"uire"]("x")`,
}

for (const [name, code] of Object.entries(packed)) {
  test(`S3-23: packed code is flagged: ${name}`, () => {
    const { found, behaviorScore } = look(code)
    assert.ok(isFlagged(code), JSON.stringify(found))
    assert.ok(behaviorScore >= obfuscatedFrom)
  })
}

const minified = [
  'marked/lib/marked.umd.js',
  'marked/lib/marked.esm.js',
  'handlebars/dist/handlebars.min.js',
  'handlebars/dist/handlebars.runtime.min.js',
  'lodash/lodash.min.js',
  'lodash/core.min.js',
]

for (const file of minified) {
  test(`S3-23: a minified library is not flagged: ${file}`, () => {
    const code = readFileSync(new URL(`../../node_modules/${file}`, import.meta.url), 'utf8')
    const { syntaxError, found } = look(code)
    assert.equal(syntaxError, undefined)
    assert.ok(!found.some(({ name }) => name === 'UNPARSED' || name === 'OBFUSCATION'))
  })
}

const plain: Record<string, string> = {
  'a data address': `return "data:image/png;base64,${base64(payload.repeat(20))}"`,
  'a table of numbers': `return [${Array.from({ length: 500 }, (_, index) => index * 7).join()}]`,
  'decoding input': 'return JSON.parse(atob(input))',
  'a few escapes': 'return "\\x1b[31mred\\x1b[0m \\u00e9 \\u2028 \\x41"',
  'text in another script': 'const 名前 = "日本語のテキスト"; return 名前',
  underscores: 'const _ = input; return _.map((__) => __ + 1)',
  'a short decoder': 'return String.fromCharCode(72, 105)',
}

for (const [name, code] of Object.entries(plain)) {
  test(`S3-23: honest code is not flagged: ${name}`, () => {
    assert.equal(look(code).syntaxError, undefined)
    assert.ok(!isFlagged(code))
  })
}

test('entropy is bits a unit', () => {
  assert.equal(entropyOf('aaaa'), 0)
  assert.equal(entropyOf('abab'), 1)
  assert.equal(entropyOf(''), 0)
})
