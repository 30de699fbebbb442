import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { linkSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { suite, test } from 'node:test'
import type { DeadEnclosure } from '../../src/contract/engine.ts'
import { MayflyError } from '../../src/contract/error.ts'
import { isAlive } from '../../src/os/proc.ts'
import { faultOf, mayPass } from '../../src/warden/engines/firecracker/api-client.ts'
import {
  jailedProcess,
  makeJail,
  placeShared,
  takeFile,
} from '../../src/warden/engines/firecracker/jail-files.ts'
import { pidFile } from '../../src/warden/engines/firecracker/jailer.ts'
import type { FirecrackerMachine } from '../../src/warden/engines/firecracker/machine.ts'
import { sweepJails } from '../../src/warden/engines/firecracker/sweep-jails.ts'
import { noStarts, withTries } from '../../src/warden/engines/start-tries.ts'
import { documentSkip } from '../fixtures/firecracker/document.ts'
import type { PlayedFault } from '../fixtures/firecracker/play.ts'
import { PlayedPrograms } from '../fixtures/firecracker/programs.ts'
import {
  assertNothingLeft,
  guestPort,
  MS_MAX,
  profile,
  startPlayed,
} from '../fixtures/firecracker/stand.ts'

const skip = process.platform !== 'linux' ? 'it needs Linux' : documentSkip
const timeout = 15 * MS_MAX
const saved = { state: 'state', memory: 'memory' }
/** Requests of a boot and of a snapshot, in their order. */
const steps = [
  'GET /version',
  'PUT /machine-config',
  'PUT /boot-source',
  'PUT /drives/root',
  'PUT /vsock',
  'PUT /entropy',
  'PUT /balloon',
  'PUT /actions',
  'PATCH /vm',
  'PUT /snapshot/create',
]

async function echo(socket: Socket): Promise<string> {
  socket.write('ping')
  const [chunk] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  return chunk.toString()
}

const failure = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  )

/** Makes a template, and returns the paths of its files outside any jail. */
async function template(programs: PlayedPrograms): Promise<Record<string, string>> {
  const files = { state: join(programs.folder, 'state'), memory: join(programs.folder, 'memory') }
  const machine = await startPlayed(programs)
  await machine.boot(profile)
  await machine.pause()
  await machine.save(saved)
  await machine.kill((root) => {
    takeFile(root, 'state', files.state)
    takeFile(root, 'memory', files.memory)
  })
  return files
}

async function wholeLife(machine: FirecrackerMachine): Promise<void> {
  await machine.boot(profile)
  await machine.pause()
  await machine.save(saved)
}

suite('A machine, played by the official OpenAPI document of Firecracker', { skip }, () => {
  test('A whole life sends only documented requests, and leaves nothing', { timeout }, async () => {
    using programs = new PlayedPrograms()
    const leases: number[] = []
    const released: string[] = []
    const machine = await startPlayed(programs, {
      lease: (processes) => void leases.push(processes.length),
      releaseLease: (id) => void released.push(id),
    })
    await wholeLife(machine)
    await machine.save({ state: 'state-2', memory: 'memory-2' })
    await machine.resume()
    await machine.limitDisk('root', 1_000)
    assert.equal(await echo(await machine.connect(guestPort)), 'ping')
    assert.equal(((await failure(machine.connect(53))) as MayflyError).code, 'UNAVAILABLE')
    assert.equal(await machine.kill(), true)
    assert.deepEqual(programs.requests(), [
      ...steps.map((step) => `${step} ${step.startsWith('GET') ? 200 : 204}`),
      'PUT /snapshot/create 204',
      'PATCH /vm 204',
      'PATCH /drives/root 204',
      'GET /vm/config 200',
    ])
    assert.deepEqual(programs.violations(), [])
    // Before the jailer, with the jailer, with the machine.
    assert.deepEqual(leases, [0, 1, 1])
    assert.deepEqual(released, [machine.id])
    assertNothingLeft(programs)
  })

  test(
    'Clones load the files of one template, and each has its own channel',
    { timeout },
    async () => {
      using programs = new PlayedPrograms()
      const files = await template(programs)
      const before = programs.requests().length
      const clones = await Promise.all([1, 2, 3].map(() => startPlayed(programs, { files })))
      for (const clone of clones) {
        await clone.load(saved)
        assert.equal(await echo(await clone.connect(guestPort)), 'ping')
      }
      for (const clone of clones) assert.equal(await clone.kill(), true)
      const requests = programs.requests().slice(before)
      assert.equal(requests.filter((one) => one === 'PUT /snapshot/load 204').length, 3)
      assert.ok(requests.every((one) => /^(GET \/version|PUT \/snapshot\/load) /.test(one)))
      assert.deepEqual(programs.violations(), [])
      assertNothingLeft(programs)
    },
  )

  test('A disk limit that the machine does not report is an error', { timeout }, async () => {
    using programs = new PlayedPrograms()
    const machine = await startPlayed(programs)
    await machine.boot(profile)
    await machine.limitDisk('root', 4_096)
    programs.plays({ ignoresPatches: true })
    const ignored = { message: /reports 4096 bytes in 1000 ms/ }
    await assert.rejects(machine.limitDisk('root', 4_095), ignored)
    assert.equal(await machine.kill(), true)
    assert.deepEqual(programs.violations(), [])
  })

  test(
    'The clock of the guest advances at a load, by releases that can do it',
    { timeout, skip: process.arch !== 'x64' && 'clock_realtime is for x86-64 only' },
    async () => {
      for (const [version, clock] of [
        ['1.15.1', undefined],
        ['1.16.2', true],
      ] as const) {
        using programs = new PlayedPrograms()
        programs.plays({ version })
        const clone = await startPlayed(programs, { files: await template(programs) })
        await clone.load(saved)
        assert.equal(await clone.kill(), true)
        const loads = programs.seen().flatMap(({ load }) => (load ? [load['clock_realtime']] : []))
        assert.deepEqual(loads, [clock])
        assert.deepEqual(programs.violations(), [])
      }
    },
  )

  test(
    'Steps in the wrong order are refused with the message of the machine',
    { timeout },
    async () => {
      using programs = new PlayedPrograms()
      const machine = await startPlayed(programs)
      const outOfOrder: [work: () => Promise<void>, why: RegExp][] = [
        [() => machine.pause(), /before the start/],
        [() => machine.resume(), /before the start/],
        [() => machine.limitDisk('root', 1), /before the start/],
        [() => machine.save(saved), /paused/],
      ]
      for (const [work, why] of outOfOrder) assert.match(await refusalOf(work()), why)
      await machine.boot(profile)
      const later: [work: () => Promise<void>, why: RegExp][] = [
        [() => machine.boot(profile), /after the start/],
        [() => machine.load(saved), /before anything is configured/],
        [() => machine.save(saved), /paused/],
        [() => machine.limitDisk('other', 1), /there is no/],
      ]
      for (const [work, why] of later) assert.match(await refusalOf(work()), why)
      assert.equal(await machine.kill(), true)
      assert.deepEqual(programs.violations(), [])
    },
  )

  test(
    'Loading files that are no snapshot ends the machine, and its kill leaves nothing',
    { timeout },
    async () => {
      using programs = new PlayedPrograms()
      const files = await template(programs)
      const broken = join(programs.folder, 'broken')
      writeFileSync(broken, '{"magic":', { mode: 0o444 })
      const clone = await startPlayed(programs, { files: { ...files, state: broken } })
      assert.match(await refusalOf(clone.load(saved)), /cannot load/)
      await programs.until(() => !clone.isAlive())
      assert.equal(await clone.kill(), true)
      assertNothingLeft(programs)
    },
  )

  for (const kind of ['die', 'silent'] as const)
    test(
      `A machine that ${kind === 'die' ? 'dies' : 'is killed while it does not answer'} at any step leaves nothing`,
      { timeout },
      async () => {
        for (const on of steps) {
          using programs = new PlayedPrograms({ faults: [{ on, kind }] })
          const life = startPlayed(programs).then(async (machine) => {
            const work = failure(wholeLife(machine))
            if (kind === 'silent') {
              await programs.until(() => programs.requests().includes(`${on} silent`))
              assert.equal(await machine.kill(), true)
            }
            const error = await work
            assert.equal(await machine.kill(), true)
            throw error
          })
          // A missing first response is waited for until the timeout of a request.
          if (on === 'GET /version' && kind === 'silent') {
            await programs.until(() => programs.requests().length > 0)
            for (const pid of programs.pids()) process.kill(pid, 'SIGKILL')
          }
          const error = await failure(life)
          assert.equal(faultOf(error), 'gone', `${on}: ${String(error)}`)
          assertNothingLeft(programs)
        }
      },
    )

  test('Every kind of invalid response has its error code', { timeout }, async () => {
    const kinds: readonly (readonly [kind: PlayedFault['kind'], fault: string])[] = [
      ['close', 'gone'],
      ['half', 'gone'],
      ['garbage', 'malformed'],
      ['json', 'malformed'],
      ['endless', 'too-large'],
      ['500', 'failed'],
    ]
    for (const [kind, fault] of kinds) {
      using programs = new PlayedPrograms({ faults: [{ on: 'PUT /vsock', kind }] })
      const machine = await startPlayed(programs)
      const error = await failure(machine.boot(profile))
      assert.equal(await machine.kill(), true)
      assert.equal(faultOf(error), fault, kind)
      if (kind === '500') assert.equal((error as MayflyError).detail, 'played\\u001b[2J fault')
      assertNothingLeft(programs)
    }
  })

  test(
    'A jailer that fails and a jailer that hangs give an error with the cause and leave nothing',
    { timeout },
    async () => {
      using programs = new PlayedPrograms({ jailer: 'fails' })
      const refused = (await failure(startPlayed(programs))) as MayflyError
      assert.equal(faultOf(refused), 'refused')
      assert.match(refused.detail ?? '', /a played refusal/)
      programs.plays({ jailer: 'hangs' })
      assert.equal(faultOf(await failure(startPlayed(programs, { msMax: 300 }))), 'late')
      assertNothingLeft(programs)
    },
  )

  test('A release with a known escape is killed before it is configured', { timeout }, async () => {
    using programs = new PlayedPrograms({ version: '1.14.3' })
    const error = (await failure(startPlayed(programs))) as MayflyError
    assert.match(error.message, /CVE-2026-5747/)
    assert.deepEqual(programs.requests(), ['GET /version 200'])
    assertNothingLeft(programs)
  })

  test('A start is tried three times, and the failure names its step', { timeout }, async () => {
    using programs = new PlayedPrograms()
    const counts = noStarts()
    const boot = (badUntil: number) => async (attempt: number) => {
      programs.plays(attempt < badUntil ? { faults: [{ on: 'PUT /actions', kind: 'die' }] } : {})
      const machine = await startPlayed(programs)
      try {
        await machine.boot(profile)
        return machine
      } catch (error) {
        await machine.kill()
        throw error
      }
    }
    await (await withTries(boot(3), counts, mayPass)).kill()
    assert.deepEqual(counts, { started: 1, failedTries: 2, failed: 0 })
    const { details } = (await failure(withTries(boot(9), counts, mayPass))) as MayflyError
    assert.partialDeepStrictEqual(details, { request: 'PUT /actions', fault: 'gone' })
    assert.deepEqual(counts, { started: 1, failedTries: 5, failed: 1 })
    assertNothingLeft(programs)
  })

  test('A sweep ends the machine of a killed owner', { timeout }, async () => {
    using programs = new PlayedPrograms()
    const owner = join(import.meta.dirname, '../fixtures/firecracker/owner.ts')
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', owner, programs.folder],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    const leases: DeadEnclosure[] = []
    for await (const line of createInterface({ input: child.stdout })) {
      const told = JSON.parse(line) as DeadEnclosure | 'booted'
      if (told === 'booted') break
      leases.push({ ...told, isThisBoot: true })
    }
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
    const [pid] = programs.pids()
    assert.ok(isAlive(pid!), 'the machine ended with its owner, so the sweep is not tested')
    // The oldest lease has no pid: the process is found by its jail only.
    sweepJails(leases.slice(0, 1))
    assertNothingLeft(programs)
  })
})

async function refusalOf(work: Promise<unknown>): Promise<string> {
  const error = (await failure(work)) as MayflyError
  assert.equal(faultOf(error), 'refused')
  return error.detail ?? ''
}

suite(
  'Files of a jail that its process may change',
  { skip: process.platform !== 'linux' && 'it needs Linux' },
  () => {
    test('A pid of another process is not accepted', () => {
      const base = mkdtempSync('/tmp/mayfly-jails-')
      try {
        const place = { id: 'w1', chrootBase: base, execFile: '/usr/bin/firecracker' }
        makeJail(place)
        assert.throws(() => makeJail(place), { code: 'EEXIST' })
        for (const text of [
          '',
          '0',
          '1',
          `${process.pid}`,
          '-1',
          'x',
          '9'.repeat(30),
          `${process.pid}\n1`,
        ]) {
          writeFileSync(pidFile(place), text)
          assert.equal(jailedProcess(place), undefined, text)
        }
        rmSync(pidFile(place))
        symlinkSync('/proc/self/stat', pidFile(place))
        assert.equal(jailedProcess(place), undefined)
      } finally {
        rmSync(base, { recursive: true })
      }
    })

    test('A link in place of a snapshot is never followed', () => {
      const base = mkdtempSync('/tmp/mayfly-jails-')
      try {
        const root = makeJail({ id: 'w1', chrootBase: base, execFile: '/usr/bin/firecracker' })
        const secret = join(base, 'secret')
        writeFileSync(secret, 'secret')
        symlinkSync(secret, join(root, 'state'))
        assert.throws(() => takeFile(root, 'state', join(base, 'taken')), { code: 'ELOOP' })
        linkSync(secret, join(root, 'memory'))
        assert.throws(() => takeFile(root, 'memory', join(base, 'taken')), { code: 'PROTOCOL' })
        assert.equal(readFileSync(secret, 'utf8'), 'secret')
        assert.throws(
          () => takeFile(root, '../secret', join(base, 'taken')),
          /not a valid file name/,
        )
      } finally {
        rmSync(base, { recursive: true })
      }
    })

    test('A file that others may write is not shared by machines', () => {
      const base = mkdtempSync('/tmp/mayfly-jails-')
      try {
        const root = makeJail({ id: 'w1', chrootBase: base, execFile: '/usr/bin/firecracker' })
        const file = join(base, 'kernel')
        const mask = process.umask(0)
        writeFileSync(file, '', { mode: 0o666 })
        process.umask(mask)
        assert.throws(() => placeShared(root, file, 'kernel'), /writable by other users/)
      } finally {
        rmSync(base, { recursive: true })
      }
    })
  },
)
