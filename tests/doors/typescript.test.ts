import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { after } from 'node:test'
import { test } from '../fixtures/drawn.ts'
import { makePlace, mayfly } from './program.ts'

const place = makePlace()
after(() => place.remove())

function write(files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    const file = join(place.cwd, name)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
  }
}

const run = (...args: readonly string[]) => mayfly(place, ['run', ...args])

test('an enum, a namespace and a parameter property run, in the source and in files that it imports', async () => {
  write({
    'shapes.ts': `import { Kind, type Named } from './kinds'
;namespace Areas { export const of = (side: number): number => side * side }
class Square implements Named { constructor(readonly name: string, private side = 2) {} get area() { return Areas.of(this.side) } }
const square: Named = new Square(Kind[Kind.Square])
console.log(square.name, (square as Square).area)`,
    'kinds.ts': 'export enum Kind { Round, Square }\nexport interface Named { name: string }',
  })
  const ran = await run('shapes.ts', '--file', 'kinds.ts')
  assert.deepEqual([ran.code, ran.stdout], [0, 'Square 4\n'], ran.stderr)
})

test('TypeScript that needs Node runs in Node, if requested or not, with its own file name and positions', async () => {
  write({
    'tool.ts': `import { readFileSync } from 'fs'
import { sum } from '@lib/sum'
import settings from './settings.json'
;enum Level { Low = 1, High }

interface Row { readonly n: number }
const rows: Row[] = [{ n: 1 }, { n: settings.n }]
if (require.main === module) console.log(sum(rows.map((row) => row.n)), Level.High, __filename.split('/').at(-1))
if (process.argv.length > 9) readFileSync(__filename)
throw new TypeError('told')`,
    'lib/sum.ts':
      'export function sum(list: number[]): number { return list.reduce((a: number, b) => a + b, 0) }',
    'settings.json': '{ "n": 41 }',
    'tsconfig.json': '{ "compilerOptions": { "paths": { "@lib/*": ["./lib/*"] } } } // ours',
  })
  const brought = ['--file', 'lib', 'settings.json', 'tsconfig.json']
  for (const asked of [[], ['--language', 'node']]) {
    const ran = await run('tool.ts', ...brought, ...asked)
    assert.deepEqual([ran.code, ran.stdout], [1, '42 2 tool.ts\n'], ran.stderr)
    assert.match(ran.stderr, /TypeError: told\n {4}at (?:<anonymous> \()?tool\.ts:10:7\)?\n/)
  }
})

test('JavaScript that uses Node features runs in Node: bare built-ins, process, Buffer, CommonJS', async () => {
  write({
    'bare.js': `import os from 'os'\nconsole.log(typeof os.cpus, Buffer.from('a').length, import.meta.main)`,
    'common.js': `function main() { console.log('main', typeof process.pid) }
if (require.main === module) main()
module.exports = { main }`,
    'config.mjs': `console.log('printed')\nexport default { port: 1, on() {} }\nprocess.on('exit', () => console.log('exit'))`,
    'server.mjs': `export default class Server {}\nconsole.log(typeof process.pid)`,
    'class.mjs': `export default class Server {}\nconsole.log('class')`,
  })
  const expected = [
    ['bare.js', 'function 1 true\n'],
    ['common.js', 'main number\n'],
    ['config.mjs', 'printed\nexit\n'],
    ['server.mjs', 'number\n'],
    ['class.mjs', 'class\n'],
  ] as const
  for (const [file, stdout] of expected) {
    const ran = await run(file)
    assert.deepEqual([ran.code, ran.stdout], [0, stdout], ran.stderr)
  }
})

test('an isolate waits for pending work, and never ends ok with unfinished work', async () => {
  write({
    'timer.js': 'setTimeout(() => console.log("fired"), 50)',
    'main.js': `const sleep = (ms) => new Promise((r) => setTimeout(r, ms))
async function main() { await sleep(20); console.log('main'); throw new Error('lost') }
main()`,
    'reject.js': 'Promise.reject(new Error("nobody"))',
    'ticks.js': 'setInterval(() => console.log("tick"), 50)',
    'value.js': 'setTimeout(() => 1, 60_000); return 5',
    'lacks.js': 'return fetch("https://example.com")',
  })
  const timer = await run('timer.js')
  assert.deepEqual([timer.code, timer.stdout], [0, 'fired\n'])
  const main = await run('main.js')
  assert.deepEqual([main.code, main.stdout], [1, 'main\n'])
  assert.match(main.stderr, /Error: lost\n {4}at main \(main\.js:2:\d+\)/)
  assert.equal((await run('reject.js')).code, 1)
  const ticks = await run('ticks.js', '--timeout', '500ms')
  assert.equal(ticks.code, 4)
  assert.match(ticks.stdout, /^(tick\n)+$/)
  const value = await run('value.js')
  assert.deepEqual([value.code, value.stdout], [0, '5\n'])
  assert.match(value.stderr, /1 timer was pending: dropped/)
  const lacks = await run('lacks.js')
  assert.match(
    lacks.stderr,
    /fetch is not defined here: language "js" has no Node; run it with --language node/,
  )
})

test('a transform that grows without end hits the memory limit of its job, on either wall', async () => {
  const doubled = Array.from({ length: 28 }, (_, n) => `a${n + 1} = a${n} + a${n},`).join(' ')
  write({ 'bomb.ts': `enum E { a0 = 'xxxxxxxxxx', ${doubled} }\nconsole.log(1)` })
  for (const language of ['ts', 'node']) {
    const ran = await run('bomb.ts', '--language', language, '--timeout', '3s')
    assert.ok([4, 5].includes(ran.code!), `${ran.code} ${ran.stderr}`)
    assert.equal(ran.stdout, '')
  }
})
