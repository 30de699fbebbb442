import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { hostname, release } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { isAlive, nameOfProcess } from '../../src/os/proc.ts'
import { belowOf } from '../../src/os/process-tree.ts'
import { inPython } from '../conformance/guests-of-programs.ts'
import { makeMicroVm, noMachines } from '../conformance/microvm.ts'
import { until, type Made, type Wish } from '../conformance/stand.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { assertGoneInTime, whyNoGroups } from './gone-in-time.ts'
import {
  assertFreezes,
  assertNetworkCloses,
  closeWalls,
  standOf,
  startWardenToKill,
} from './wall-lives.ts'
import { countsForks, fillsMemory, ticks } from './wall-programs.ts'

/** Tests beyond the conformance suite: view and limits of a guest, egress, and leftovers on the host. */
const MEBIBYTE = 2 ** 20
const skip = noMachines ?? false
/** A boot under emulation takes seven seconds of processor time, and a busy machine gives it a twentieth. */
const timeout = 900_000
const tells = ticks.replace('print(n,', 'print(time.time(),')
/** Longer than output needs to arrive on a busy machine. */
const STANDSTILL_MS = 6_000
const looks = `
import os, socket, time
def main(input):
    return {
        'release': os.uname().release, 'host': socket.gethostname(), 'uid': os.getuid(), 'time': time.time(),
        'links': [name for _, name in socket.if_nameindex()], 'boot': open('/proc/sys/kernel/random/boot_id').read().strip(),
        'written': [place for place in ('/', '/usr', '/etc', '/opt/mayfly', '/proc/sys/kernel', '/sys') if os.access(place, os.W_OK)],
        'devices': sorted(os.listdir('/dev')),
    }`
/** Content of /dev: no disk, port, log or memory of the machine. */
const ownDevices = 'fd full null ptmx pts random shm stderr stdin stdout tty urandom zero'.split(
  ' ',
)
/** Command lines of all processes that it sees, of which one is a child that it started itself. */
const listsProcesses = `
import os, subprocess, sys
def main(input):
    child = subprocess.Popen([sys.executable, '-c', 'input()', input['own']], stdin=subprocess.PIPE)
    pids = [int(name) for name in os.listdir('/proc') if name.isdigit()]
    lines = [open(f'/proc/{pid}/cmdline', 'rb').read().replace(b'\\0', b' ').decode('latin1') for pid in pids]
    child.kill()
    return {'pids': pids, 'lines': lines, 'kernel': os.uname().release}`
const holds = `
import time
def main(input):
    kept = bytearray(b'x') * ${120 * MEBIBYTE}
    print('held', flush=True)
    time.sleep(600)`
/** Searches for its cgroup, to raise the limit or to leave it. */
const leaves = `
import ctypes, errno, os
def main(input):
    libc = ctypes.CDLL(None, use_errno=True)
    os.mkdir('/work/groups')
    libc.mount(b'cgroup2', b'/work/groups', b'cgroup2', 0, None)
    why = errno.errorcode[ctypes.get_errno()]
    seen = [at for at in ('/groups', '/sys/fs/cgroup/cgroup.procs', '/work/groups/cgroup.procs') if os.path.exists(at)]
    return [open('/proc/self/cgroup').read().strip(), seen, why]`
/** Writes, beside a child with an open file, until writes are refused; then tries every other way to write. */
const writes = `
import ctypes, errno, os, subprocess, sys, time
held = "import time; kept = open('/work/held', 'w'); print('held', flush=True); time.sleep(600)"
def why(act):
    try: act()
    except OSError as error: return errno.errorcode[error.errno]
    return 'done'
def namespaces():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10020000) != 0: raise OSError(ctypes.get_errno(), 'unshare')
def main(input):
    child = subprocess.Popen([sys.executable, '-c', held], stdout=subprocess.PIPE)
    child.stdout.readline()
    own = why(namespaces)
    tries = [lambda at=at: open(at + '/own', 'w').write('x') for at in ('/tmp', '/work', '/dev/shm')]
    assert [why(act) for act in tries] == ['done'] * 3
    print('writing', flush=True)
    while 'done' in map(why, tries): time.sleep(0.01)
    others = [lambda: os.mkdir('/work/made'), lambda: os.remove('/tmp/own'), lambda: os.chmod('/tmp/own', 0)]
    return [own, child.wait(), *map(why, tries), *map(why, others)]`
/** Reads files of the image for a number of two-second intervals; returns the bytes a second of each interval. */
const reads = `
import os, time
def sectors(): return int(open('/sys/block/vda/stat').read().split()[2])
def main(input):
    rates, before, began = [], sectors(), time.monotonic()
    for folder, _, names in os.walk('/usr'):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path): open(path, 'rb').read()
            passed = time.monotonic() - began
            if passed < 2: continue
            rates.append((sectors() - before) * 512 / passed)
            print('read', len(rates), flush=True)
            before, began = sectors(), time.monotonic()
            if len(rates) == input['parts']: return rates
    return rates or [(sectors() - before) * 512 / (time.monotonic() - began)]`
const limits = { timeout: 120_000 }

suite('A virtual machine as a wall', { skip, timeout }, () => {
  let made: Made
  before(async () => void (made = await makeMicroVm({}, 'python')))
  after(() => closeWalls(made))
  const stand = () => standOf(made)

  test('A guest has its own kernel, host name and boot id, the right time, and only its scratch is writable', async () => {
    const { end } = await stand().run(looks, { limits })
    assert.equal(end.status, 'ok', JSON.stringify(end))
    const { time, boot, ...seen } = JSON.parse(end.resultText) as Record<string, unknown>
    const { release: kernel, host, ...rest } = seen
    assert.notEqual(kernel, release())
    assert.notEqual(host, hostname())
    assert.deepEqual(rest, { uid: 1000, links: ['lo'], written: [], devices: ownDevices })
    assert.ok(Math.abs(Number(time) - Date.now() / 1000) < 60)
    assert.notEqual(boot, readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim())
  })

  test('S1-17: the code of a job runs in the guest, and sees its own processes and none of this host', async () => {
    const [own, other] = [randomUUID(), randomUUID()]
    const neighbour = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', other], {
      stdio: 'ignore',
    })
    try {
      await once(neighbour, 'spawn')
      const { end } = await stand().run(listsProcesses, { input: { own }, limits })
      assert.equal(end.status, 'ok', JSON.stringify(end))
      const { pids, lines, kernel } = JSON.parse(end.resultText) as {
        pids: number[]
        lines: string[]
        kernel: string
      }
      assert.notEqual(kernel, release())
      assert.ok(lines.some((line) => line.includes(own)))
      assert.deepEqual(
        lines.filter((line) => line.includes(other)),
        [],
      )
      assert.ok(pids.length < 100, `${pids.length} processes`)
    } finally {
      neighbour.kill()
    }
  })

  test('Memory above its limit ends a job, and the next job runs', async () => {
    const wish: Wish = {
      controls: { memory: 64 * MEBIBYTE },
      limits: { ...limits, memory: 64 * MEBIBYTE },
    }
    const { end } = await stand().run(fillsMemory, wish)
    assert.deepEqual([end.status, end.error?.code], ['limit', 'MEMORY'], JSON.stringify(end))
    // The limit on the host, with its allowance beside the job, is 320 MiB: the guest's kernel acted first.
    assert.ok(end.memory!.peak < 256 * MEBIBYTE, `${end.memory!.peak} bytes`)
    assert.equal((await stand().run(inPython.guests.echo!, { input: 7 })).end.resultText, '7')
  })

  test('A memory limit lowered below the use of a program ends it', async () => {
    const wish: Wish = { controls: { memory: 200 * MEBIBYTE }, limits }
    const running = await stand().start(holds, wish)
    await using sandbox = running.sandbox
    await running.said('held')
    const { controls } = stand().profile(wish)
    const asked = sandbox.tighten({ ...controls, memory: 16 * MEBIBYTE })
    const end = await running.end
    assert.deepEqual([end.status, end.error?.code], ['limit', 'MEMORY'], JSON.stringify(end))
    await asked.catch(() => undefined)
  })

  test('Attack: a program finds no file of its cgroup, and cannot mount one', async () => {
    const { end } = await stand().run(leaves, { limits })
    assert.equal(end.resultText, '["0::/job/own",[],"EACCES"]', JSON.stringify(end))
  })

  test('Forks beyond its process limit fail', async () => {
    const { end } = await stand().run(countsForks, { controls: { processes: 5 }, limits })
    assert.equal(end.status, 'ok', JSON.stringify(end))
    assert.ok(Number(end.resultText) >= 3 && Number(end.resultText) <= 4, end.resultText)
  })

  test('Closing writes kills processes with a writable file and then refuses every write; the guest reports it', async () => {
    const wish: Wish = { limits, controls: { syscalls: ['exec', 'outside', 'process', 'write'] } }
    const running = await stand().start(writes, wish)
    await using sandbox = running.sandbox
    await running.said('writing')
    const { controls } = stand().profile(wish)
    const syscalls = ['exec', 'outside', 'process']
    const enforced = await sandbox.tighten({ ...controls, syscalls })
    const { unenforced, answers, trust, killed } = enforced
    assert.deepEqual([unenforced, enforced.controls.syscalls], [[], syscalls])
    assert.deepEqual([answers?.['write'], trust, killed], ['EROFS', 'guest', 1])
    const { resultText } = await running.end
    assert.deepEqual(JSON.parse(resultText), ['ENOSPC', -9, ...Array(6).fill('EROFS')])
  })

  test('S1-10: reads of the image are as slow as the io limit, which is lowered while the program runs', async () => {
    const [first, then] = [MEBIBYTE, MEBIBYTE / 4]
    const bound: Wish = { controls: { io: first }, limits, input: { parts: 4 } }
    const running = await stand().start(reads, bound)
    await using sandbox = running.sandbox
    assert.equal(sandbox.held?.['io'], 'throttle')
    await running.said('read 1')
    const { unenforced } = await sandbox.tighten({ ...stand().profile(bound).controls, io: then })
    assert.deepEqual(unenforced, [])
    const rates = JSON.parse((await running.end).resultText) as number[]
    // The bucket of QEMU gives a tenth of a second in advance.
    assert.ok(rates[0]! <= 1.1 * first, rates.join(' '))
    assert.ok(rates.at(-1)! <= 1.1 * then, rates.join(' '))
    const free = await stand().run(reads, { limits, input: { parts: 1 } })
    const [rate] = JSON.parse(free.end.resultText) as number[]
    assert.ok(rate! > 2 * then, `${rate}`)
  })

  test('A program that exits reports its code, and its whole output arrives', async () => {
    const source = `import os\ndef main(input):\n    os.write(1, b'x' * 100000)\n    os._exit(3)`
    const { end, stdout } = await stand().run(source, { limits })
    assert.deepEqual([end.status, end.error?.code, end.exitCode], ['error', 'EXIT', 3])
    assert.ok(stdout === 'x'.repeat(100_000), `${stdout.length} bytes`)
  })

  test('A frozen guest makes no progress until it is thawed', () => assertFreezes(stand(), limits))

  test('A thawed guest has the right time again', async () => {
    const running = await stand().start(tells, { limits })
    await using sandbox = running.sandbox
    await running.said('.')
    await sandbox.freeze()
    await sleep(STANDSTILL_MS)
    await sandbox.thaw()
    const lagMs = () => Date.now() - 1000 * Number(running.stdout().trimEnd().split('\n').at(-1))
    await until(() => Math.abs(lagMs()) < STANDSTILL_MS / 2, 'its clock to be that of the host')
    sandbox.kill({ status: 'cancelled' })
    await running.end
  })

  test(
    'S1-19: no process of a wall is left 500 ms after the result of its program, in one of eight tries',
    { skip: whyNoGroups },
    () => assertGoneInTime(stand(), limits),
  )

  test('Killed, it leaves no process, no folder and no control group', async () => {
    const running = await stand().start(inPython.guests.spins!, { limits })
    await running.said('spinning')
    const id = running.sandbox.wall!
    const groups = openCgroups()
    const own = groups?.processes(id) ?? []
    assert.ok(!groups || own.length >= 3)
    assert.ok(existsSync(`/tmp/mayfly-${id}`))
    running.sandbox.kill({ status: 'cancelled' })
    assert.equal((await running.end).status, 'cancelled')
    await running.sandbox[Symbol.asyncDispose]()
    await until(() => !existsSync(`/tmp/mayfly-${id}`), 'the folder to be removed')
    assert.deepEqual(
      own.filter((pid) => isAlive(pid)),
      [],
    )
    assert.ok(!groups?.list().includes(id))
  })

  test('QEMU killed during a job is reported as a lost wall, not as the end of the program', async () => {
    const running = await stand().start(inPython.guests.spins!, { limits })
    await running.said('spinning')
    const { wall } = running.sandbox
    // The jail of QEMU binds the folder of its wall; spares that start meanwhile have other folders.
    const jails = belowOf(process.pid).filter((pid) => wordsOf(pid).includes(wall!))
    const [qemu] = jails
      .flatMap((pid) => belowOf(pid))
      .filter((pid) => wordsOf(pid).includes('q35') && !isBubblewrap(pid))
    assert.ok(existsSync(`/tmp/mayfly-${wall}`))
    process.kill(qemu!, 'SIGKILL')
    const end = await running.end
    assert.deepEqual([end.status, end.error?.code], ['failed', 'WALL_LOST'], JSON.stringify(end))
    await running.sandbox[Symbol.asyncDispose]()
    await until(() => !existsSync(`/tmp/mayfly-${wall}`), 'the folder to be removed')
  })
})

const wordsOf = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, 'utf8')
const isBubblewrap = (pid: number) => readFileSync(`/proc/${pid}/comm`, 'utf8').includes('bwrap')

suite('An unavailable machine', { skip, timeout }, () => {
  const missing = [
    [
      'QEMU',
      { hide: ['unpacked qemu', 'qemu'] },
      /qemu-system-x86_64" is missing/,
      /^Install the package/,
    ],
    ['bubblewrap', { hide: ['bwrap'] }, /"bwrap" is missing/, /^Install bubblewrap$/],
    [
      'the images',
      { imageState: '/nonexistent' },
      /there is no image "node"/,
      /mayfly images build kernel node python/,
    ],
  ] as const
  for (const [part, options, reason, fix] of missing)
    test(`Without ${part} it is unavailable, with cause and fix`, async () => {
      const made = await makeMicroVm(options, 'python')
      try {
        const proved = await made.provider.detect()
        assert.ok(!proved.available)
        assert.match(proved.reason, reason)
        assert.match(proved.fix, fix)
      } finally {
        await closeWalls(made)
      }
    })
})

suite('Egress of a machine', { skip, timeout }, () => {
  test('Granted hosts are reached, others are refused, and none once the network is closed', () =>
    assertNetworkCloses((egress) => makeMicroVm({}, 'python', egress), limits))
})

suite('A killed warden of machines', { skip, timeout }, () => {
  for (const [whose, isKept] of [
    ['the next warden', true],
    ['a warden of another state folder, where its own is deleted too,', false],
  ] as const)
    test(`No process of a machine is left, and ${whose} removes its folder`, async () => {
      using killed = await startWardenToKill<{ wall: string; pids: number[] }>('microvm-life.ts')
      const { wall, pids } = killed.said
      assert.ok(pids.length >= 3)
      killed.child.kill('SIGKILL')
      // A launcher (bwrap) whose parent dies during its start blocks for ever: the next warden ends it.
      const isLeft = (pid: number) => isAlive(pid) && nameOfProcess(pid) !== 'bwrap'
      await until(() => !pids.some(isLeft), 'its processes to end')
      const folder = `/tmp/mayfly-${wall}`
      assert.ok(existsSync(folder))
      if (!isKept) rmSync(`${killed.state}-warden`, { recursive: true })
      const stateFolder = isKept ? killed.state : join(killed.base, 'other')
      const next = holdWarden({ stateFolder })
      await until(() => !existsSync(folder), 'the folder to be removed')
      if (isKept) await until(() => !pids.some((pid) => isAlive(pid)), 'its launchers to end')
      await next.close()
    })
})
