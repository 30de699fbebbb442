import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { probeLoads } from './loaded.ts'

const root = join(import.meta.dirname, '../..')
const entry = 'src/cli/main.ts'
const base = mkdtempSync(join(tmpdir(), 'mayfly-packed-'))
const modules = join(base, 'node_modules')
const installed = join(modules, 'mayfly')
const path = `${join(root, 'node_modules/.bin')}:${process.env['PATH']}`
// Walls run as users of their own.
chmodSync(base, 0o755)
after(() => rmSync(base, { recursive: true, force: true }))

suite('The npm package', { skip: !existsSync(join(root, entry)) && `no ${entry} yet` }, () => {
  test('The tarball holds JavaScript and no test', () => {
    const tarball = node(join(root, 'scripts/pack.ts'), join(base, 'made'), '--no-check').trim()
    mkdirSync(installed, { recursive: true })
    execFileSync('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1'])
    const files = readdirSync(installed, { recursive: true }).map(String)
    assert.ok(files.includes('src/cli/main.js'))
    assert.ok(files.includes('joined/guest/process/node.js'))
    assert.ok(
      ['bundle/mayfly.js', 'bundle/index.js', 'bundle/small.js'].every((one) =>
        files.includes(one),
      ),
    )
    const licences = readFileSync(join(installed, 'bundle/LICENSES.txt'), 'utf8')
    for (const name of ['zod', 'hono', 'smol-toml', 'commander'])
      assert.match(licences, new RegExp(`^${name}$`, 'm'))
    assert.deepEqual(files.filter(isOutOfPlace), [])
  })

  test('Installed under node_modules it says its version', () => {
    // Dependencies of the package as npm would lay them out, without asking a registry.
    for (const name of readdirSync(join(root, 'node_modules'))) {
      const [from, to] = [join(root, 'node_modules', name), join(modules, name)]
      // A wall sees the folder of a package itself, and no link to one.
      if (/^(@?oxc-|zod$|isolated-vm|node-gyp)/.test(name)) cpSync(from, to, { recursive: true })
      else if (!name.startsWith('.')) symlinkSync(from, to)
    }
    assert.match(node(join(installed, 'bin/mayfly.js'), '--version'), /^\d+\.\d+\.\d+/m)
  })

  test('Installed it runs one file, and its library shares the errors of that file', () => {
    const program = `import { importPacked } from ${JSON.stringify(join(installed, 'bin/bundle.js'))}
      const { main, library } = await importPacked()
      const { MayflyError } = await library()
      const { MayflyError: again } = await import(${JSON.stringify(join(installed, 'src/index.js'))})
      console.log(typeof main, MayflyError === again)`
    assert.equal(node('--input-type=module', '--eval', program).trim(), 'function true')
  })

  for (const [language, code] of Object.entries({ js: 'return 6 * 7', node: 'console.log(42)' }))
    test(`Installed it runs ${language} in the wall that a checkout takes`, () => {
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

  test('Installed, a run by a server that is there loads the small bundle alone', () => {
    using probe = probeLoads()
    const file = join(base, 'small.js')
    writeFileSync(file, 'return 6 * 7')
    // Short enough for a socket below it.
    const short = mkdtempSync('/tmp/mayfly-small-')
    const env = { PATH: path, HOME: base, MAYFLY_STATE: join(short, 'state'), ...probe.env }
    const mayfly = (...words: readonly string[]) => {
      const args = [...probe.flags, join(installed, 'bin/mayfly.js'), ...words]
      return execFileSync(process.execPath, args, { cwd: base, env, encoding: 'utf8' })
    }
    try {
      for (const loaded of [['bundle/small.js', 'bundle/mayfly.js'], ['bundle/small.js']]) {
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

  test('A package of the checkout as it is says how to make one', () => {
    const source = join(modules, 'as-it-is/bin')
    cpSync(join(root, 'bin'), source, { recursive: true })
    const options = { cwd: base, env: { ...process.env, PATH: path }, encoding: 'utf8' } as const
    const { status, stderr } = spawnSync(process.execPath, [join(source, 'mayfly.js')], options)
    assert.equal(status, 2)
    assert.match(stderr, /^mayfly: this package holds TypeScript.*node scripts\/pack\.ts FOLDER/m)
  })
})

function isOutOfPlace(file: string): boolean {
  return /\.test\.|(?<!\.d)\.ts$/.test(file)
}

function node(...args: readonly string[]): string {
  return execFileSync(process.execPath, args, {
    cwd: base,
    env: { ...process.env, PATH: path },
    encoding: 'utf8',
  })
}
