import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { readFileSync, readlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { packedIn } from '../../scripts/packed.ts'
import { localFolder } from '../../src/gateway/local/place.ts'
import { until } from '../conformance/stand.ts'
import { descendantsOf } from '../hostile/proc.ts'
import { makeApp, npm, printed, run, withoutRegistry } from './installed.ts'
import { leasesIn, remaining } from './program.ts'

/** Leftovers of many runs of the installed package: processes, temporary files, leases and sockets. */
const isLong = process.env['MAYFLY_LONG'] !== undefined
const attachedRuns = isLong ? 10_000 : 30
const preparationMsMax = 120_000
const onceRuns = isLong ? 300 : 4
const base = mkdtempSync(join(tmpdir(), 'mayfly-runs-'))
// Walls run as users of their own.
chmodSync(base, 0o755)
after(() => rmSync(base, { recursive: true, force: true }))

const app = join(base, 'app')
const state = join(base, 'state')
const temporary = join(base, 'tmp')
const cli = join(app, 'node_modules/mayfly/bin/mayfly.js')
/** Environment without CI variables, so that a run starts a background server. */
const env = { MAYFLY_STATE: state, HOME: base, TMPDIR: temporary, CI: '' }
const jobs = { 'job.js': 'return 6 * 7', 'job.py': 'print(6 * 7)', 'job.mjs': 'console.log(6 * 7)' }
const files = Object.keys(jobs)
const isPlayable = process.platform === 'linux' && process.arch === 'x64'
const why = isPlayable ? withoutRegistry() : 'the package of Node is the one for Linux on x64'

suite('Runs of the installed package in a row', { skip: why }, () => {
  before(() => {
    for (const folder of ['made', 'tmp']) mkdirSync(join(base, folder))
    makeApp(app)
    npm(app, 'install', packedIn(join(base, 'made')))
    for (const [file, code] of Object.entries(jobs)) writeFileSync(join(app, file), code)
  })

  test('The first run of an installation leaves nothing once its code is prepared, which goes on after the run', async () => {
    assert.equal(await answer(0, '--once'), '42')
    await until(() => left().length === 0, 'the end of the preparation', preparationMsMax)
  })

  test(`${onceRuns} runs with --once leave nothing behind when they end`, async () => {
    for (let at = 0; at < onceRuns; at++) {
      assert.equal(await answer(at, '--once'), '42')
      assert.deepEqual(left(), [], `run ${at}`)
    }
  })

  test(`${attachedRuns} runs by a background server leave nothing after serve --stop`, async () => {
    for (let at = 0; at < attachedRuns; at++) assert.equal(await answer(at), '42', `run ${at}`)
    const servers = await status()
    assert.deepEqual(
      servers.map(({ kind, jobs: { running, done } }) => [kind, running, done]),
      [['left', 0, attachedRuns]],
    )
    const tree = treeOf(servers[0]!.pid)
    await mayfly('serve', '--stop')
    assert.deepEqual(await remaining(tree), [])
    assert.deepEqual(left(), [])
    await mayfly('audit', 'verify')
  })
})

const answer = async (at: number, ...flags: readonly string[]) =>
  (await mayfly('run', files[at % files.length]!, ...flags)).trim()

/** Output of the command line, which must exit with 0. */
function mayfly(...words: readonly string[]): Promise<string> {
  return printed(app, process.execPath, [cli, ...words], env)
}

interface Server {
  readonly pid: number
  readonly kind: string
  readonly jobs: { readonly running: number; readonly done: number }
}

async function status(): Promise<readonly Server[]> {
  const { stdout } = await run(app, process.execPath, [cli, 'serve', '--status', '--json'], env)
  return (JSON.parse(stdout) as { servers: readonly Server[] }).servers
}

/** Warden, server and walls. */
function treeOf(pid: number): readonly number[] {
  const warden = Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))![1])
  return [warden, ...descendantsOf(warden)]
}

/** Processes that name a folder of this test, its temporary files, leases, and files of servers. */
function left(): readonly string[] {
  const folder = localFolder(state)
  return [
    ...processes(),
    ...readdirSync(temporary).map((name) => `temporary file ${name}`),
    ...leasesIn({ state }).map((name) => `lease ${name}`),
    ...(existsSync(folder) ? readdirSync(folder).map((name) => `file of a server ${name}`) : []),
  ]
}

function processes(): readonly string[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids
    .filter((pid) => Number(pid) !== process.pid && namesThisTest(pid))
    .map((pid) => `process ${pid}: ${commandOf(pid)}`)
}

const commandOf = (pid: string) => readOr(() => readFileSync(`/proc/${pid}/cmdline`, 'latin1'))

function namesThisTest(pid: string): boolean {
  const texts = ['cmdline', 'environ'].map((name) =>
    readOr(() => readFileSync(`/proc/${pid}/${name}`, 'utf8')),
  )
  const links = ['cwd', 'root'].map((name) => readOr(() => readlinkSync(`/proc/${pid}/${name}`)))
  return [...texts, ...links].some((text) => text.includes(base))
}

/** Empty for a process that is gone or of another user. */
function readOr(read: () => string): string {
  try {
    return read()
  } catch {
    return ''
  }
}
