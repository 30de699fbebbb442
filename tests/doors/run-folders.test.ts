import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { after } from 'node:test'
import { test } from '../fixtures/drawn.ts'
import { makePlace, mayfly } from './program.ts'

/** A source in a subfolder of a project that is copied, run from the project's root. */
const place = makePlace()
after(() => place.remove())

function write(files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    const file = join(place.cwd, 'project', name)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
  }
}

const run = (...args: readonly string[]) =>
  mayfly({ ...place, cwd: join(place.cwd, 'project') }, ['run', ...args])

write({
  'src/isolated.js': `import { of } from './part.js'\nconsole.log(of(1))\nthrow new Error('told')`,
  'src/part.js': `export const of = (value) => value + 1`,
  'src/typed.ts': `import { Kind } from './kinds/index.js'\nimport { top } from '../top'\n;console.log(Kind.Round, top as number)`,
  'src/kinds/index.ts': `import { back } from '../back'\n;export enum Kind { Round = back }`,
  'src/back.ts': `export const back = 7`,
  'top.ts': `export const top: number = 8`,
  'src/loads.js': `const { of } = require('./common.cjs')
console.log(of, require('node:path').relative('.', __filename), process.cwd() === require('node:path').join(__dirname, '..'))
console.log(require('node:fs').readdirSync(__dirname).filter((name) => name.startsWith('loads')).join())`,
  'src/common.cjs': `exports.of = 9`,
  'src/through.ts': `import { say } from './first'\n;say()`,
  'src/first.ts': `export { say } from './second'`,
  'src/second.ts': `import { EventEmitter } from 'node:events'\n;export const say = () => console.log(typeof EventEmitter)`,
  'src/app.py': `import os, sys
import beside
print(beside.of, sys.argv[0], os.path.relpath(sys.path[0]), os.path.relpath(__file__))
print([name for name in os.listdir('src') if name.startswith('app') and name.endswith('.py')])
raise SystemExit(3)`,
  'src/beside.py': `of = 10`,
  'src/app.sh': `. src/more.sh\necho "$0 $of"\nls src | grep '^app.sh'`,
  'src/more.sh': `of=11`,
})

test('an isolate resolves imports relative to the folder of the source, in JavaScript and TypeScript', async () => {
  const plain = await run('src/isolated.js', '--file', '.')
  assert.deepEqual([plain.code, plain.stdout], [1, '2\n'], plain.stderr)
  assert.match(plain.stderr, / at src\/isolated\.js:3:7\n.* isolate /)
  const typed = await run('src/typed.ts', '--file', '.')
  assert.deepEqual([typed.code, typed.stdout], [0, '7 8\n'], typed.stderr)
})

for (const wall of ['bubblewrap', 'embedded']) {
  const asked = ['--file', '.', '--provider', wall]

  test(`${wall}: a program in a folder is placed there once, beside its modules, and its working folder is the root`, async () => {
    const loads = await run('src/loads.js', ...asked)
    assert.equal(loads.stdout, '9 src/loads.js true\nloads.js\n', loads.stderr)
    const python = await run('src/app.py', ...asked)
    assert.equal(python.stdout, "10 src/app.py src src/app.py\n['app.py']\n", python.stderr)
    const shell = await run('src/app.sh', ...asked)
    assert.equal(shell.stdout, 'src/app.sh 11\napp.sh\n', shell.stderr)
    const typed = await run('src/typed.ts', '--language', 'node', ...asked)
    assert.equal(typed.stdout, '7 8\n', typed.stderr)
  })

  test(`${wall}: a source runs in Node if an indirectly imported file needs Node`, async () => {
    const ran = await run('src/through.ts', ...asked)
    assert.deepEqual([ran.code, ran.stdout], [0, 'function\n'], ran.stderr)
  })
}

test('a source keeps only its file name if nothing of its folder is copied', async () => {
  const ran = await run('src/app.sh', '--file', 'src/more.sh=src/more.sh')
  assert.match(ran.stdout, /^src\/app\.sh 11\n/, ran.stderr)
  write({ 'lone/lone.sh': 'echo "$0"' })
  assert.equal((await run('lone/lone.sh')).stdout, 'lone.sh\n')
})

test('an executable script can start itself by its own name', async () => {
  write({ 'again.sh': '#!/bin/sh\n[ "${1:-}" = inner ] && echo inner && exit 4\n"$0" inner' })
  chmodSync(join(place.cwd, 'project/again.sh'), 0o755)
  const ran = await run('again.sh', '--file', '.', '--pass-exit-code')
  assert.deepEqual([ran.code, ran.stdout], [4, 'inner\n'], ran.stderr)
})

test('an unresolved import is reported as it is written', async () => {
  write({ 'wrong.ts': `import { a } from './lib/sumary'\nimport 'node:fs'\nconsole.log(a)` })
  const { code, stderr } = await run('wrong.ts', '--file', '.')
  assert.equal(code, 1)
  assert.match(stderr, /Cannot find module '\.\/lib\/sumary' imported from \S*wrong\.ts/)
})
