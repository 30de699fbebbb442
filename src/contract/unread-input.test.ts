import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Job } from './job.ts'
import type { Outcome } from './outcome.ts'
import { outcomeFor } from './outcome-for.ts'
import type { EntryPoint } from './remedy.ts'
import { unreadInput } from './unread-input.ts'
import type { Verdict } from './verdict.ts'

interface Given {
  readonly entry?: Verdict['entry']
  readonly input?: unknown
  readonly files?: readonly { readonly path: string; readonly content: string }[]
}

const quiet = { resultText: 'null', hasOutput: false }

function warningOf(
  language: Verdict['language'],
  code: string,
  { entry = 'program', input, files = [] }: Given = {},
  ended = quiet,
): string | undefined {
  const asked = { code, input, entry: 'auto', files } as unknown as Job['asked']
  return unreadInput({ asked }, { language, entry }, ended)
}

const input = { n: 4 }
const callees = [
  ['node', 'exports.handler = async ({ n }) => n', 'handler', 'handler'],
  ['node', '  module.exports.handler = f', 'handler', 'handler'],
  ['node', 'module.exports = { other, handler: f }', 'handler', 'handler'],
  ['node', 'module.exports = async ({ n }) => n', 'module', 'module.exports'],
  ['js', 'export const handler = async ({ n }) => n', 'handler', 'handler'],
  ['ts', 'export async function handler(e: unknown) {}', 'handler', 'handler'],
  ['js', 'function f() {}\nexport { f as handler }', 'handler', 'handler'],
  ['python', 'def handler(event, context):\n    return 1', 'handler', 'handler'],
  ['python', 'async def lambda_handler(event, context): ...', 'handler', 'lambda_handler'],
] as const

test('A function that waits for the input and that nothing calls is named with the entry that calls it', () => {
  for (const [language, code, entry, name] of callees) {
    const call = `calls "${name}" ("entry": "${entry}" does)`
    assert.equal(warningOf(language, code), `Nothing ${call}`)
    assert.equal(warningOf(language, code, { input }), `The input was not read: nothing ${call}`)
    const done = { resultText: '1', hasOutput: true }
    assert.equal(warningOf(language, code, {}, done), undefined)
    assert.equal(warningOf(language, code, { entry: 'handler' }), undefined)
    const outcome = { warnings: [`Nothing ${call}`] } as unknown as Outcome
    const own = (entryPoint: EntryPoint) => outcomeFor(entryPoint, outcome).warnings
    assert.deepEqual(own('run'), [`Nothing calls "${name}" (--entry ${entry} does)`])
    for (const one of ['run_code', 'page'] as const)
      assert.deepEqual(own(one), [
        `Nothing calls "${name}" (a line of the code that calls it does)`,
      ])
  }
})

test('An input that no code reads is reported with the place where it is', () => {
  for (const [language, code, place] of [
    ['node', 'console.log(1)', /standard input/],
    ['js', 'return 1', /the global "input"/],
    ['python', 'print(1)', /the global "input"/],
    ['sh', 'echo 1', /JSON on standard input/],
    ['bash', 'ls; printf "%s" "$1"', /JSON on standard input/],
  ] as const) {
    const entry = language === 'js' ? 'body' : 'program'
    const told = warningOf(language, code, { input, entry }, { resultText: '1', hasOutput: true })
    assert.match(told ?? '', /^The input was not read: it is /, code)
    assert.match(told ?? '', place)
    assert.equal(warningOf(language, code, { entry }), undefined)
    assert.equal(warningOf(language, code, { entry, input: null }), undefined)
  }
})

test('A source that may read its input, or whose function was called, is not warned of', () => {
  for (const [language, code, entry] of [
    ['js', 'return input.n', 'body'],
    ['js', 'export default (x) => x', 'module'],
    ['js', 'function f(a) { return a }', 'function'],
    ['node', 'process.stdin.pipe(process.stdout)', 'program'],
    ['node', 'require("fs").readFileSync(0)', 'program'],
    ['node', 'export default (x) => x', 'module'],
    ['python', 'def main(n):\n    return n', 'auto'],
    ['python', 'import json, sys\nprint(json.load(sys.stdin))', 'auto'],
    ['sh', 'cat', 'program'],
    ['bash', 'read -r line; echo "$line"', 'program'],
    ['sh', './tool', 'program'],
    ['wasm', '', 'program'],
  ] as const)
    assert.equal(warningOf(language, code, { entry, input }), undefined, code)
  const files = [{ path: 'lib.py', content: 'import sys; sys.stdin.read()' }]
  assert.equal(warningOf('python', 'import lib', { input, files }), undefined)
  const signal = 'def handler(signum, frame): pass\nsignal.signal(signal.SIGTERM, handler)'
  assert.equal(warningOf('python', signal), undefined)
})

/** Sources of a few hundred kilobytes in which a careless pattern begins again at each piece. */
const pieces = [
  '\n',
  '\t',
  '\r\n',
  'export{',
  '\nexport {',
  '\nmodule.exports={',
  'export ',
  'def main(',
  'input ',
]

test('Attack: no source costs the server more than a moment', () => {
  for (const language of ['node', 'js', 'python', 'sh'] as const)
    for (const piece of pieces) {
      const code = piece.repeat(40_000)
      const { user } = process.cpuUsage()
      warningOf(language, code, { input })
      const ms = (process.cpuUsage().user - user) / 1000
      // Some milliseconds, against ten seconds where a pattern begins again at each piece.
      assert.ok(ms < 1000, `${ms} ms for ${JSON.stringify(piece)} as ${language}`)
    }
})
