import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, suite, test } from 'node:test'
import { packedIn } from '../../scripts/packed.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { firstLine } from '../fixtures/first-line.ts'
import { probeLoads } from './loaded.ts'

const root = join(import.meta.dirname, '../..')
const base = mkdtempSync(join(tmpdir(), 'mayfly-packed-'))
const modules = join(base, 'node_modules')
const installed = join(modules, 'mayfly')
const path = `${join(root, 'node_modules/.bin')}:${process.env['PATH']}`
const packedBytesMax = 4_000_000
// Walls run under other uids, which must reach this folder.
chmodSync(base, 0o755)
after(() => rmSync(base, { recursive: true, force: true }))

suite('The npm package', { skip: withoutNpm() }, () => {
  test('npm pack builds JavaScript and declarations with source maps, under 4 MB, and leaves the checkout unchanged', () => {
    const packed = packedIn(base)
    const { size } = statSync(packed)
    assert.ok(size < packedBytesMax, `${size} bytes`)
    assert.equal(existsSync(join(root, 'dist')), false)
    mkdirSync(installed, { recursive: true })
    run('tar', ['-xzf', packed, '-C', installed, '--strip-components=1'], base)
    const files = readdirSync(installed, { recursive: true }).map(String)
    const pageFiles = ['client', 'page'].flatMap((folder) =>
      readdirSync(join(root, 'src/web', folder))
        .filter((name) => !name.includes('.test.'))
        .map((name) => `src/web/${folder}/${name}`),
    )
    const expected = [
      'mayfly.js mayfly.cjs mayfly.cjs.map small.js index.js warden/child.js',
      'joined/guest/process/node.js joined/guest/isolate-worker.js',
      'types/src/index.d.ts types/src/sdk/client.d.ts',
      'native/isolated-vm-linux-x64.node native/isolated-vm-linux-arm64.node',
    ].flatMap((line) => line.split(' ').map((name) => `dist/${name}`))
    assert.deepEqual(
      [...expected, 'src/sdk/client.js', ...pageFiles].filter((name) => !files.includes(name)),
      [],
    )
    // V8 stores a source with one non-Latin-1 character at two bytes per character.
    for (const name of ['mayfly.cjs', 'small.js'])
      assert.ok(
        readFileSync(join(installed, 'dist', name)).every((byte) => byte < 0x80),
        name,
      )
    const licences = readFileSync(join(installed, 'dist/LICENSES.txt'), 'utf8')
    for (const name of ['zod', 'hono', 'smol-toml', 'commander', 'isolated-vm'])
      assert.match(licences, new RegExp(`^${name}$`, 'm'))
    assert.deepEqual(files.filter(isOutOfPlace), [])
  })

  test('The package has every file to which its pages for users link', () => {
    const pages = readdirSync(installed, { recursive: true })
      .map(String)
      .filter(
        (name) =>
          /^(?:README|SECURITY|SPECIFICATION|THREAT_MODEL)\.md$|^docs\/(?!decisions)/.test(name) &&
          name.endsWith('.md'),
      )
    assert.ok(pages.length > 50, `${pages.length} pages`)
    const dead = pages.flatMap((page) => {
      const text = readFileSync(join(installed, page), 'utf8')
      return [...text.matchAll(/\]\((?!https?:|mailto:|#)([^)#\s]+)/g)]
        .map(([, link = '']) => join(page, '..', link))
        .filter((link) => !existsSync(join(installed, link)))
        .map((link) => `${page}: ${link}`)
    })
    assert.deepEqual(dead, [])
  })

  test('The package leaves out the bytecode that Python writes beside a module', () => {
    const checkout = mkdtempSync(join(tmpdir(), 'mayfly-bytecode-'))
    try {
      const folder = join(checkout, 'guest/process')
      mkdirSync(join(folder, '__pycache__'), { recursive: true })
      cpSync(join(root, 'package.json'), join(checkout, 'package.json'))
      writeFileSync(join(folder, 'mayfly_json.py'), '')
      writeFileSync(join(folder, '__pycache__/mayfly_json.cpython-311.pyc'), '')
      const words = ['pack', '--dry-run', '--json', '--ignore-scripts']
      const list = run('npm', words, checkout)
      assert.match(list, /mayfly_json\.py"/)
      assert.doesNotMatch(list, /\.pyc/)
    } finally {
      rmSync(checkout, { recursive: true, force: true })
    }
  })

  test('The package needs no install script, and names no package that has one', () => {
    const text = readFileSync(join(installed, 'package.json'), 'utf8')
    const { scripts, dependencies } = JSON.parse(text) as Record<string, Record<string, string>>
    const names = Object.keys(scripts ?? {})
    assert.deepEqual(
      names.filter((name) => /install|^prepare$/.test(name)),
      [],
    )
    const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { hasInstallScript?: boolean }>
    }
    for (const name of Object.keys(dependencies ?? {}))
      assert.equal(lock.packages[`node_modules/${name}`]?.hasInstallScript, undefined, name)
  })

  test('Installed under node_modules it prints its version', () => {
    // Dependencies of the package are links into a store, as with pnpm, without development dependencies.
    for (const name of readdirSync(join(root, 'node_modules')))
      if (/^(@oxc-.*|oxc-.*|zod|node-linux-.*)$/.test(name))
        symlinkSync(join(root, 'node_modules', name), join(modules, name))
    assert.match(node(join(installed, 'bin/mayfly.js'), '--version'), /^\d+\.\d+\.\d+/m)
  })

  test('Installed, the library, the conformance suite, the mock and the command line share one copy of the classes', () => {
    writeFileSync(
      join(base, 'one.mjs'),
      `
      import { MayflyError } from 'mayfly'
      import { conformance } from 'mayfly/conformance'
      import { createMockProvider } from 'mayfly/mock'
      const { main, part } = await import(${JSON.stringify(join(installed, 'dist/mayfly.js'))})
      const thrown = await createMockProvider({ environment: 'production' }).launch({}).catch((error) => error)
      console.log(typeof main, typeof conformance, thrown instanceof MayflyError,
        part('src/index.ts').MayflyError === MayflyError)`,
    )
    assert.equal(node(join(base, 'one.mjs')).trim(), 'function function true true')
  })

  test('Installed, each class of the library has the name by which it is imported', () => {
    writeFileSync(
      join(base, 'names.mjs'),
      `
      const all = Object.entries(await import('mayfly')).filter(([, one]) => /^class\\b/.test(String(one)))
      const others = all.filter(([name, one]) => one.name !== name)
      console.log(all.length > 6, others.map(([name, one]) => [name, one.name].join(' is ')).join())`,
    )
    assert.equal(node(join(base, 'names.mjs')), 'true \n')
  })

  test('S0-6: Installed, the list of images has the runtime of WebAssembly, also before any image is built', () => {
    const words = ['images', 'list', '--json', '--state', join(base, 'images-state')]
    const { images, runtimes } = JSON.parse(node(join(installed, 'bin/mayfly.js'), ...words)) as {
      images: unknown[]
      runtimes: { kind: string; files: number }[]
    }
    assert.deepEqual(images, [])
    assert.deepEqual(
      runtimes.map(({ kind, files }) => [kind, files]),
      [['wasm', 1]],
    )
  })

  test('With --enable-source-maps an error has the line of its TypeScript source', () => {
    writeFileSync(
      join(base, 'stack.mjs'),
      "import { Mayfly } from 'mayfly'\nawait Mayfly.open({ unknown: 1 }).catch(({ stack }) => console.log(stack))",
    )
    const stack = node('--enable-source-maps', join(base, 'stack.mjs'))
    const [, line = ''] = /at loadConfig .*\/mayfly\/src\/config\/load\.ts:(\d+)/.exec(stack) ?? []
    const source = readFileSync(join(root, 'src/config/load.ts'), 'utf8').split('\n')
    assert.match(source[Number(line) - 1] ?? '', /\w+\(/, stack)
  })

  for (const [language, code] of Object.entries({ js: 'return 6 * 7', node: 'console.log(42)' }))
    test(`Installed it runs ${language} in the same wall as a checkout`, () => {
      const file = join(base, `job-${language}.js`)
      writeFileSync(file, code)
      const state = join(base, 'state')
      const job = ['run', file, '--language', language, '--state', state, '--json']
      const [made, own] = [installed, root].map((place) => {
        const text = node(join(place, 'bin/mayfly.js'), ...job)
        return JSON.parse(text) as { status: string; tier: string; provider: string }
      })
      assert.equal(made?.status, 'ok')
      assert.deepEqual([made.tier, made.provider], [own?.tier, own?.provider])
    })

  test('Installed it has the adapters of agent frameworks, and serves MCP without further packages', async () => {
    writeFileSync(
      join(base, 'agents.mjs'),
      `
      import { codeTool } from 'mayfly/ai'
      import { executor } from 'mayfly/codemode'
      import { computeProvider } from 'mayfly/computesdk'
      import { sandboxBackend } from 'mayfly/deepagents'
      console.log([codeTool, executor, computeProvider, sandboxBackend].map((one) => typeof one).join())`,
    )
    assert.equal(node(join(base, 'agents.mjs')).trim(), 'function,function,function,function')
    const clientInfo = { name: 'test', version: '1' }
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo }
    const call = { name: 'run_code', arguments: { code: 'return 6 * 7' } }
    const messages = [
      { id: 1, method: 'initialize', params },
      { method: 'notifications/initialized' },
      { id: 2, method: 'tools/call', params: call },
    ].map((message) => `${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)
    const words = [join(installed, 'bin/mayfly.js'), 'mcp', '--state', join(base, 'state')]
    const agent = spawn(process.execPath, words, {
      cwd: base,
      env: { ...process.env, PATH: path },
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    for (const message of messages) agent.stdin.write(message)
    const lines = createInterface(agent.stdout)
    let answer = ''
    for await (const line of lines) if ((answer = line).includes('"id":2')) break
    assert.match(answer, /"result":42/)
    const ended = once(agent, 'exit')
    agent.stdin.end()
    assert.deepEqual(await ended, [0, null])
  })

  test('Installed, a run attached to a server loads the small bundle only', () => {
    using probe = probeLoads()
    const file = join(base, 'small.js')
    writeFileSync(file, 'return 6 * 7')
    // Short enough for the path of a socket in it.
    const short = mkdtempSync('/tmp/mayfly-small-')
    const env = { PATH: path, HOME: base, MAYFLY_STATE: join(short, 'state'), ...probe.env }
    const mayfly = (...words: readonly string[]) => {
      const args = [...probe.flags, join(installed, 'bin/mayfly.js'), ...words]
      return execFileSync(process.execPath, args, { cwd: base, env, encoding: 'utf8' })
    }
    try {
      for (const loaded of [['dist/small.js', 'dist/mayfly.cjs'], ['dist/small.js']]) {
        const made = JSON.parse(mayfly('run', file, '--json')) as {
          result: unknown
          server: string
        }
        assert.deepEqual([made.result, made.server], [42, 'attached'])
        assert.deepEqual(probe.take().slice(0, 2), loaded)
      }
    } finally {
      mayfly('serve', '--stop')
      rmSync(short, { recursive: true, force: true })
    }
  })

  test('Installed, the server serves its page and both forms of the browser client', async () => {
    const args = [join(installed, 'bin/mayfly.js'), 'serve', '--json', '--port', '0']
    const env = { ...process.env, PATH: path, MAYFLY_STATE: join(base, 'served-state') }
    const server = spawn(process.execPath, args, {
      cwd: base,
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = once(server, 'exit')
    try {
      const { static: url } = JSON.parse(await firstLine(server)) as { readonly static: string }
      const paths = ['/', '/page.css', '/page.js', '/favicon.svg', '/mayfly.js', '/mayfly.mjs']
      const statuses = await Promise.all(
        paths.map(async (name) => [name, (await fetch(new URL(name, url))).status]),
      )
      assert.deepEqual(
        statuses,
        paths.map((name) => [name, 200]),
      )
    } finally {
      server.kill('SIGTERM')
      await ended
    }
  })

  test('Below a folder of Plug’n’Play, played, the isolate without its packages names that and the way out', () => {
    const plugged = mkdtempSync(join(tmpdir(), 'mayfly-plugged-'))
    chmodSync(plugged, 0o755)
    try {
      const at = join(plugged, '.yarn/unplugged/mayfly/node_modules/mayfly')
      cpSync(installed, at, { recursive: true })
      const words = ['providers', '--json', '--state', join(plugged, 'state')]
      const rows = JSON.parse(node(join(at, 'bin/mayfly.js'), ...words)) as Record<string, string>[]
      const isolate = rows.find(({ name }) => name === 'isolated-vm')!
      assert.match(isolate['reason']!, /^Cannot find the package "[\w-]+": yarn's Plug'n'Play/)
      assert.equal(
        isolate['fix'],
        'Set "nodeLinker: node-modules" in .yarnrc.yml, and run "yarn install"',
      )
    } finally {
      rmSync(plugged, { recursive: true, force: true })
    }
  })

  test('A package with TypeScript sources only prints how to build it', () => {
    const source = join(modules, 'as-it-is')
    for (const name of ['bin', 'src/index.ts', 'src/cli/main.ts', 'package.json'])
      cpSync(join(root, name), join(source, name), { recursive: true })
    const options = { cwd: base, env: { ...process.env, PATH: path }, encoding: 'utf8' } as const
    const { status, stderr } = spawnSync(process.execPath, [join(source, 'bin/mayfly.js')], options)
    assert.equal(status, 2)
    assert.match(stderr, /^mayfly: this package holds TypeScript.*"npm pack" in a checkout/m)
  })
})

function isOutOfPlace(file: string): boolean {
  return !file.startsWith('examples/') && /\.test\.|(?<!\.d)\.ts$|^tests\//.test(file)
}

function node(...args: readonly string[]): string {
  return run(process.execPath, args, base)
}

function run(program: string, args: readonly string[], cwd: string): string {
  const env = { ...process.env, PATH: path }
  return execFileSync(program, args, { cwd, env, encoding: 'utf8' })
}

function withoutNpm(): string | false {
  if (findProgram('npm')) return false
  if (process.env['CI'] === 'true') throw new Error('npm is missing')
  return 'npm is missing'
}
