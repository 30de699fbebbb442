import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'node:test'
import { MayflyError } from '../../src/contract/error.ts'
import { findJailFacts } from '../../src/jail/facts.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { signalAll } from '../../src/os/signal.ts'
import { leaseFolder } from '../../src/lib/state-folder.ts'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import { descendantsOf, kindsOpen } from '../conformance/remains.ts'
import { until } from '../conformance/stand.ts'
import { test } from '../fixtures/drawn.ts'
import { emptyGroups } from './groups.ts'
import { unable as unableTo } from './process-stands.ts'
import { openWhole } from './whole-wall.ts'

/**
 * A start that breaks at each of its steps: the launcher is replaced by one that does its part wrong. The caller
 * gets an error with a code, and nothing is left: no process, descriptor, lease, group or uid.
 */
const neverReadyMs = 400
/** Numbers of free fds for a start, from none to more than it needs. */
const roomMax = 40
/** A busy machine takes minutes for as many starts. */
const manyStartsMsMax = 900_000
/** More time than a launcher needs to fail under load. */
const readyMsMax = 20_000
/** Time after which leftover cgroups of another, killed test have been swept. */
const patienceMs = 10_000
const faults: readonly (readonly [title: string, script: string, said: RegExp])[] = [
  ['the launcher fails', 'exit 3', /it ended \(3\)/],
  ['the launcher is killed', 'kill -9 $$', /it ended \(SIGKILL\)/],
  ['the program ends before it is ready', 'exit 0', /it ended \(0\)/],
  ['readiness never comes', 'exec sleep 100', /it was not ready after 400 ms/],
  ['readiness is garbage', 'printf garbage >&4; exec sleep 100', /it was not ready after 400 ms/],
  [
    'the kernel refuses the seccomp filter',
    'printf "Eseccomp: EINVAL" >&4; exit 1',
    /it ended \(1\): Eseccomp: EINVAL/,
  ],
  [
    'it prints an error and fails',
    'echo "Error: no such thing" >&2; exit 1',
    /Error: no such thing/,
  ],
]

suite('A failed start leaves nothing', { skip: unable() }, () => {
  for (const [title, script, said] of faults)
    test(`When ${title}, the start is an error with a code, and nothing is left`, async () => {
      await nothingLeft(async (stand) => {
        stand.replace('unshare', script)
        if (said.source.includes('not ready')) stand.readyMsMax = neverReadyMs
        await assert.rejects(stand.start(), (thrown) => {
          assert.ok(thrown instanceof MayflyError)
          assert.equal(thrown.code, 'UNAVAILABLE')
          assert.match(thrown.message, said)
          return true
        })
      })
    })

  test('When the launcher was removed after its discovery, the start is an error, and nothing is left', async () => {
    await nothingLeft(async (stand) => {
      stand.replace('setpriv', 'exec "$@"')
      stand.open()
      stand.remove('setpriv')
      await assert.rejects(stand.start(), (thrown) => thrown instanceof MayflyError)
    })
  })

  test('When the lease cannot be written, the start is an error, and nothing is left', async () => {
    await nothingLeft(async (stand) => {
      stand.open()
      rmSync(stand.leases, { recursive: true })
      await assert.rejects(stand.start(), (thrown) => thrown instanceof MayflyError)
      mkdirSync(stand.leases)
    })
  })

  test('When the warden closes while a wall starts, the start is refused and nothing is left', async () => {
    for (const ms of [0, 5, 30, 60, 90, 120])
      await nothingLeft(async (stand) => {
        const started = stand.start().then(
          () => 'started',
          (thrown: unknown) => (thrown as MayflyError).code,
        )
        await new Promise((resolve) => void setTimeout(resolve, ms))
        await stand.close()
        assert.ok(['started', 'UNAVAILABLE', 'DRAINING'].includes(await started), await started)
      })
  })

  test('When another process removes its cgroup, the end of a wall is still reported, and other walls continue', async (t) => {
    if (unableTo('python') || openCgroups()?.version !== 1) return t.skip('no such groups here')
    await using whole = await openWhole()
    const [wall, other] = [await whole.start('python'), await whole.start('python')]
    await wall.claim()
    const group = `/sys/fs/cgroup/memory/mayfly/${wall.id}`
    const pids = readFileSync(`${group}/cgroup.procs`, 'utf8').split('\n').filter(Boolean)
    // Removing the first removes others too.
    signalAll(pids.map(Number), 'SIGKILL')
    // In the same event-loop turn, so before its warden is notified.
    const isGone = () => {
      try {
        rmdirSync(group)
        return true
      } catch {
        return false
      }
    }
    for (const late = performance.now() + patienceMs; !isGone();)
      assert.ok(performance.now() < late, 'its cgroup stays')
    // Race: the warden is first notified of the wall's own exit, or of a failed sample.
    assert.match((await wall.end()).how, /^(exit|killed)$/)
    await other.claim()
    other.run('print(open("/proc/self/oom_score_adj").read())', 'python')
    await other.end()
    assert.equal(other.said.stdout.trim(), '1000', 'the OOM killer prefers it')
  })

  test('When no fd is left, the start is refused with OVERLOADED, and running walls continue', async (t) => {
    const prlimit = findProgram('prlimit')
    if (!prlimit || unableTo('python'))
      return t.skip('no program here can set the limit of another process')
    await using whole = await openWhole({ apart: true })
    const running = await whole.start('python')
    await running.claim({ deadline: manyStartsMsMax })
    const { pid } = await whole.warden.facts()
    const allow = (most: number) => {
      const { status } = spawnSync(prlimit, ['--pid', `${pid}`, `--nofile=${most}:`])
      assert.equal(status, 0)
    }
    const usual = /Max open files\s+(\d+)/.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))![1]!
    const ends = new Map<string, number>()
    for (let more = 0; more <= roomMax; more++) {
      allow(readdirSync(`/proc/${pid}/fd`).length + more)
      const end = await whole.start('python').then(
        (wall) => wall.kill().then(() => 'started'),
        (error: MayflyError) => error.code,
      )
      ends.set(end, (ends.get(end) ?? 0) + 1)
    }
    allow(Number(usual))
    t.diagnostic(JSON.stringify(Object.fromEntries(ends)))
    assert.deepEqual([...ends.keys()].toSorted(), ['OVERLOADED', 'started'])
    running.run('print("alive")', 'python')
    assert.deepEqual((await running.end()).exit.exitCode, 0)
    assert.equal(running.said.stdout, 'alive\n')
    await until(() => readdirSync(leaseFolder(whole.stateFolder)).length === 0, 'no lease')
    const next = await whole.start('python')
    assert.ok(next.id)
  })

  test('A state folder that cannot be created is reported at once', () => {
    const folder = mkdtempSync(join(tmpdir(), 'mayfly-faults-'))
    writeFileSync(join(folder, 'file'), '')
    assert.throws(
      () => holdWarden({ stateFolder: join(folder, 'file', 'state') }),
      (thrown) => thrown instanceof MayflyError && thrown.code === 'STATE',
    )
    rmSync(folder, { recursive: true })
  })
})

/** A warden whose PATH has the test programs before the system's. */
class FaultyStand {
  readonly folder = mkdtempSync(join(tmpdir(), 'mayfly-faults-'))
  readonly leases = leaseFolder(join(this.folder, 'state'))
  readonly #path = process.env['PATH']
  #warden: ReturnType<typeof holdWarden> | undefined
  readyMsMax = readyMsMax

  constructor() {
    mkdirSync(join(this.folder, 'bin'))
    process.env['PATH'] = `${join(this.folder, 'bin')}:${this.#path}`
  }

  /** Replaces a program; the script passes the trial of namespaces, so that only the start itself goes wrong. */
  replace(name: string, script: string): void {
    const file = join(this.folder, 'bin', name)
    writeFileSync(file, `#!/bin/sh\ncase "$*" in *"-- true") exit 0;; esac\n${script}\n`)
    chmodSync(file, 0o755)
  }

  remove(name: string): void {
    rmSync(join(this.folder, 'bin', name))
  }

  open() {
    const { folder, readyMsMax } = this
    // Programs in PATH start its walls, which a test can replace.
    const hide = ['launcher']
    this.#warden ??= holdWarden({ stateFolder: join(folder, 'state'), readyMsMax, hide })
    return this.#warden
  }

  async start(): Promise<void> {
    const { socket } = await this.open().start('isolated-vm', { spares: 0, spareMiB: 64 })
    socket.destroy()
  }

  async close(): Promise<void> {
    await this.#warden?.close()
  }

  [Symbol.dispose](): void {
    process.env['PATH'] = this.#path
    rmSync(this.folder, { recursive: true })
  }
}

async function nothingLeft(run: (stand: FaultyStand) => Promise<void>): Promise<void> {
  const before = remains()
  const groupsBefore = new Set(emptyGroups())
  using stand = new FaultyStand()
  try {
    await run(stand)
  } finally {
    await stand.close()
  }
  assert.deepEqual(readdirSync(stand.leases), [])
  const groups = () => emptyGroups().filter((group) => !groupsBefore.has(group))
  // Read once each time: other tests create and remove cgroups concurrently.
  let seen = {}
  const look = () => (seen = { ...remains(), groups: groups() })
  const wanted = { ...before, groups: [] }
  const isBack = () => JSON.stringify(look()) === JSON.stringify(wanted)
  await until(isBack, 'everything to be given back', patienceMs).catch(() => undefined)
  assert.deepEqual(seen, wanted)
}

function remains() {
  return { processes: descendantsOf(process.pid), open: kindsOpen() }
}

function unable(): string | false {
  if (!findProgram('unshare') || !findProgram('setpriv')) return 'unshare or setpriv is missing'
  return findJailFacts().namespaces ? false : 'namespaces are forbidden here'
}
