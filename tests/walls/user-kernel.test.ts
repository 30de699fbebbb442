import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { release } from 'node:os'
import path from 'node:path'
import { after, suite, test } from 'node:test'
import { isAlive, processesOf } from '../../src/os/proc.ts'
import { belowOf, cpuMsOf } from '../../src/os/process-tree.ts'
import { spentMs } from '../../src/warden/engines/agent-guest/bounds.ts'
import {
  cachedUserKernel,
  probeUserKernel,
} from '../../src/warden/engines/user-mode-linux/probe.ts'
import { findUserKernel } from '../../src/warden/engines/user-mode-linux/program.ts'
import { sweepDead } from '../../src/warden/engines/sweep.ts'
import { until } from '../conformance/stand.ts'
import { guestHost } from './qemu-here.ts'
import {
  agentBytes,
  builtImage,
  isUserKernelThere,
  kernelPrograms,
  makeInitrd,
  noUserKernel,
  PlayedGuest,
} from './user-kernel-here.ts'

/** Real user-mode kernels in their jail: a boot takes some 60 ms of processor time. */
const isThere = isUserKernelThere()
const { folder, initrd } = isThere ? makeInitrd() : { folder: '', initrd: '' }
after(() => folder && rmSync(folder, { recursive: true, force: true }))
const built = isThere ? await builtImage(folder, 'minimal') : { reason: noUserKernel }
const image = 'file' in built ? built.file : undefined
const skip = 'reason' in built ? built.reason : false
const timeout = 240_000
const user = { uid: 1000, gid: 1000 }

suite(
  'A user-mode kernel of this machine',
  { skip: isThere ? false : noUserKernel, timeout },
  () => {
    test('A boot without an image proves that it works here; the result is cached for this host boot', async () => {
      const parts = { ...kernelPrograms(), host: guestHost(), agent: agentBytes() }
      const kept = path.join(folder, 'kept')
      const first = await cachedUserKernel(parts, kept)
      assert.match(first.version, /^\d+\.\d+/)
      const never = { ...parts, bootMsMax: 0 }
      assert.deepEqual(await cachedUserKernel(never, kept), first)
      assert.equal(parts.host.leases.size, 0)
    })

    test('A boot over its time limit is reported, and leaves nothing', async () => {
      const host = guestHost()
      const late = { ...kernelPrograms(), host, agent: agentBytes(), bootMsMax: 1 }
      await assert.rejects(probeUserKernel(late), { code: 'UNAVAILABLE' })
      assert.equal(host.leases.size, 0)
    })

    test('The failure of a program in place of the kernel is reported with its own message', async () => {
      const { kernel, programs } = kernelPrograms()
      const host = guestHost()
      const wrong = { kernel: { ...kernel, file: kernel.libraries[1]! }, programs, host }
      await assert.rejects(probeUserKernel({ ...wrong, agent: agentBytes() }), {
        code: 'UNAVAILABLE',
      })
      assert.equal(host.leases.size, 0)
    })

    test('A missing part is reported with its fix', () => {
      assert.throws(() => findUserKernel(['user-mode-linux']), /Cannot start a user-mode kernel/)
      const half = path.join(folder, 'half')
      mkdirSync(half)
      assert.throws(() => findUserKernel([], half), { code: 'UNAVAILABLE' })
    })
  },
)

suite('A guest on a user-mode kernel', { skip, timeout }, () => {
  test('An image of the store boots, takes a claim with every step done, runs a program, and powers off', async (t) => {
    const played = await PlayedGuest.boot(t, { initrd, image })
    await claim(played)
    const facts = (await played.outputOf('hostname; id -u; uname -r; ls /dev | wc -l', user)).split(
      '\n',
    )
    assert.deepEqual([facts[0], facts[1], facts[3]], ['guest-1', '1000', '13'])
    assert.notEqual(facts[2], release())
    await played.run('setsid sleep 1000 & sleep 1000')
    const nonce = played.nonce()
    played.send({ kind: 'kill', nonce })
    assert.equal((await played.find('killed', (one) => one.nonce === nonce)).mayBeLeft, false)
    played.socket.end()
    assert.equal((await played.guest.ended).exitCode, 0)
  })

  test('Two guests share no boot id, and their clocks are right', async (t) => {
    const [one, other] = [
      await PlayedGuest.boot(t, { initrd, image }),
      await PlayedGuest.boot(t, { initrd, image }),
    ]
    assert.notEqual((await claim(one)).bootId, (await claim(other)).bootId)
    const seconds = Number(await one.outputOf('date +%s'))
    assert.ok(Math.abs(seconds - Date.now() / 1000) < 30, `${seconds}`)
  })

  test('The kernel has no capability, network, /proc or /dev, a filter, and namespaces of its own', async (t) => {
    const { guest } = await PlayedGuest.boot(t, { initrd, image })
    const pid = kernelPid(guest.processes.map((one) => one.pid))
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    assert.match(status, /^CapEff:\t0+$/m)
    assert.match(status, /^CapBnd:\t0+$/m)
    assert.match(status, /^NoNewPrivs:\t1$/m)
    assert.match(status, /^Seccomp:\t2$/m)
    if (guest.uid !== undefined)
      assert.match(status, new RegExp(`^Uid:\t${`${guest.uid}\t?`.repeat(4)}$`, 'm'))
    for (const name of ['net', 'pid', 'mnt', 'ipc', 'uts', 'user'])
      assert.notEqual(
        readlinkSync(`/proc/${pid}/ns/${name}`),
        readlinkSync(`/proc/self/ns/${name}`),
      )
    assert.ok(existsSync(`/proc/${pid}/root/own`), 'its root can be read')
    for (const place of ['proc', 'dev', 'etc', 'usr', 'home', 'tmp'])
      assert.equal(existsSync(`/proc/${pid}/root/${place}`), false, place)
    const own = readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
    const writable = own.split('\n').filter((line) => /^\S+ \S+ \S+ \S+ \S+ rw\b/.test(line))
    assert.deepEqual(
      writable.map((line) => line.split(' ')[4]),
      ['/own'],
    )
    // Memory of the guest is in an unlinked file.
    assert.match(readFileSync(`/proc/${pid}/maps`, 'utf8'), /rw-s.*\/own\/#\d+ \(deleted\)/)
  })

  test('Attack: root of the guest mounts no folder of the host, and finds no link but the loopback', async (t) => {
    const played = await PlayedGuest.boot(t, { initrd, image })
    const asked = `id -u; grep -c hostfs /proc/filesystems; mkdir /tmp/h; mount -t hostfs none /tmp/h || echo closed; mount -t tmpfs none /tmp/h && echo open; ls /sys/class/net`
    assert.deepEqual((await played.outputOf(asked)).trim().split('\n'), [
      '0',
      '0',
      'closed',
      'open',
      'lo',
    ])
    assert.equal(
      played.messages.some((one) => one.kind === 'lost'),
      false,
    )
  })

  test('Attack: a memory bomb ends inside the guest, whose memory is limited by the host', async (t) => {
    const played = await PlayedGuest.boot(t, { initrd, image })
    await claim(played, {}, 48 * 2 ** 20)
    // As a runner: without the cgroup the guest's kernel rereads its own files repeatedly before it kills anything.
    const descriptors = [{ number: 4, name: 'group' }]
    const endOf = async (fill: string) => {
      const program = await played.run(fill, { ...user, descriptors })
      return (await played.find('exited', (one) => one.program === program)).end
    }
    const fill = (size: string) => `echo 0 >&4; dd if=/dev/zero of=/dev/null bs=${size} count=1`
    assert.deepEqual(await endOf(fill('30M')), { exitCode: 0 })
    assert.deepEqual(await endOf(fill('90M')), { signal: 9 })
    assert.equal((await played.outputOf('echo alive')).trim(), 'alive')
    const pid = kernelPid(played.guest.processes.map((one) => one.pid))
    const shared = /^RssShmem:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]
    // The kernel counts this per processor: a reading is off by up to some hundred pages.
    assert.ok(Number(shared) < 131 * 1024, `${shared} KiB`)
  })

  test("Attack: a fork bomb is stopped by the claim's limit, and ends with the guest", async (t) => {
    const host = guestHost()
    const played = await PlayedGuest.boot(t, { initrd, image }, host)
    await claim(played, { processes: 64 })
    const bomb =
      '(i=0; while [ $i -lt 300 ]; do sleep 1000 >/dev/null 2>&1 & i=$((i+1)); done) 2>&1; true'
    assert.match(await played.outputOf(bomb, user), /fork/i)
    const [{ pid: first } = { pid: 0 }] = played.guest.processes
    const count = belowOf(first).length
    assert.ok(count > 50 && count < 80, `${count}`)
    await assertGone(played, host)
  })

  test('Without cgroups the CPU time of a guest has that of its programs, also once they have exited', async (t) => {
    const host = { ...guestHost(), cgroups: undefined }
    const played = await PlayedGuest.boot(t, { initrd, image }, host)
    const known = played.guest.processes.map(({ pid }) => pid)
    const before = spentMs(played.guest)
    const loop = await played.run('i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done', user)
    let most = 0
    await until(() => {
      const programs = belowOf(known[0]!).filter((pid) => !known.includes(pid))
      most = Math.max(most, ...programs.map((pid) => cpuMsOf([pid])))
      return played.messages.some((one) => one.kind === 'exited' && one.program === loop)
    }, 'the end of the loop')
    assert.ok(most >= 50, `${most} ms`)
    const spent = spentMs(played.guest) - before
    assert.ok(spent >= most, `${spent} ms counted, ${most} ms of one process`)
  })

  test('A kill ends every process of the guest on the host, and releases cgroup, uid and lease', async (t) => {
    const host = guestHost()
    const played = await PlayedGuest.boot(t, { initrd, image }, host)
    const known = played.guest.processes.map(({ pid }) => pid)
    const programs = () => belowOf(known[0]!).filter((pid) => !known.includes(pid))
    const before = programs().length
    await played.run('sleep 1000 & sleep 1000 & setsid sleep 1000')
    await until(() => programs().length >= before + 3, 'its programs')
    await assertGone(played, host)
  })

  test('A guest that never stops by itself is ended in a loop of user code', async (t) => {
    const host = guestHost()
    const played = await PlayedGuest.boot(t, { initrd, image }, host)
    await played.run('while :; do :; done', user)
    await assertGone(played, host)
  })

  test('A sweep by its lease ends it', async (t) => {
    const host = guestHost()
    const { guest } = await PlayedGuest.boot(t, { initrd, image }, host)
    const remains = host.leases.get(guest.id)!
    sweepDead([{ id: guest.id, isThisBoot: true, remains }])
    await guest.ended
    assertNone(guest.processes)
  })

  test('Closing the host end of the channel ends the guest', async (t) => {
    const { guest, socket } = await PlayedGuest.boot(t, { initrd, image })
    socket.destroy()
    assert.equal((await guest.ended).exitCode, 0)
  })
})

async function claim(
  played: PlayedGuest,
  limits: Readonly<Record<string, number>> = {},
  memory?: number,
) {
  const timeNs = BigInt(Date.now()) * 1_000_000n
  const own = { id: 'job-1', hostname: 'guest-1', labels: {}, limits, memory }
  played.send({ kind: 'claim', seed: randomBytes(32), timeNs, ...own })
  const claimed = await played.find('claimed')
  assert.deepEqual(
    new Set(Object.values(claimed.steps)),
    new Set([0]),
    JSON.stringify(claimed.steps),
  )
  return claimed
}

/** The kernel is the process that runs its program, and not bubblewrap. */
function kernelPid(pids: readonly number[]): number {
  const found = pids.find((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'linux')
  assert.ok(found)
  return found
}

async function assertGone({ guest }: PlayedGuest, host: ReturnType<typeof guestHost>) {
  const all = guest.processes.flatMap(({ pid }) => belowOf(pid))
  const cgroup = guest.cgroup?.name
  if (cgroup) assert.ok(host.cgroups?.list().includes(cgroup))
  assert.equal(host.leases.size, 1)
  await guest.release()
  await guest.ended
  assertNone(guest.processes)
  assert.deepEqual(
    all.filter((pid) => isAlive(pid)),
    [],
  )
  assert.equal(host.leases.size, 0)
  if (guest.uid !== undefined) assert.deepEqual(processesOf(guest.uid), [])
  if (cgroup) await until(() => !host.cgroups?.list().includes(cgroup), 'the end of its group')
}

function assertNone(processes: PlayedGuest['guest']['processes']): void {
  assert.deepEqual(
    processes.filter(({ pid, startTime }) => isAlive(pid, startTime)),
    [],
  )
}
