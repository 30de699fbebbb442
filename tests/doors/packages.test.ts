import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { after, suite } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Mayfly } from '../../src/index.ts'
import { layerFolder, layerFolderFor } from '../../src/lib/cache-folder.ts'
import { serverUid } from '../../src/contract/uids.ts'
import { test } from '../fixtures/drawn.ts'
import { hasNoWall } from '../walls/process-stands.ts'
import { documentOf, makePlace, mayfly } from './program.ts'

/** Packages of a project, by the real command and behind each wall that holds programs. */
const place = makePlace()
after(() => place.remove())
const here = fileURLToPath(new URL('../../node_modules', import.meta.url))
const programWalls = ['bubblewrap', 'embedded', 'gvisor'] as const
/** The default escalation asks for gVisor from the risk of packages that analysis cannot clear. */
const lenient = 'lenient.toml'

function write(name: string, text: string): void {
  mkdirSync(dirname(join(place.cwd, name)), { recursive: true })
  writeFileSync(join(place.cwd, name), text)
}

function link(name: string, target: string): void {
  mkdirSync(dirname(join(place.cwd, name)), { recursive: true })
  symlinkSync(target, join(place.cwd, name))
}

async function outcomeOf(...args: readonly string[]): Promise<any> {
  const ran = await mayfly(place, [
    'run',
    ...args,
    '--config',
    lenient,
    '--timeout',
    '20s',
    '--json',
  ])
  return { ...documentOf(ran), told: ran.stderr }
}

write(lenient, '[escalation]\n0 = "isolate"\n95 = "block"\n')
const project = (name: string) => write(`${name}/package.json`, '{"type":"module"}')

project('app')
write('app/plain.js', 'return 1')
for (const name of ['zod', 'ws', 'hono', 'oxc-parser', '@oxc-parser', '@oxc-project'])
  cpSync(join(here, name), join(place.cwd, 'app/node_modules', name), { recursive: true })
write('app/node_modules/old/index.js', 'exports.name = require("./lib").name')
write('app/node_modules/old/lib/index.js', 'exports.name = "commonjs"')
write('app/node_modules/old/cli.js', '#!/usr/bin/env node\nconsole.log("tool ran")')
execFileSync('chmod', ['755', join(place.cwd, 'app/node_modules/old/cli.js')])
link('app/node_modules/.bin/tool', '../old/cli.js')
link('app/node_modules/leaves', '/etc')
write('app/node_modules/.pnpm/s@1/node_modules/s/index.js', 'module.exports = require("t") + 1')
write('app/node_modules/.pnpm/t@1/node_modules/t/index.js', 'module.exports = 41')
link('app/node_modules/.pnpm/s@1/node_modules/t', '../../t@1/node_modules/t')
link('app/node_modules/s', '.pnpm/s@1/node_modules/s')
write(
  'app/all.js',
  `import { z } from 'zod'
import { WebSocketServer } from 'ws'
import { Hono } from 'hono'
import { parseSync } from 'oxc-parser'
import old from 'old'
import s from 's'
import { execFileSync } from 'node:child_process'
const app = new Hono().get('/', (c) => c.text('served'))
export default async () => ({
  zod: z.object({ a: z.number() }).parse({ a: 1 }).a,
  ws: typeof WebSocketServer,
  hono: await (await app.request('/')).text(),
  native: parseSync('a.js', 'let a = 1').program.body.length,
  commonjs: old.name,
  pnpm: s,
  tool: execFileSync('node_modules/.bin/tool').toString().trim(),
})`,
)
write(
  'app/attack.js',
  `import fs from 'node:fs'
import { execFileSync } from 'node:child_process'
import 'old'
const file = '/work/node_modules/old/index.js'
const tries = {
  write: () => fs.writeFileSync(file, 'bad'),
  append: () => fs.appendFileSync(file, 'bad'),
  create: () => fs.writeFileSync('/work/node_modules/new.js', 'bad'),
  remove: () => fs.rmSync(file),
  chmod: () => fs.chmodSync(file, 0o777),
  times: () => fs.utimesSync(file, 1, 1),
  rename: () => fs.renameSync('/work/node_modules', '/work/moved'),
  replace: () => fs.rmdirSync('/work/node_modules'),
  link: () => fs.linkSync(file, '/work/other.js'),
  remount: () => execFileSync('mount', ['-o', 'remount,rw', '/work/node_modules'], { stdio: 'pipe' }),
  unmount: () => execFileSync('umount', ['/work/node_modules'], { stdio: 'pipe' }),
  namespace: () => execFileSync('unshare', ['-rm', 'true'], { stdio: 'pipe' }),
  descriptor: () => fs.openSync('/proc/self/fd/' + fs.openSync(file, 'r'), 'r+'),
}
const done = []
for (const [name, attempt] of Object.entries(tries)) {
  try { attempt(); done.push(name) } catch {}
}
const others = ['/var/cache/mayfly', '/root/.cache/mayfly'].filter((one) => fs.existsSync(one))
export default () => ({ done, others, text: fs.readFileSync(file, 'utf8') })`,
)

for (const provider of programWalls)
  suite(`Packages behind ${provider}`, () => {
    test('a project with its node_modules runs as it does outside, and the outcome names their source', async (t) => {
      const outcome = await outcomeOf('app/all.js', '--provider', provider)
      if (hasNoWall(t, outcome, { provider })) return
      assert.deepEqual(outcome.result, {
        zod: 1,
        ws: 'function',
        hono: 'served',
        native: 1,
        commonjs: 'commonjs',
        pnpm: 42,
        tool: 'tool ran',
      })
      assert.match(outcome.told, /Packages: .*app\/node_modules \(\d+ files/)
      assert.match(outcome.told, /left out "leaves" \(a link that leaves the folder\)/)
      assert.deepEqual([outcome.security.risk, outcome.artifacts], [60, []])
      const names = outcome.security.findings.map((one: any) => one.name)
      assert.ok(names.includes('UNREAD_DEPENDENCY'))
    })

    test('no program can write, replace or remount its packages, nor find those of other jobs', async (t) => {
      const outcome = await outcomeOf('app/attack.js', '--provider', provider)
      if (hasNoWall(t, outcome, { provider })) return
      assert.equal(outcome.status, 'ok', JSON.stringify(outcome.error))
      assert.deepEqual([outcome.result.done, outcome.result.others], [[], []])
      assert.match(outcome.result.text, /^exports\.name/)
    })

    test('Python packages of an environment and of wheels are found, and none of their code runs before the job', async (t) => {
      const site = 'py/.venv/lib/python3.11/site-packages'
      write('py/.venv/pyvenv.cfg', 'version = 3.11.2')
      write(`${site}/mine/__init__.py`, 'name = "installed"')
      write(`${site}/json5only.py`, 'value = 5')
      write(`${site}/early.pth`, 'import os; os.environ["PTH"] = "ran"')
      write(`${site}/sitecustomize.py`, 'raise SystemExit("sitecustomize ran")')
      write(
        'py/a.py',
        `import mine, json5only, os, subprocess, sys
child = [sys.executable, '-S', '-c', 'import mine; print(mine.name)']
result = [mine.name, json5only.value, os.environ['PTH'], subprocess.check_output(child, text=True)]`,
      )
      const flags = ['--provider', provider, '--packages'] as const
      const outcome = await outcomeOf('py/a.py', ...flags, join(place.cwd, 'py'))
      if (hasNoWall(t, outcome, { provider, program: 'python' })) return
      assert.deepEqual(
        outcome.result,
        ['installed', 5, 'ran', 'installed\n'],
        JSON.stringify(outcome.error),
      )
      writeWheel('wheels/pure-1-py3-none-any.whl', { 'pure.py': 'value = 7' })
      write('w.py', 'import pure\nresult = pure.value')
      const wheels = await outcomeOf('w.py', ...flags, 'wheels')
      assert.equal(wheels.result, 7, JSON.stringify(wheels.error))
    })
  })

/** Written by Python: a zip bomb needs a member that is much larger than its compressed size. */
function writeWheel(name: string, files: Readonly<Record<string, string | number>>): void {
  mkdirSync(dirname(join(place.cwd, name)), { recursive: true })
  const program = `import json, sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as wheel:
    for name, content in json.loads(sys.argv[2]).items():
        wheel.writestr(name, content if isinstance(content, str) else bytes(content))`
  execFileSync('python3', ['-c', program, join(place.cwd, name), JSON.stringify(files)])
}

/** Builds no layer: it would be larger than the disk limit. */
async function outcomeOfBomb(): Promise<any> {
  writeWheel('bomb/bomb-1-py3-none-any.whl', { 'bomb.so': 200_000_000, 'bomb.py': '' })
  write('b.py', 'print("ran")')
  return await outcomeOf('b.py', '--packages', 'bomb')
}

suite('Limits of packages', () => {
  test('a wheel that unpacks to more than the disk limit ends the job at that limit', async (t) => {
    const outcome = await outcomeOfBomb()
    if (hasNoWall(t, outcome, { program: 'python' })) return
    assert.deepEqual([outcome.status, outcome.error.code, outcome.stdout], ['limit', 'DISK', ''])
  })

  test('a package whose main points out of its folder finds files of the wall, and none of the host', async (t) => {
    project('main')
    write('main/secret.js', 'module.exports = "of the host"')
    write('main/node_modules/up/package.json', '{"main":"../../secret.js"}')
    write('main/a.js', 'import up from "up"\nexport default () => up')
    const outcome = await outcomeOf('main/a.js')
    if (hasNoWall(t, outcome)) return
    assert.equal(outcome.status, 'error')
    assert.match(JSON.stringify(outcome.error), /Cannot find (?:module|package)/)
  })

  test('a job without imports gets no packages, and --no-packages omits them', async () => {
    const plain = await outcomeOf('app/plain.js')
    assert.deepEqual([plain.result, plain.tier], [1, 'isolate'])
    assert.doesNotMatch(plain.told, /Packages/)
    const without = await outcomeOf('app/attack.js', '--no-packages')
    assert.doesNotMatch(without.told, /Packages/)
    assert.equal(without.status, 'error')
  })

  test('Signed code gets no packages by itself, and none where signatures are required', async () => {
    const keys = (...words: readonly string[]) => mayfly(place, ['keys', ...words])
    await keys('generate', 'ci.key')
    await keys('trust', 'ci.key.pub', '--name', 'ci')
    write('vendor/job.mjs', 'import name from "helper"\nexport default () => name')
    write('vendor/node_modules/helper/index.js', 'console.log("helper ran")')
    write('vendor/job.py', 'result = 1')
    write('site-packages/x.pth', 'import sys; print("path ran")')
    for (const name of ['job.mjs', 'job.py'])
      await keys('sign', `vendor/${name}`, '--key', 'ci.key', '--out', `${name}.sig`)
    const node = ['vendor/job.mjs', '--signature', 'job.mjs.sig']
    const found = await outcomeOf(...node)
    assert.match(found.told, /node_modules is left out: no signature covers it/)
    assert.doesNotMatch(found.stdout, /ran/)
    write('signed-only.toml', '[signing]\nrequired = true\n')
    const python = ['vendor/job.py', '--signature', 'job.py.sig', '--packages', 'site-packages']
    for (const words of [python, [...node, '--packages', 'vendor']]) {
      const ran = await mayfly(place, ['run', ...words, '--config', 'signed-only.toml', '--json'])
      const { status, error, stdout } = documentOf(ran)
      assert.deepEqual([status, error.code, stdout], ['blocked', 'SIGNATURE_REQUIRED', ''])
    }
  })

  test('Signed code runs with --packages beside a package.json, which is left out unless it is signed as a file', async (t) => {
    const keys = (...words: readonly string[]) => mayfly(place, ['keys', ...words])
    await keys('generate', 'beside.key')
    await keys('trust', 'beside.key.pub', '--name', 'beside')
    project('beside')
    write('beside/job.mjs', 'import name from "helper"\nexport default () => name')
    write('beside/node_modules/helper/index.js', 'module.exports = "helped"')
    const file = ['--file', 'beside/package.json=package.json']
    for (const files of [[], file]) {
      const out = `beside${files.length}.sig`
      await keys('sign', 'beside/job.mjs', '--key', 'beside.key', '--out', out, ...files)
      const words = ['beside/job.mjs', '--signature', out, '--packages', 'beside', ...files]
      const outcome = await outcomeOf(...words)
      if (hasNoWall(t, outcome)) return
      const { status, error, result, told } = outcome
      assert.deepEqual([status, result], ['ok', 'helped'], JSON.stringify(error))
      assert.equal(/package\.json is left out: no signature covers it/.test(told), files !== file)
    }
  })

  test('--packages with a file is a usage error that names the expected value', async () => {
    const ran = await mayfly(place, ['run', 'app/plain.js', '--packages', 'app/all.js'])
    assert.equal(ran.code, 2)
    assert.match(ran.stderr, /Cannot use packages from "app\/all\.js": it is no folder/)
  })

  test('the library sets package folders, each tenant has its own layer, and HTTP cannot set any', async (t) => {
    await using library = await Mayfly.open({ state: join(place.state, 'library') })
    const packages = [join(place.cwd, 'app')]
    const code = 'import old from "old"; export default () => old.name'
    const job = { code, language: 'node', limits: { timeout: '20s' } } as const
    const layers = []
    for (const tenant of ['default', 'other']) {
      const outcome = await library.run(job, { packages, tenant })
      if (hasNoWall(t, outcome)) return
      assert.equal(outcome.result, 'commonjs', JSON.stringify(outcome.error))
      layers.push(outcome.profile.digest)
    }
    assert.notEqual(layers[0], layers[1])
    await assert.rejects(library.run({ ...job, packages } as never), { code: 'INVALID' })
    const files = [{ path: 'node_modules/x.js', content: '' }]
    await assert.rejects(library.run({ ...job, files }, { packages }), { code: 'INVALID' })
  })

  test('a failed build leaves no partial layer, and other users cannot list the layers', async () => {
    await outcomeOfBomb()
    const folders =
      process.getuid?.() === 0 ? [layerFolderFor(0), layerFolderFor(serverUid)] : [layerFolder()]
    for (const folder of folders) {
      const names = namesIn(folder)
      assert.deepEqual(
        names.filter((name) => name.startsWith('.gone')),
        [],
      )
    }
  })
})

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
