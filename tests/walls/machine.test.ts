import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { TestContext } from 'node:test'
import { isAlive, processesOf } from '../../src/os/proc.ts'
import { sweepDead } from '../../src/warden/engines/sweep.ts'
import { diskId, machinePaths } from '../../src/warden/engines/qemu/machine.ts'
import {
  cachedAccelerators,
  probeBoot,
  type ProbeParts,
} from '../../src/warden/engines/qemu/probe.ts'
import {
  startMachine,
  type QemuProcess,
  type MachineStart,
} from '../../src/warden/engines/qemu/process.ts'
import { noStarts, withTries } from '../../src/warden/engines/start-tries.ts'
import { suite, test } from '../fixtures/drawn.ts'
import { isQemuThere, guestHost, machinePrograms, noQemu } from './qemu-here.ts'

/** Real QEMU in its jail. Each test has machines without a kernel, which take a second or two; a busy machine, ten. */
const skip = isQemuThere() ? false : noQemu
const timeout = 240_000

suite('A machine in its jail', { skip, timeout }, () => {
  test('Control connections accept every command that the engine uses', async (t) => {
    const { machine, seen } = await started(t)
    const { control, folder } = machine
    assert.ok(machine.version.major >= 8)
    assert.deepEqual(await control.ask('query-status'), { status: 'prelaunch', running: false })
    await control.ask('cont')
    await control.ask('stop')
    assert.equal((await control.ask('query-status')).status, 'paused')
    const none = { bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 }
    await control.ask('block_set_io_throttle', { id: diskId, bps: 1_000_000, ...none })
    await control.ask('migrate-set-capabilities', {
      capabilities: [
        { capability: 'x-ignore-shared', state: true },
        { capability: 'events', state: true },
      ],
    })
    const completed = seen.wait('MIGRATION', ({ status }) => status === 'completed')
    await control.ask('migrate', { uri: `file:${machinePaths.ownState}` })
    await completed
    assert.equal((await control.ask('query-migrate')).status, 'completed')
    // Shared memory is left out of the state.
    assert.ok(statSync(path.join(folder, 'state')).size < 4 * 2 ** 20)
    assert.equal((await machine.stop()).exitCode, 0)
  })

  test('QEMU has no capability, no network, no device, no /proc, and one folder to write to', async (t) => {
    const { machine } = await started(t)
    const { pid } = machine.processes.at(-1)!
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    assert.match(readFileSync(`/proc/${pid}/comm`, 'utf8'), /ld-linux|qemu/)
    assert.match(status, /^CapEff:\t0+$/m)
    assert.match(status, /^CapBnd:\t0+$/m)
    assert.match(status, /^NoNewPrivs:\t1$/m)
    assert.match(status, /^Seccomp:\t2$/m)
    if (machine.uid !== undefined)
      assert.match(status, new RegExp(`^Uid:\t${`${machine.uid}\t?`.repeat(4)}$`, 'm'))
    for (const name of ['net', 'pid', 'mnt', 'ipc', 'uts', 'user'])
      assert.notEqual(
        readlinkSync(`/proc/${pid}/ns/${name}`),
        readlinkSync(`/proc/self/ns/${name}`),
      )
    const links = readFileSync(`/proc/${pid}/net/dev`, 'utf8').trim().split('\n').slice(2)
    assert.deepEqual(
      links.map((line) => line.trim().split(':')[0]),
      ['lo'],
    )
    const mounts = readFileSync(`/proc/${pid}/mountinfo`, 'utf8').trim().split('\n')
    const writable = mounts
      .map((line) => line.split(' '))
      .filter(([, , , , , how]) => !/^ro\b/.test(how!))
    assert.deepEqual(
      writable.map(([, , , , at]) => at),
      [machinePaths.own],
    )
  })

  test('Killed and released, it leaves no process, folder, lease and uid in use', async (t) => {
    const { machine, host } = await started(t)
    const { processes, uid, folder } = machine
    machine.kill()
    assert.notEqual((await machine.ended).exitCode, 0)
    await machine.release()
    assert.deepEqual(
      processes.filter(({ pid, startTime }) => isAlive(pid, startTime)),
      [],
    )
    assert.deepEqual([existsSync(folder), host.leases.size], [false, 0])
    if (uid !== undefined) assert.deepEqual(processesOf(uid), [])
    await assert.rejects(machine.control.ask('stop'), { code: 'PROTOCOL' })
  })

  test('A sweep by its lease ends it, and removes its folder and cgroup', async (t) => {
    const { machine, host } = await started(t)
    const remains = host.leases.get(machine.id)!
    sweepDead([{ id: machine.id, isThisBoot: true, remains }])
    await machine.ended
    assert.deepEqual(
      machine.processes.filter(({ pid, startTime }) => isAlive(pid, startTime)),
      [],
    )
    assert.equal(existsSync(machine.folder), false)
  })

  test('A program without a greeting fails after three tries, each with its time limit', async () => {
    const { host, parts } = stand()
    const program = {
      ...parts.program,
      words: ['/machine/qemu/lib/ld-linux-x86-64.so.2', '--list'],
    }
    const counts = noStarts()
    const silent = { ...parts, program, readyMsMax: 20_000 }
    await assert.rejects(
      withTries(() => startMachine(silent, host), counts),
      {
        code: 'UNAVAILABLE',
      },
    )
    assert.deepEqual(counts, { started: 0, failedTries: 3, failed: 1 })
    assert.equal(host.leases.size, 0)
  })

  test('A start over its time limit is ended, and leaves no lease', async () => {
    const { host, parts } = stand()
    await assert.rejects(startMachine({ ...parts, readyMsMax: 1 }, host), { code: 'PROTOCOL' })
    assert.equal(host.leases.size, 0)
  })

  test('An argument that QEMU refuses is reported with QEMU’s own message', async () => {
    const { host, parts } = stand()
    const wrong = { ...parts, words: ['-device', 'no-such-device'] }
    await assert.rejects(startMachine(wrong, host), /no-such-device.*not a valid device/)
    assert.equal(host.leases.size, 0)
  })
})

suite('The accelerator of this machine', { skip, timeout }, () => {
  test('A boot under TCG runs code of a disk', async () => {
    assert.match(await probeBoot(probeParts(), 'tcg'), /^\d+\.\d+\.\d+$/)
  })

  test('A boot over its time limit is reported', async () => {
    const late = probeBoot({ ...probeParts(), bootMsMax: 1 }, 'tcg')
    await assert.rejects(late, (error: { code: string }) =>
      ['PROTOCOL', 'UNAVAILABLE'].includes(error.code),
    )
  })

  test('KVM is used only after a successful boot with it; otherwise the reason is reported and cached for this host boot', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-test-'))
    try {
      const first = await cachedAccelerators(probeParts(), folder)
      assert.equal(first.accelerator === 'tcg', first.withoutKvm !== undefined)
      const counts = noStarts()
      assert.deepEqual(await cachedAccelerators({ ...probeParts(), counts }, folder), first)
      assert.equal(counts.started, 0)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

function stand() {
  const host = guestHost()
  const spec = { accelerator: 'tcg', memoryMiB: 64, memory: 'shared', hasImage: true } as const
  const parts: MachineStart = { ...machinePrograms(), spec, files: { image: '/bin/sh' } }
  return { host, parts }
}

function probeParts(): ProbeParts {
  return { ...machinePrograms(), host: guestHost() }
}

/** A machine that is released at the end of its test. */
async function started(t: TestContext) {
  const { host, parts } = stand()
  const seen = new Events()
  let machine: QemuProcess | undefined
  t.after(() => machine?.release())
  machine = await startMachine({ ...parts, onEvent: (event) => seen.push(event) }, host)
  return { machine, host, seen }
}

type Data = Readonly<Record<string, unknown>>

class Events {
  #waiting: { name: string; fits: (data: Data) => boolean; resolve: () => void }[] = []

  push({ name, data }: { readonly name: string; readonly data: Data }): void {
    const due = this.#waiting.filter((one) => one.name === name && one.fits(data))
    this.#waiting = this.#waiting.filter((one) => !due.includes(one))
    for (const { resolve } of due) resolve()
  }

  wait(name: string, fits: (data: Data) => boolean): Promise<void> {
    return new Promise((resolve) => void this.#waiting.push({ name, fits, resolve }))
  }
}
