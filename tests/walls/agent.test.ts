import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type HostMessageOf, encodeHostMessage } from '../../src/agent-wire/encode.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { encodeFrame } from '../../src/lib/frames.ts'
import { until } from '../conformance/stand.ts'
import { agentSkip, agentUsers, GuestAgent, openAgent, runOf } from '../fixtures/guest-agent.ts'

/** The agent of a guest, without a machine: as process 1 of namespaces, which is all of a boot that its own work needs. */
const { errno, signals } = constants
const program = await openAgent()
const skip = 'missing' in program ? program.missing : agentSkip()
const folder = mkdtempSync(join(tmpdir(), 'mayfly-agent-'))
const file = join(folder, 'agent')
chmodSync(folder, 0o755)
if (!('missing' in program)) copyFileSync(program.file, file)
after(() => rmSync(folder, { recursive: true, force: true }))

const seed = Buffer.from(Array.from({ length: 32 }, (_, index) => index * 7))
const claim: HostMessageOf<'claim'> = {
  kind: 'claim',
  id: 'job-1',
  seed,
  timeNs: 1_900_000_000_000_000_000n,
  limits: { processes: 200, openFiles: 40, fileBytes: 8192, coreBytes: 0 },
  memory: undefined,
  hostname: 'clone-1',
  labels: { tenant: 'a b', job: '1' },
}

/** Maps a file for writing and closes its fd: by libc, because Python's mmap keeps an fd. */
const mapping = `
import ctypes, os, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
fd = os.open("/run/mapped", os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 4096)
libc.mmap(None, ctypes.c_size_t(4096), 3, 1, fd, ctypes.c_long(0))
os.close(fd)
print("on", flush=True)
time.sleep(60)
`

/** Anonymous shared memory: by memfd_create and by mmap. */
const nameless = `
import mmap, os, time
own = mmap.mmap(-1, 4096)
fd = os.memfd_create("own")
os.ftruncate(fd, 4096)
other = mmap.mmap(fd, 4096)
print("on", flush=True)
time.sleep(60)
`

/** Opens a file in a thread with its own fd table. */
const thread = `
import ctypes, os, threading, time
def write():
    assert ctypes.CDLL(None).unshare(0x400) == 0
    os.open("/run/threaded", os.O_RDWR | os.O_CREAT)
    print("on", flush=True)
    time.sleep(60)
threading.Thread(target=write).start()
`

for (const user of agentUsers)
  suite(`The agent of a guest, started by ${user}`, { skip }, () => {
    test('A claim takes the permitted steps, reports the refused ones, and returns a digest of seed and boot id', async () => {
      await using agent = new GuestAgent(file, user)
      await agent.find('hello')
      agent.send(claim)
      const { digest, bootId, steps } = await agent.find('claimed')
      assert.deepEqual(digest, createHash('sha256').update(seed).update(bootId).digest())
      assert.equal(bootId, readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim())
      // In a user namespace the kernel's random generator and clock cannot be set: the answer must report it.
      const { entropy, reseed, clock, ...others } = steps
      assert.deepEqual(
        { entropy, reseed, clock },
        { entropy: errno.EPERM, reseed: errno.EPERM, clock: errno.EPERM },
      )
      assert.deepEqual(new Set(Object.values(others)), new Set([0]))
      const id = createHash('sha256').update('mayfly machine-id\0').update(seed).digest('hex')
      const said = await agent.outputOf(
        'hostname; cat /etc/machine-id /run/mayfly/id; echo; cat /run/mayfly/labels',
      )
      assert.equal(said, `clone-1\n${id.slice(0, 32)}\njob-1\ntenant=a b\njob=1\n`)
    })

    test('A second claim is refused, and changes nothing', async () => {
      await using agent = new GuestAgent(file, user)
      await agent.find('hello')
      agent.send(claim)
      assert.throws(() => agent.send(claim), /Cannot accept "claim"/)
      agent.isWatched = false
      agent.send({ ...claim, hostname: 'another', id: 'job-2' })
      const { what, errno: error } = await agent.find('refused')
      assert.deepEqual([what, error], ['claim', errno.EALREADY])
      assert.equal(await agent.outputOf('hostname; cat /run/mayfly/id'), 'clone-1\njob-1')
    })

    test('A renewal reports refused steps, may be repeated, and changes no name set by the claim', async () => {
      await using agent = new GuestAgent(file, user)
      await agent.find('hello')
      for (const name of ['waiting', 'waiting', 'clone-1']) {
        if (name === 'clone-1') agent.send(claim)
        const nonce = agent.nonce()
        agent.send({ kind: 'renew', nonce, seed, timeNs: claim.timeNs })
        const { steps } = await agent.find('renewed', (one) => one.nonce === nonce)
        const { EPERM } = errno
        assert.deepEqual(steps, { entropy: EPERM, reseed: EPERM, clock: EPERM })
        assert.equal(await agent.outputOf('hostname'), `${name}\n`)
      }
    })

    test('Limits of a claim apply to later and to running programs, and a phase lowers them', async () => {
      await using agent = new GuestAgent(file, user)
      const early = await agent.run('sleep 60')
      const { pid } = await agent.find('started', (one) => one.program === early)
      agent.send(claim)
      const { steps } = await agent.find('claimed')
      assert.equal(steps['open-files'], 0)
      const limits =
        'for kind in S H; do for of in n f c; do ulimit -$kind$of; done; done; grep processes /proc/self/limits'
      assert.match(await agent.outputOf(limits), /^(?:40\n16\n0\n){2}Max processes +200 +200 /)
      const ofEarly = await agent.outputOf(`cat /proc/${pid}/limits`)
      assert.match(ofEarly, /^Max open files +40 +40 /m)
      assert.match(ofEarly, /^Max file size +8192 +8192 /m)
      assert.match(ofEarly, /^Max core file size +0 +0 /m)
      assert.match(ofEarly, /^Max processes +200 +200 /m)
      const written = await agent.outputOf(
        'dd if=/dev/zero of=/run/big bs=1024 count=64 2>/dev/null; wc -c < /run/big',
      )
      assert.equal(written.trim(), '8192')
      const nonce = agent.nonce()
      agent.send({
        kind: 'phase',
        nonce,
        command: { do: 'lower-limit', limit: 'openFiles', value: 20 },
      })
      const { touched, ...phased } = await agent.find('phased', (one) => one.nonce === nonce)
      assert.deepEqual([phased.errno, touched], [0, 2])
      assert.equal(await agent.outputOf('ulimit -n'), '20\n')
      assert.match(await agent.outputOf(`grep "open files" /proc/${pid}/limits`), / 20 +20 /)
    })

    test('A program gets its arguments, variables, folder, streams and named fds, and nothing else of the agent', async () => {
      await using agent = new GuestAgent(file, user, ['descriptor=null=/dev/null'])
      const script =
        'echo "$0 $1 $HELLO"; pwd; cat; echo wrong >&2; ls -l /proc/self/fd | sed -n "s/.* \\([0-9]* -> .*\\)/\\1/p"; exit 7'
      const id = await agent.run(script, {
        args: ['sh', '-c', script, 'zero', 'one'],
        variables: ['HELLO=world', 'PATH=/usr/bin:/bin'],
        folder: '/usr',
        descriptors: [{ number: 9, name: 'null' }],
      })
      agent.send({ kind: 'input', program: id, bytes: Buffer.from('typed\n') })
      agent.send({ kind: 'close', program: id })
      const { end } = await agent.find('exited', (one) => one.program === id)
      await agent.find('ended', (one) => one.stream === 'stdout')
      assert.deepEqual(end, { exitCode: 7 })
      const [first, second, third, ...descriptors] = agent.written(id).trim().split('\n')
      assert.deepEqual([first, second, third], ['zero one world', '/usr', 'typed'])
      const numbers = descriptors.map((line) => line.split(' ')[0])
      assert.deepEqual(numbers, ['0', '1', '2', '3', '9'], 'ls has its folder open as 3')
      assert.equal(agent.written(id, 'stderr'), 'wrong\n')
    })

    test('A failed start is refused with its stage and errno, and frees its slot', async () => {
      await using agent = new GuestAgent(file, user)
      const failing = [
        [{ file: '/nowhere' }, 'exec', errno.ENOENT],
        [{ folder: '/nowhere' }, 'folder', errno.ENOENT],
        [{ uid: 4242, gid: 4242 }, 'user', errno.EPERM],
        [{ descriptors: [{ number: 5, name: 'none' }] }, 'check', errno.ENOENT],
      ] as const
      for (let round = 0; round < 8; round++)
        for (const [more, stage, expected] of failing) {
          const id = await agent.run('exit', more)
          const refused = await agent.find('refused', (one) => one.about === id)
          if (stage === 'user') assert.ok([errno.EPERM, errno.EINVAL].includes(refused.errno))
          else assert.equal(refused.errno, expected)
          assert.equal(refused.stage, stage)
        }
      assert.equal(await agent.outputOf('echo still'), 'still\n')
    })

    test('A signal reaches a program or its process group, and its end reports the signal', async () => {
      await using agent = new GuestAgent(file, user)
      for (const toGroup of [false, true]) {
        const id = await agent.run('sleep 60 & echo on; wait')
        await agent.until(() => agent.written(id) !== '', 'output')
        agent.send({ kind: 'signal', program: id, signal: signals.SIGTERM, toGroup })
        const { end } = await agent.find('exited', (one) => one.program === id)
        assert.deepEqual(end, { signal: signals.SIGTERM })
      }
    })

    test('A thousand orphans are reaped', async () => {
      await using agent = new GuestAgent(file, user)
      await agent.outputOf('i=0; while [ $i -lt 1000 ]; do (true &) ; i=$((i+1)); done')
      for (let tries = 600; tries > 0 && (await countProcesses(agent)) > 0; tries--) await sleep(50)
      assert.equal(await countProcesses(agent), 0)
    })

    test('A program blocks after writing its credit while another is served; more credit lets it continue', async () => {
      await using agent = new GuestAgent(file, user)
      const id = await agent.run('exec yes', { stdoutCredit: 300_000 })
      await agent.until(() => agent.written(id).length === 300_000, '300000 bytes')
      assert.equal(await agent.outputOf('echo beside'), 'beside\n')
      assert.equal(agent.written(id).length, 300_000)
      agent.send({ kind: 'credit', program: id, stream: 'stdout', bytes: 5 })
      await agent.until(() => agent.written(id).length === 300_005, '5 bytes more')
    })

    test('While its host does not read, the agent neither grows nor uses CPU, and its programs block', async () => {
      await using agent = new GuestAgent(file, user)
      const id = await agent.run('exec yes', { stdoutCredit: 2 ** 30 })
      await agent.until(() => agent.written(id).length > 0, 'output')
      agent.socket.pause()
      const [before, pid] = [await settled(file), pidOf(file)]
      await sleep(300)
      const now = usageOf(pid)
      assert.ok(now.rssKiB <= before.rssKiB + 64, `${before.rssKiB} KiB, then ${now.rssKiB}`)
      assert.ok(now.ticks - before.ticks <= 2, `${now.ticks - before.ticks} ticks of CPU time`)
      agent.messages.length = 0
      agent.socket.resume()
      await agent.until(() => agent.written(id).length > 100_000, 'more output')
    })

    test('Standard input is buffered up to its credit, and credit returns as the program reads', async () => {
      await using agent = new GuestAgent(file, user)
      const { inputBytes } = await agent.find('hello')
      const id = await agent.run('read go; cat | wc -c')
      const bytes = Buffer.alloc(16_384, 'x')
      const first = Buffer.concat([Buffer.from('go\n'), bytes.subarray(3)])
      for (let sent = 0; sent < 40 * bytes.length; sent += bytes.length) {
        await agent.until(() => agent.inputCredit(id) >= bytes.length, 'credit')
        agent.send({ kind: 'input', program: id, bytes: sent === 0 ? first : bytes })
      }
      agent.send({ kind: 'close', program: id })
      await agent.find('exited', (one) => one.program === id)
      await agent.find('ended', (one) => one.program === id && one.stream === 'stdout')
      assert.equal(inputBytes, 65_536)
      assert.equal(agent.written(id).trim(), `${40 * bytes.length - 3}`)
    })

    test('A kill leaves no process: own sessions, ignored signals, stopped processes and endless forks', async () => {
      await using agent = new GuestAgent(file, user)
      const deaf = await agent.run(
        'trap "" TERM INT HUP; setsid sh -c "trap \\"\\" TERM; echo on; sleep 61" & sleep 60',
      )
      await agent.until(() => agent.written(deaf) !== '', 'output')
      const stopped = await agent.run('kill -STOP $$')
      const forks = await agent.run('f() { (sleep 0.01; f) & (sleep 0.01) & }; f; wait; sleep 60')
      for (const id of [stopped, forks]) await agent.find('started', (one) => one.program === id)
      await sleep(100)
      assert.ok((await countProcesses(agent)) > 3)
      assert.ok(!agent.messages.some((one) => one.kind === 'exited'))
      const nonce = agent.nonce()
      agent.send({ kind: 'kill', nonce })
      const { mayBeLeft } = await agent.find('killed', (one) => one.nonce === nonce)
      assert.deepEqual([mayBeLeft, await countProcesses(agent)], [false, 0])
      assert.equal(await agent.outputOf('echo anew'), 'anew\n')
    })

    test('The end of the channel ends every process of the guest', async () => {
      const mark = `6${process.pid}`
      await using agent = new GuestAgent(file, user)
      const id = await agent.run(`setsid sh -c 'sleep ${mark}' & sleep ${mark} & echo on; wait`)
      await agent.until(() => agent.written(id) !== '', 'output')
      const sleepers = () => commandLines().filter((line) => line.startsWith(`sleep ${mark} `))
      await until(() => sleepers().length === 2, 'both sleepers')
      agent.socket.destroy()
      assert.equal(await agent.ended, 0)
      assert.ok(!commandLines().some((line) => line.includes(`sleep ${mark}`)))
    })

    test('A phase kills processes with a writable fd below a path, spares readers, and then remounts it read-only', async () => {
      await using agent = new GuestAgent(file, user)
      const phase = async (command: 'remount-read-only' | 'kill-writers', path: string) => {
        const nonce = agent.nonce()
        agent.send({ kind: 'phase', nonce, command: { do: command, path } })
        const { errno: error, touched } = await agent.find('phased', (one) => one.nonce === nonce)
        return [error, touched] as const
      }
      /** EAGAIN: a process came or went in each of the agent's looks, which it may on a busy machine. */
      const killWriters = async (path: string) => {
        let [error, touched] = await phase('kill-writers', path)
        for (let left = 20; left > 0 && error === errno.EAGAIN; left--) {
          const again = await phase('kill-writers', path)
          error = again[0]
          touched += again[1]
        }
        return [error, touched] as const
      }
      const writer = await agent.run('exec 5>/run/file; echo on; sleep 60')
      const reader = await agent.run(
        'until [ -e /run/file ]; do :; done; exec 5</run/file; echo on; sleep 60',
      )
      await agent.until(() => agent.written(writer) && agent.written(reader), 'output')
      assert.deepEqual(await phase('remount-read-only', '/run'), [errno.EBUSY, 0])
      const [error, touched] = await killWriters('/run')
      assert.deepEqual([error, touched >= 1], [0, true])
      assert.deepEqual((await agent.find('exited', (one) => one.program === writer)).end, {
        signal: signals.SIGKILL,
      })
      assert.deepEqual(await phase('remount-read-only', '/run'), [0, 0])
      assert.equal(
        await agent.outputOf('echo x > /run/other 2>/dev/null || echo closed'),
        'closed\n',
      )
      assert.ok(!agent.messages.some((one) => one.kind === 'exited' && one.program === reader))
      assert.deepEqual(await phase('remount-read-only', '/etc/../run'), [errno.EINVAL, 0])
      assert.deepEqual(await killWriters('/nowhere'), [0, 0])
    })

    test('Closing writes spares pipes, devices, readers and closed fds, kills writers, and nothing is written afterwards', async () => {
      await using agent = new GuestAgent(file, user)
      const holder = await agent.run('exec 5>/run/held; echo on; sleep 60')
      const brief = await agent.run(
        'while echo x 2>/dev/null >/run/brief; do [ -e /run/told ] || { echo on; :>/run/told; }; sleep 0.01; done; echo closed; cat',
        { streams: ['stdin', 'stdout'] },
      )
      const beside = await agent.run(
        'until [ -e /run/told ]; do :; done; exec 5</run/told 6<>/dev/null; echo on; sleep 60 | cat',
      )
      const all = [holder, brief, beside]
      await agent.until(() => all.every((id) => agent.written(id)), 'output')
      const nonce = agent.nonce()
      agent.send({ kind: 'phase', nonce, command: { do: 'close-writing' } })
      const { errno: error, touched } = await agent.find('phased', (one) => one.nonce === nonce)
      assert.deepEqual([error, touched >= 1], [0, true])
      const { end } = await agent.find('exited', (one) => one.program === holder)
      assert.deepEqual(end, { signal: signals.SIGKILL })
      await agent.until(() => agent.written(brief).includes('closed'), 'the end of its writes')
      const still = agent.messages.flatMap((one) => (one.kind === 'exited' ? [one.program] : []))
      assert.deepEqual(still, [holder])
      const tries = ['/run/a', '/tmp/a', '/a'].map((at) => `(: >${at})`)
      const script = `for w in 1; do ${tries.join(' || ')} && echo open; done 2>/dev/null; mkdir /run/b 2>/dev/null && echo made; rm /run/told 2>/dev/null && echo gone; echo done`
      assert.equal(await agent.outputOf(script), 'done\n')
    })

    test(
      'Closing writes spares anonymous memory, and kills a process with a mapped file',
      { skip: !findProgram('python3') && 'Python is not installed' },
      async () => {
        await using agent = new GuestAgent(file, user)
        const ids = await Promise.all(
          [mapping, nameless].map((source) => agent.run(`exec python3 -c '${source}'`)),
        )
        await agent.until(() => ids.every((id) => agent.written(id)), 'output')
        const nonce = agent.nonce()
        agent.send({ kind: 'phase', nonce, command: { do: 'close-writing' } })
        const { errno: error, touched } = await agent.find('phased', (one) => one.nonce === nonce)
        assert.deepEqual([error, touched], [0, 1])
        await agent.find('exited', (one) => one.program === ids[0])
        assert.ok(!agent.messages.some((one) => one.kind === 'exited' && one.program === ids[1]))
      },
    )

    test(
      'A shared mapping and an fd of a single thread count as writable',
      { skip: !findProgram('python3') && 'Python is not installed' },
      async () => {
        await using agent = new GuestAgent(file, user)
        const ids = await Promise.all(
          [mapping, thread].map((source) => agent.run(`exec python3 -c '${source}'`)),
        )
        await agent.until(() => ids.every((id) => agent.written(id)), 'output')
        const nonce = agent.nonce()
        const command = { do: 'kill-writers', path: '/run' } as const
        agent.send({ kind: 'phase', nonce, command })
        const { errno: error, touched } = await agent.find('phased', (one) => one.nonce === nonce)
        assert.deepEqual([error, touched >= 2], [0, true])
        for (const id of ids) {
          const { end } = await agent.find('exited', (one) => one.program === id)
          assert.deepEqual(end, { signal: signals.SIGKILL })
        }
      },
    )

    test('Lists stay within the overlay, follow no symlink, and come in parts', async () => {
      const overlay = mkdtempSync(join(tmpdir(), 'mayfly-overlay-'))
      chmodSync(overlay, 0o755)
      try {
        mkdirSync(join(overlay, 'many'))
        for (let index = 0; index < 300; index++)
          writeFileSync(join(overlay, 'many', `${index}`), 'abc')
        symlinkSync('/', join(overlay, 'out'))
        writeFileSync(join(overlay, 'file'), 'hello')
        await using agent = new GuestAgent(file, user, [`overlay=${overlay}`])
        await agent.find('hello')
        const list = async (path: string, skip = 0) => {
          const nonce = agent.nonce()
          agent.send({ kind: 'list', nonce, path, skip })
          return await agent.find('listed', (one) => one.nonce === nonce)
        }
        const top = await list('')
        const seen = top.entries.map(({ name, type }) => `${type} ${name}`).toSorted()
        assert.deepEqual(seen, ['file file', 'folder many', 'link out'])
        assert.equal(top.entries.find(({ name }) => name === 'file')?.size, 5)
        const [first, rest] = [await list('many'), await list('many', 256)]
        assert.deepEqual([first.entries.length, first.hasMore], [256, true])
        assert.deepEqual([rest.entries.length, rest.hasMore], [44, false])
        const names = new Set([...first.entries, ...rest.entries].map(({ name }) => name))
        assert.equal(names.size, 300)
        for (const path of ['..', '/etc', 'out', 'out/etc', 'many/../..', 'file', 'nowhere'])
          assert.notEqual((await list(path)).errno, 0, path)
      } finally {
        rmSync(overlay, { recursive: true })
      }
    })

    test('Files of a folder are read in parts, links by their target; pipes, devices and links that lead out are skipped', async () => {
      await using agent = new GuestAgent(file, user)
      const script =
        'cd /run && printf 0123456789 > file && ln -s /etc/hosts link && mkfifo pipe && mkdir d && printf x > "$(printf "d/\\377")"'
      await agent.outputOf(script)
      const read = async (path: string | Uint8Array, part: { offset?: number; bytes?: number }) => {
        const [nonce, place] = [agent.nonce(), 'run'] as const
        agent.send({ kind: 'read', nonce, place, path, offset: 0, bytes: 99, ...part })
        return await agent.find('chunk', (one) => one.nonce === nonce)
      }
      const { mode, size, bytes } = await read('file', { offset: 2, bytes: 3 })
      assert.deepEqual([mode & 0o7777, size, bytes.toString()], [0o644, 10, '234'])
      assert.deepEqual((await read('file', { offset: 99 })).bytes.length, 0)
      const link = await read('link', {})
      assert.deepEqual([link.isLink, link.bytes.toString()], [true, '/etc/hosts'])
      for (const path of ['pipe', 'd', 'link/x', '../etc/hosts', '/etc/hosts', 'nowhere'])
        assert.notEqual((await read(path, {})).errno, 0, path)
      const nonce = agent.nonce()
      agent.send({ kind: 'look', nonce, place: 'run', skip: 0, path: 'd' })
      const { entries } = await agent.find('listed', (one) => one.nonce === nonce)
      assert.deepEqual(entries[0]!.raw, Buffer.from([0xff]))
      const odd = Buffer.concat([Buffer.from('d/'), entries[0]!.raw])
      assert.equal((await read(odd, {})).bytes.toString(), 'x')
    })

    test('Files of /proc are read as the kernel reports processes', async () => {
      await using agent = new GuestAgent(file, user)
      const id = await agent.run('exec sleep 60 </dev/null')
      const { pid } = await agent.find('started', (one) => one.program === id)
      const read = async (path: string) => {
        const nonce = agent.nonce()
        agent.send({ kind: 'read', nonce, place: 'proc', path, offset: 0, bytes: 4096 })
        return (await agent.find('chunk', (one) => one.nonce === nonce)).bytes.toString()
      }
      for (
        let tries = 100;
        tries > 0 && !(await read(`${pid}/cmdline`)).startsWith('sleep');
        tries--
      )
        await sleep(50)
      assert.equal(await read(`${pid}/cmdline`), 'sleep\x0060\0')
      assert.equal(await read(`${pid}/fd/0`), '/dev/null')
      assert.match(await read('1/mountinfo'), / \/proc /)
    })

    test('Without a cgroup no limit is enforced, and the answer reports it', async () => {
      await using agent = new GuestAgent(file, user)
      await agent.find('hello')
      agent.send({ kind: 'hold', nonce: 1, on: true })
      assert.equal((await agent.find('held')).errno, errno.ENOSYS)
    })

    test('A status names the processes of the guest, with their parents and figures', async () => {
      await using agent = new GuestAgent(file, user)
      const id = await agent.run('exec sleep 60')
      const { pid } = await agent.find('started', (one) => one.program === id)
      let [seen] = await processesOf(agent)
      for (let tries = 100; tries > 0 && seen?.name !== 'sleep'; tries--) {
        await sleep(50)
        ;[seen] = await processesOf(agent)
      }
      const { rssKiB, cpuUs, ...rest } = seen!
      assert.deepEqual(rest, { pid, parent: 1, name: 'sleep' })
      assert.ok(rssKiB >= 0 && cpuUs >= 0)
      const busy = await agent.run('while :; do :; done')
      const { pid: spinning } = await agent.find('started', (one) => one.program === busy)
      const cpuOf = async () =>
        (await processesOf(agent)).find((one) => one.pid === spinning)?.cpuUs ?? 0
      for (let tries = 200; tries > 0 && (await cpuOf()) === 0; tries--) await sleep(50)
      assert.ok((await cpuOf()) > 0)
    })
  })

suite('A corrupt channel', { skip }, () => {
  const lost: readonly (readonly [title: string, bytes: Buffer, code: number])[] = [
    ['An unknown kind', encodeFrame(99, Buffer.from([1])), 11],
    ['A kind that only the agent sends', encodeFrame(65, Buffer.from([1, 0, 0, 0, 0])), 11],
    ['Another version', encodeFrame(10, Buffer.from([2, 0, 0, 0, 0])), 12],
    ['An empty frame', Buffer.from([1, 0, 0, 0, 10]), 10],
    ['A length of 4 GiB', Buffer.from([255, 255, 255, 255, 2]), 10],
    ['A length over that of its kind', Buffer.from([0, 1, 0, 0, 10]), 10],
    ['A missing field', encodeFrame(10, Buffer.from([1, 0, 0])), 13],
    ['An extra byte', encodeFrame(10, Buffer.from([1, 0, 0, 0, 0, 0])), 13],
    [
      'A text longer than its frame',
      encodeFrame(9, Buffer.from([1, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 65])),
      13,
    ],
  ]
  for (const [title, bytes, code] of lost)
    test(`${title} ends the connection and every program, with code ${code}`, async () => {
      await using agent = new GuestAgent(file)
      const id = await agent.run('echo on; sleep 60')
      await agent.until(() => agent.written(id) !== '', 'output')
      agent.socket.write(bytes)
      assert.deepEqual(await agent.find('lost'), { kind: 'lost', code })
      assert.equal(await agent.ended, code)
    })

  test('Input beyond its credit ends the connection', async () => {
    await using agent = new GuestAgent(file)
    await agent.run('sleep 60')
    const input = encodeHostMessage({ kind: 'input', program: 1, bytes: Buffer.alloc(16_384) })
    agent.isWatched = false
    for (let count = 0; count < 10; count++) agent.socket.write(input)
    assert.equal(await agent.ended, 14)
  })

  test('An agent that is not process 1 refuses to start: its kill would reach the whole machine', () => {
    assert.equal(spawnSync(file, ['0'], { stdio: 'pipe' }).status, 16)
  })

  test('The agent of a machine powers it off at the end', async () => {
    await using agent = new GuestAgent(file, undefined, ['off'])
    await agent.find('hello')
    agent.socket.destroy()
    // Process 1 of a namespace whose power is turned off ends by SIGINT: reboot(2).
    assert.ok(['SIGINT', 128 + signals.SIGINT].includes((await agent.ended) as never))
  })

  test('A seventeenth program is refused while sixteen run', async () => {
    await using agent = new GuestAgent(file)
    for (let count = 0; count < 16; count++) await agent.run('sleep 60')
    assert.throws(() => agent.send(runOf(99, 'exit')), /Cannot accept "run"/)
    agent.isWatched = false
    agent.send(runOf(99, 'exit'))
    const { about, stage, errno: error } = await agent.find('refused')
    assert.deepEqual([about, stage, error], [99, 'check', errno.EAGAIN])
  })
})

async function countProcesses(agent: GuestAgent): Promise<number> {
  return (await processesOf(agent)).length
}

async function processesOf(agent: GuestAgent) {
  const nonce = agent.nonce()
  agent.send({ kind: 'status', nonce })
  const { count, processes } = await agent.find('statused', (one) => one.nonce === nonce)
  assert.equal(count, processes.length)
  return processes
}

/** Pid of the agent on the host: the process of its program that has `file` open. */
function pidOf(path: string): number {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const own = pids.find((pid) => commandLine(pid).startsWith(`${path}\0`))
  assert.ok(own, 'the agent has a process')
  return Number(own)
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}

function commandLines(): readonly string[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.map((pid) => commandLine(pid).replaceAll('\0', ' '))
}

function usageOf(pid: number) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return { ticks: Number(stat[11]) + Number(stat[12]), rssKiB: Number(stat[21]) * 4 }
}

/** Figures of the agent once its buffers are full: no CPU time in a tenth of a second. */
async function settled(path: string) {
  for (let tries = 0; tries < 100; tries++) {
    const before = usageOf(pidOf(path))
    await sleep(100)
    const now = usageOf(pidOf(path))
    if (now.ticks === before.ticks) return now
  }
  throw new Error('The agent never came to rest')
}
