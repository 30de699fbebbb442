import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { conversationState } from '../../src/agent-wire/conversation.ts'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import { MayflyError } from '../../src/contract/error.ts'
import { machineSave, type MachineSave } from '../../src/contract/machine-save.ts'
import type { Capture } from '../../src/contract/provider.ts'
import { basesFolder, openMemoryBases } from '../../src/evidence/memory-bases.ts'
import { guestMemory } from '../../src/evidence/memory-image.ts'
import { leaseFolder } from '../../src/lib/state-folder.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import type { WardenClient } from '../../src/walls/client.ts'
import {
  commandBytesMax,
  resumeGuest,
  type ResumedGuest,
  type ResumedGuestParts,
} from '../../src/walls/resumed-guest.ts'
import { descendantsOf } from '../conformance/remains.ts'
import { inPython } from '../conformance/guests-of-programs.ts'
import { makeMicroVm, noMachines } from '../conformance/microvm.ts'
import { Stand, type Made } from '../conformance/stand.ts'
import { machineState } from '../fixtures/machine-images.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'

/** Machines that are resumed from the capture of a job, by another warden than the one that ran it. */
const skip = noMachines ?? false
const timeout = 1_200_000
const MIB = 2 ** 20
const COMMAND_MS_MAX = 120_000
const LIFE_MS = 600_000
/** Counts in a file, and writes a text that is nowhere in its source. */
const counts = `
import socket, time
def main(input):
    held = '-'.join(['written', 'by', 'the', 'job', str(99 * 87)])
    with open('/tmp/note', 'w') as file: file.write(held)
    n = 0
    while True:
        n += 1
        with open('/tmp/count', 'w') as file: file.write(str(n))
        if n == 3: print('holds', socket.gethostname(), flush=True)
        print('-' * 10000, flush=True)
        time.sleep(0.02)`
const folder = skip ? '' : mkdtempSync(join(tmpdir(), 'mayfly-resume-test-'))
const state = join(folder, 'state')

interface Saved {
  readonly capture: Capture
  readonly save: MachineSave
  readonly hostname: string
}

suite('A machine that is resumed from a capture', { skip, timeout }, () => {
  let saved: Saved
  let warden: WardenClient

  before(async () => {
    const images = await machineState()
    if ('missing' in images) throw new Error(images.missing)
    const made = await makeMicroVm({}, 'python')
    saved = await saveOf(made)
    const kept = openMemoryBases(state, { now: () => Date.now() })
    assert.equal(await kept.keep(saved.capture.base!), undefined)
    // The warden of the job is gone with its spares: each process that is counted later is one of a resumed machine.
    await made.close()
    warden = holdWarden({ stateFolder: state, imageState: images.state })
  })
  after(async () => {
    await warden.close()
    for (const one of [folder, `${folder}-warden`]) rmSync(one, { recursive: true, force: true })
  })

  test('shows files and processes of the job, which is frozen until it is thawed, under another name', async (t) => {
    const before = remains()
    const began = performance.now()
    await using guest = await resumeGuest(partsOf(saved, warden))
    t.diagnostic(`${Math.round(performance.now() - began)} ms until it was resumed`)
    const say = (command: string) => saidBy(guest, command)
    assert.equal(await say('cat /tmp/note'), 'written-by-the-job-8613')
    assert.match(await say('ps'), /python3/)
    assert.equal(await say('id -u'), '0')
    const counted = await say('cat /tmp/count')
    assert.equal(await say('sleep 1; cat /tmp/count'), counted)
    assert.equal(await say('hostname'), guest.wall)
    assert.notEqual(guest.wall, saved.hostname)
    assert.ok(Math.abs(Number(await say('date +%s')) * 1_000 - Date.now()) < 120_000)
    assert.equal(await say('ls /sys/class/net'), 'lo')
    await guest.thaw()
    await say(`while [ "$(cat /tmp/count)" = ${counted} ]; do sleep 0.1; done`)
    assert.equal(remains().leases.length, before.leases.length + 1)
    assert.ok(remains().processes.length > before.processes.length)
    assert.ok(existsSync(`/tmp/mayfly-${guest.wall}`))
    assert.notEqual(openCgroups()?.list().includes(guest.wall), false)
    await guest[Symbol.asyncDispose]()
    assert.deepEqual(remains(), before)
    assert.ok(!existsSync(`/tmp/mayfly-${guest.wall}`))
    assert.ok(!openCgroups()?.list().includes(guest.wall))
  })

  test('is resumed twice at once, and neither has the names or the random numbers of the other', async () => {
    const guests = await Promise.all([1, 2].map(() => resumeGuest(partsOf(saved, warden))))
    await using one = guests[0]!
    await using other = guests[1]!
    const names = ['/proc/sys/kernel/random/boot_id', '/etc/machine-id', '/run/mayfly/id']
    for (const command of [
      ...names.map((file) => `cat ${file}`),
      'head -c 16 /dev/urandom | xxd -p',
    ])
      assert.notEqual(await saidBy(one, command), await saidBy(other, command), command)
  })

  test('reaches neither a network nor the server of its job, thawed or not', async () => {
    await using guest = await resumeGuest(partsOf(saved, warden))
    const networks = await guest.run('wget -T 5 -O - http://192.0.2.1/ 2>&1', COMMAND_MS_MAX)
    assert.match(networks.stdout.toString(), /unreachable/)
    assert.notEqual(networks.exitCode, 0)
    const frozenAt = Number(await saidBy(guest, 'cat /tmp/count'))
    assert.equal(Number(await saidBy(guest, 'sleep 1; cat /tmp/count')), frozenAt)
    await guest.thaw()
    // The job prints until its window is full, and waits then: nothing takes its output.
    const goesOn = `until [ "$(cat /tmp/count)" -gt ${frozenAt} ]; do sleep 1; done`
    const waits = 'n=; while [ "$n" != "$(cat /tmp/count)" ]; do n=$(cat /tmp/count); sleep 3; done'
    await saidBy(guest, `${goesOn}; ${waits}`)
    assert.ok(Number(await saidBy(guest, 'cat /tmp/count')) > frozenAt)
    assert.match(await saidBy(guest, 'ps'), /python3/)
    assert.match(await saidBy(guest, 'cat /proc/net/route | wc -l'), /^[01]$/)
  })

  test('runs each command within its bounds of time, output and length', async () => {
    await using guest = await resumeGuest(partsOf(saved, warden))
    const cut = await guest.run('yes', COMMAND_MS_MAX)
    assert.deepEqual([cut.isCut, cut.stdout.length], [true, MIB])
    for (let count = 0; count < 20; count++)
      assert.ok((await guest.run('yes', COMMAND_MS_MAX, 4_096)).isCut, `${count}`)
    const late = await guest.run('echo begun; sleep 600', 2_000)
    assert.deepEqual([late.isLate, late.exitCode, late.stdout.toString()], [true, null, 'begun\n'])
    const left = await guest.run('sleep 600 & echo left', COMMAND_MS_MAX)
    assert.deepEqual([left.exitCode, left.stdout.toString()], [0, 'left\n'])
    const failed = await guest.run('echo no >&2; exit 3', COMMAND_MS_MAX)
    assert.deepEqual([failed.exitCode, failed.stderr.toString()], [3, 'no\n'])
    for (const command of ['a\0b', 'x'.repeat(commandBytesMax + 1)])
      await assert.rejects(guest.run(command, COMMAND_MS_MAX), { code: 'INVALID' })
    assert.equal(await saidBy(guest, 'printf %s whole'), 'whole')
    const fill = async () => {
      for (let count = 0; count < 20; count++) await guest.run('setsid sleep 600 &', COMMAND_MS_MAX)
    }
    await assert.rejects(fill(), { code: 'OVERLOADED' })
  })

  test('is killed at the end of its life, also while a command runs', async () => {
    const before = remains()
    await using guest = await resumeGuest({ ...partsOf(saved, warden), lifeMs: 5_000 })
    await assert.rejects(guest.run('sleep 600', COMMAND_MS_MAX), { code: 'PROTOCOL' })
    assert.equal(await guest.ended, 'deadline')
    await guest[Symbol.asyncDispose]()
    assert.deepEqual(remains(), before)
  })

  test('is refused for another release, accelerator, mechanism, image or other devices, and leaves nothing', async () => {
    const before = remains()
    const accelerator = saved.save.accelerator === 'kvm' ? 'tcg' : 'kvm'
    const others: readonly (readonly [other: Partial<MachineSave>, why: RegExp])[] = [
      [{ release: '9.9.9' }, /release 9\.9\.9 saved it/],
      [{ devices: 'd'.repeat(64) }, /its devices are those of another Mayfly/],
      [{ accelerator }, /it ran by "/],
      [{ image: 'e'.repeat(64) }, /there is no image "sha256:e{64}"/],
      [{ mechanism: 'gvisor' }, /by "runsc": it has no saves/],
      [{ mechanism: 'user-mode-linux' }, /by "user-mode-linux": it has no saves/],
      [{ memoryMiB: saved.save.memoryMiB * 2 }, /its devices are those of another Mayfly/],
    ]
    for (const [other, message] of others) {
      const parts = partsOf(saved, warden)
      const refused = resumeGuest({ ...parts, save: { ...saved.save, ...other } })
      await assert.rejects(refused, { code: 'UNAVAILABLE', message }, JSON.stringify(other))
    }
    assert.deepEqual(remains(), before)
  })

  test('is refused where QEMU, the jail or the images are missing', async () => {
    const stateFolder = join(folder, 'other')
    const images = await machineState()
    const imageState = 'state' in images ? images.state : ''
    for (const [message, options] of [
      [/the program "qemu-\S+" is missing/, { imageState, hide: ['qemu', 'unpacked qemu'] }],
      [/the program "bwrap" is missing/, { imageState, hide: ['bwrap'] }],
      [/there is no image "sha256:/, {}],
    ] as const) {
      const other = holdWarden({ stateFolder, ...options })
      await assert.rejects(resumeGuest(partsOf(saved, other)), { code: 'UNAVAILABLE', message })
      await other.close()
      assert.deepEqual(readdirSync(leaseFolder(stateFolder)), [])
    }
  })

  test('leaves nothing where its save is cut, too large, damaged, or does not verify', async () => {
    const before = remains()
    const parts = partsOf(saved, warden)
    const changed = new MayflyError('STATE', 'Cannot read "memory.zst": it is not what was kept')
    const fails = async function* () {
      yield Buffer.alloc(MIB, 1)
      throw changed
    }
    await assert.rejects(resumeGuest({ ...parts, memory: fails() }), changed)
    const large = endless(Buffer.alloc(MIB, 1))
    await assert.rejects(resumeGuest({ ...parts, memory: large }), /memory out of its place/)
    const devices = endless(Buffer.alloc(MIB, 1))
    await assert.rejects(resumeGuest({ ...parts, devices }), /its devices are too large/)
    for (const damaged of damages(part(saved.capture, 'devices.img'))) {
      const memory = memoryOf(saved.capture)
      const refused = resumeGuest({ ...parts, memory, devices: oneChunk(damaged) })
      await assert.rejects(refused, MayflyError)
    }
    assert.deepEqual(remains(), before)
  })
})

/** Output of a command that has to succeed. */
async function saidBy(guest: ResumedGuest, command: string): Promise<string> {
  const { exitCode, stdout, stderr } = await guest.run(command, COMMAND_MS_MAX)
  assert.equal(exitCode, 0, `${command}: ${stderr.toString()}`)
  return stdout.toString().trim()
}

async function* endless(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (;;) yield bytes
}

/** Cut, of another format, and with lengths that no field has. */
function damages(devices: Buffer): readonly Buffer[] {
  const [head, middle] = [Buffer.from(devices), Buffer.from(devices)]
  head.fill(0xff, 0, 8)
  middle.fill(0xff, 64, devices.length - 64)
  return [devices.subarray(0, devices.length >> 1), head, middle]
}

function partsOf({ capture, save }: Saved, warden: WardenClient): ResumedGuestParts {
  return {
    warden,
    save,
    position: conversationState.parse(jsonOf(capture, 'agent.json')),
    memory: memoryOf(capture),
    devices: oneChunk(part(capture, 'devices.img')),
    lifeMs: LIFE_MS,
  }
}

async function* memoryOf(capture: Capture): AsyncGenerator<Uint8Array> {
  await using base = await open(join(state, basesFolder, capture.base!.sha256))
  const changed = oneChunk(part(capture, 'memory.zst'))
  yield* guestMemory({ pages: part(capture, 'memory.json'), changed, base })
}

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

async function saveOf(made: Made): Promise<Saved> {
  const stand = new Stand(made.provider, () => Promise.reject(new Error('no other')), inPython)
  const controls = { memory: 256 * MIB }
  const running = await stand.start(counts, { limits: { timeout: 300_000 }, controls })
  await using sandbox = running.sandbox
  await running.said('holds')
  const hostname = /holds (\S+)/.exec(running.stdout())![1]!
  const capture = await sandbox.capture()
  assert.equal(capture.why, undefined)
  const { save } = jsonOf(capture, 'machine.json') as { save: unknown }
  sandbox.kill({ status: 'cancelled' })
  await running.end
  return { capture, save: machineSave.parse(save), hostname }
}

const jsonOf = (capture: Capture, name: string): unknown =>
  JSON.parse(part(capture, name).toString())

function part({ parts }: Capture, name: string): Buffer {
  const found = parts.find((one) => one.name === name)
  assert.ok(found, `${name}, of ${parts.map((one) => one.name).join()}`)
  return Buffer.concat(found.bytes)
}

/** Processes below this one, and leases of the warden of the resumed machines, which name folders and control groups. */
function remains() {
  return { leases: readdirSync(leaseFolder(state)), processes: descendantsOf(process.pid) }
}
