import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import {
  createConnection,
  createServer,
  type AddressInfo,
  type Server,
  type Socket,
} from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { suite } from 'node:test'
import { findJailFacts } from '../../src/jail/facts.ts'
import { markOf, processesMarked } from '../../src/os/marked.ts'
import { isAlive, processFacts } from '../../src/os/proc.ts'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import { makeProcesses } from '../conformance/process.ts'
import { until } from '../conformance/stand.ts'
import { test } from '../fixtures/drawn.ts'
import { firstLine } from '../fixtures/first-line.ts'
import { openWhole, type WholeWall } from './whole-wall.ts'

/**
 * Whole programs where namespaces are forbidden: a keeper holds them together (guest/sentinel/keep.c). Attacks by code in
 * such a wall, and each way for it to end: nothing of it may be left.
 */
const MiB = 2 ** 20
const goneMsMax = 10_000
const facts = findJailFacts()
const skip = facts.landlock < 3 && 'Landlock of this kernel does not hold files'

/** Walls with a user of their own, which root has; with the user of whoever started Mayfly; without scopes of Landlock. */
const stands: readonly (readonly [name: string, hide: readonly string[]])[] = [
  ...(facts.root ? ([['with a user of its own', ['namespaces']]] as const) : []),
  ['that shares its user', ['namespaces', 'root', 'cgroup']],
  ['on a Landlock without scopes', ['namespaces', 'root', 'cgroup', 'landlock scopes']],
]

/** Programs that try to survive the end of their wall. */
const restless = {
  'a daemon': `
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True: time.sleep(0.01)
    os._exit(0)
os.wait()`,
  'a chain that forks and exits': `
if os.fork() == 0:
    while True:
        try:
            if os.fork(): os._exit(0)
        except OSError: time.sleep(0.001)
        os.setsid()`,
  'a bomb': `
if os.fork() == 0:
    while True:
        try: os.fork()
        except OSError: time.sleep(0.001)`,
  'vforks of programs': `
if os.fork() == 0:
    os.setsid()
    while True: subprocess.run(['/bin/sh', '-c', '(exec sleep 1000) & exit'])`,
  'children that ignore signals, and a stopped one': `
for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2): signal.signal(signum, signal.SIG_IGN)
for _ in range(4):
    if os.fork() == 0:
        os.setpgid(0, 0)
        while True: time.sleep(0.01)
if os.fork() == 0: os.kill(os.getpid(), signal.SIGSTOP)`,
} as const

const parts = 'import os, signal, socket, subprocess, sys, time\n'
const waits = `\nprint('ready', flush=True)\ntime.sleep(1000)`

/** Ways for a wall to end, and whether its warden survives. */
const ends: Readonly<Record<string, (wall: WholeWall, warden: number) => Promise<unknown> | void>> =
  {
    'its kill': (wall) => wall.kill(),
    'a kill of its keeper': (wall) => void process.kill(keeperOf(wall), 'SIGKILL'),
    'a kill of its warden': (_, warden) => void process.kill(warden, 'SIGKILL'),
    'a kill of its program': (wall) => void process.kill(wall.started.wall.pid, 'SIGKILL'),
  }

for (const [name, hide] of stands)
  suite(`A program without namespaces, in a wall ${name}`, { skip }, () => {
    for (const [what, code] of Object.entries(restless))
      test(`leaves nothing of ${what}, for each way to end the wall`, async () => {
        for (const [how, end] of Object.entries(ends)) {
          await using stand = await openWhole({ hide, apart: true })
          const wall = await startOf(stand)
          const mark = markOf(wall.started.wall.pid)!
          assert.ok(mark > 2 ** 30, 'it has no mark')
          const warden = (await stand.warden.facts()).pid
          wall.run(parts + code + waits)
          await ready(wall)
          const before = processesMarked(mark).length
          assert.ok(before > 1, `${how}: it started nothing`)
          await end(wall, warden)
          await goneAll(mark, `${what} after ${how}`)
        }
      })

    test('is ended by the next warden if keeper and warden were killed at the same time', async () => {
      await using stand = await openWhole({ hide, apart: true })
      const wall = await startOf(stand)
      const mark = markOf(wall.started.wall.pid)!
      wall.run(parts + restless['a daemon'] + waits)
      await ready(wall)
      const { pid } = await stand.warden.facts()
      // Stopped, so that neither notices the death of the other.
      const keeper = keeperOf(wall)
      for (const one of [pid, keeper]) process.kill(one, 'SIGSTOP')
      for (const one of [pid, keeper]) process.kill(one, 'SIGKILL')
      await until(() => !isAlive(pid) && !isAlive(keeper), 'the end of both')
      const isDaemon = (one: number) => one !== wall.started.wall.pid && isAlive(one)
      assert.ok(processesMarked(mark).some(isDaemon), 'a daemon that still runs')
      const next = holdWarden({ stateFolder: stand.stateFolder, hide: [...hide] })
      const started = await next.start('python', settings)
      started.socket.destroy()
      await goneAll(mark, 'a sweep')
      await next.close()
    })

    test('starts child programs and exchanges data with them, in Python, Node and a shell', async () => {
      await using stand = await openWhole({ hide })
      const python = await runIn(
        stand,
        'python',
        `${parts}
out = subprocess.run(['sh', '-c', 'echo out; exit 7'], capture_output=True)
left, right = socket.socketpair()
right.sendall(b'pair')
server, client = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
server.bind('named'); server.listen(); client.connect('named')
peer, _ = server.accept()
client.sendall(b'named'); client.close()
child = subprocess.Popen(['sleep', '1000'])
child.terminate()
import multiprocessing
one = multiprocessing.get_context('fork').Process(target=os._exit, args=(3,))
one.start(); one.join()
os.mkdir('made'); os.chmod('made', 0o700); os.utime('made', (1, 2))
print(out.stdout, out.returncode, left.recv(9), peer.recv(9), peer.recv(9), child.wait(), one.exitcode, os.stat('made').st_mtime)`,
      )
      assert.equal(python.stdout, "b'out\\n' 7 b'pair' b'named' b'' -15 3 2.0\n", python.stderr)
      const node = await runIn(
        stand,
        'node',
        `
const { execFileSync, fork, spawnSync } = require('node:child_process')
const { createServer, connect } = require('node:net')
require('node:fs').writeFileSync('child.js', 'process.send(process.argv[2])')
const child = fork('child.js', ['forked'])
child.on('message', (told) => {
  const server = createServer((socket) => socket.end('served')).listen('near', () => {
    connect('near').on('data', (bytes) => {
      console.log(execFileSync('echo', ['out']) + told + bytes + spawnSync('false').status)
      process.exit(0)
    })
  })
})`,
      )
      assert.equal(node.stdout, 'out\nforkedserved1\n', node.stderr)
    })

    test('sees a socket under the name that it was bound to, so that a manager of multiprocessing works', async () => {
      await using stand = await openWhole({ hide })
      const told = await runIn(
        stand,
        'python',
        `${parts}
import multiprocessing, tempfile
folder = tempfile.mkdtemp()
os.chdir(folder)
for name in ('near', folder + '/far'):
    server, client = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    server.bind(name); server.listen(); client.connect(name)
    print([one == name for one in (server.getsockname(), client.getpeername(), server.accept()[0].getsockname())])
print(sorted(os.listdir(folder)))
with multiprocessing.Manager() as manager:
    shared = manager.dict()
    child = multiprocessing.get_context('fork').Process(target=shared.__setitem__, args=('a', 1))
    child.start(); child.join()
    print(dict(shared))`,
      )
      const named = '[True, True, True]\n'
      assert.equal(told.stdout, `${named}${named}['far', 'near']\n{'a': 1}\n`, told.stderr)
    })

    test('reaches no process, file, abstract socket or address outside by the system calls tried', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'mayfly-bait-'))
      chmodSync(folder, 0o755)
      const bait = join(folder, 'bait')
      writeFileSync(bait, 'bait')
      const listener = createServer((socket) => socket.destroy())
      const named = createServer((socket) => socket.destroy())
      const abstract = createServer((socket) => socket.destroy())
      listener.listen(0, '127.0.0.1')
      named.listen(join(folder, 'named'))
      abstract.listen(`\0mayfly-bait-${process.pid}`)
      await Promise.all([listener, named, abstract].map((one) => once(one, 'listening')))
      const names = [join(folder, 'datagrams'), `mayfly-datagrams-${process.pid}`]
      const datagrams = spawn('python3', ['-c', takesDatagrams, ...names])
      assert.equal(await firstLine(datagrams), 'taken')
      for (const name of ['named', 'datagrams']) chmodSync(join(folder, name), 0o777)
      chmodSync(folder, 0o777)
      let reached = 0
      for (const one of [listener, named, abstract]) one.on('connection', () => void reached++)
      // A process of the same uid, if the wall has no uid of its own.
      const victim = spawn('sleep', ['1000'])
      try {
        await using stand = await openWhole({ hide })
        const wall = await startOf(stand)
        wall.run(hostile)
        await ready(wall)
        const pids = [victim.pid, keeperOf(wall), process.pid, 1]
        const words = [pids, bait, folder, portOf(listener), process.pid]
        const told = await runIn(stand, 'python', `TARGETS = ${JSON.stringify(words)}\n${attack}`)
        assert.deepEqual(
          told.stdout.split('\n').filter((line) => line.startsWith('THROUGH')),
          [],
        )
        const [, tries] = /^tried (\d+)$/m.exec(told.stdout) ?? []
        assert.ok(Number(tries) > 90, told.stderr + told.how)
        assert.ok(isAlive(victim.pid!) && processFacts(victim.pid!)?.state === 'S')
        assert.ok(isAlive(keeperOf(wall)))
        assert.equal(reached, 0)
        assert.equal(statSync(bait).mode & 0o777, 0o644)
        assert.equal(statSync(bait).size, 4)
        assert.deepEqual(readdirSync(folder).toSorted(), ['bait', 'datagrams', 'named'])
      } finally {
        for (const one of [victim, datagrams]) one.kill('SIGKILL')
        for (const one of [listener, named, abstract]) one.close()
        rmSync(folder, { recursive: true })
      }
    })

    test('reports the exit code or signal of its program', async () => {
      await using stand = await openWhole({ hide })
      assert.match((await runIn(stand, 'python', 'import os; os._exit(7)')).how, /^exit: exit 7 /)
      const killed = 'import os, signal; os.kill(os.getpid(), signal.SIGTERM)'
      assert.match((await runIn(stand, 'python', killed)).how, /^exit: exit 143 /)
    })

    test('cannot remove its mark: no call changes the resource limit that carries it', async () => {
      await using stand = await openWhole({ hide })
      const { stdout } = await runIn(
        stand,
        'python',
        `${parts}
import resource
for limit in (0, 5):
    try: resource.setrlimit(10, (limit, limit)); print('changed')
    except (OSError, ValueError) as error: print(type(error).__name__)
try: resource.prlimit(0, 10, (0, 0)); print('changed')
except OSError as error: print(error.errno)
try: resource.prlimit(os.getppid(), 10, (0, 0)); print('changed')
except OSError as error: print(error.errno)`,
      )
      assert.doesNotMatch(stdout, /changed/)
      assert.equal(stdout.trim().split('\n').length, 4)
    })

    test('has zones of programs with control groups alone, and is not claimed for them without', async () => {
      const made = await makeProcesses('embedded', { hide: [...hide] }, 'python')
      try {
        await made.provider.detect()
        const zones = [{ kind: 'pl', programs: ['perl'], life: 20_000 }]
        await using stand = await openWhole({ hide })
        const wall = await stand.start('python')
        const isGrouped = wall.started.wall.layers.includes('memory cgroup')
        assert.equal(made.provider.can.includes('program-zones'), isGrouped)
        assert.ok(made.provider.can.includes('session'), 'it has no programs')
        const claimed = wall.claim({ processes: 20, zones })
        if (isGrouped) await claimed
        else await assert.rejects(claimed, { code: 'UNAVAILABLE', message: /zones of programs/ })
      } finally {
        await made.close()
      }
    })

    test('sends a signal to another of its threads by tkill, which reaches that thread alone', async () => {
      await using stand = await openWhole({ hide })
      const told = await runIn(
        stand,
        'python',
        `${parts}
import ctypes, threading
tkill, libc = ${process.arch === 'arm64' ? 130 : 200}, ctypes.CDLL(None)
tids, got = [], []
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
def waits():
    tids.append(threading.get_native_id())
    got.append(signal.sigwaitinfo({signal.SIGUSR1}))
signal.signal(signal.SIGUSR2, lambda *_: got.append('own'))
thread = threading.Thread(target=waits); thread.start()
while not tids: time.sleep(0.01)
print(libc.syscall(tkill, tids[0], signal.SIGUSR1))
thread.join()
# join may return before the kernel has ended the thread.
while libc.syscall(tkill, tids[0], signal.SIGUSR1) == 0: time.sleep(0.01)
sender = {os.getpid(): 'itself', os.getppid(): 'keeper'}[got[0].si_pid]
print(sender, libc.syscall(tkill, threading.get_native_id(), signal.SIGUSR2), got[1:])
print(libc.syscall(tkill, tids[0], signal.SIGUSR1))`,
      )
      const sender = hide.includes('landlock scopes') || facts.landlock < 6 ? 'keeper' : 'itself'
      assert.equal(told.stdout, `0\n${sender} 0 ['own']\n-1\n`, told.stderr)
    })

    test('has hardly more processes and threads than its limit', async () => {
      await using stand = await openWhole({ hide })
      const wall = await startOf(stand)
      wall.run(`${parts}
children, codes, threads = [], set(), 0
import threading
for _ in range(100):
    try: children.append(subprocess.Popen(['sleep', '1000']))
    except OSError as error: codes.add(error.errno)
print('children', len(children), *codes, flush=True)
for one in children: one.kill(); one.wait()
for _ in range(100):
    try:
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        threads += 1
    except RuntimeError: pass
print('threads', threads, flush=True)
print('ready', flush=True)
sys.stdin.read()
time.sleep(1000)`)
      await ready(wall)
      const [, children, errno] = /children (\d+) (\d+)\n/.exec(wall.said.stdout) ?? []
      const [, threads] = /threads (\d+)/.exec(wall.said.stdout) ?? []
      assert.ok(Number(children) >= 15 && Number(children) <= 24, wall.said.stdout)
      assert.equal(errno, '11')
      assert.ok(Number(threads) >= 15 && Number(threads) <= 24, wall.said.stdout)
    })

    test('keeps no other wall from its keeper by descriptors in flight, as many as the kernel permits', async () => {
      await using stand = await openWhole({ hide })
      const wall = await startOf(stand)
      wall.run(`${parts}
held, sent = [], 0
try:
    while True:
        held.append(socket.socketpair())
        for _ in range(4):
            socket.send_fds(held[-1][0], [b'x'], [1] * 50)
            sent += 50
except OSError as error: print(error.errno, sent, flush=True)
print('ready', flush=True)
time.sleep(1000)`)
      await ready(wall)
      const [, sent] = /^109 (\d+)\n/.exec(wall.said.stdout) ?? []
      assert.ok(Number(sent) > 1_000, wall.said.stdout)
      const next = await startOf(stand)
      next.run(
        'import resource, subprocess\nprint(resource.getrlimit(resource.RLIMIT_NOFILE), subprocess.call("true"))',
      )
      await next.end()
      assert.equal(next.said.stdout, '(1024, 1024) 0\n', next.said.stderr)
    })

    test('is ended if it writes more than its scratch limit, including deleted files and unreadable folders', async () => {
      await using stand = await openWhole({ hide })
      for (const code of [
        `for n in range(64): open(str(n), 'wb').write(bytes(1 << 20))`,
        `for n in range(64):
    one = open('gone', 'wb'); os.unlink('gone'); one.write(bytes(1 << 20)); one.flush(); keep.append(one)`,
        `os.makedirs('a/b'); os.chdir('a/b')
for n in range(8): open(str(n), 'wb').write(bytes(1 << 20))
os.chdir('../..')
os.chmod('a/b', 0)
for n in range(12): open(str(n), 'wb').write(bytes(1 << 20))`,
        `for n in range(20000): open(str(n), 'wb')`,
      ]) {
        const wall = await startOf(stand)
        wall.run(`${parts}keep = []\n${code}\nprint('written', flush=True)\ntime.sleep(1000)`)
        assert.equal((await wall.end()).how, 'disk', code + wall.said.stderr)
      }
      const honest = `${parts}for n in range(100): open('same', 'wb').write(bytes(1 << 20))\nprint('ok')`
      assert.equal((await runIn(stand, 'python', honest)).stdout, 'ok\n')
    })

    test('starts no process once that class is closed, and the class stays closed', async () => {
      await using stand = await openWhole({ hide })
      const wall = await startOf(stand)
      wall.run(`${parts}
import threading
def one(): pass
def tried():
    said = []
    for act in (os.fork, lambda: subprocess.run(['true']), threading.Thread(target=one).start):
        try:
            if act() == 0: os._exit(0)
            said.append('made')
        except (OSError, RuntimeError) as error: said.append(getattr(error, 'errno', 'EAGAIN'))
    return said
print('before', tried(), flush=True)
print('ready', flush=True)
while not os.path.exists('closed'):
    time.sleep(0.01)
    try: os.fork() or os._exit(0)
    except OSError: break
print('after', tried(), flush=True)
time.sleep(600)`)
      await ready(wall)
      await stand.warden.calls(wall.id, [
        { afterMs: 0, allow: ['exec', 'network', 'write', 'outside'] },
      ])
      // Race: the keeper of a program that ends by itself may exit before it answers.
      await until(() => /after .*\n/.test(wall.said.stdout), 'the tries after it')
      assert.match(wall.said.stdout, /before \['made', 'made', 'made'\]/)
      assert.match(wall.said.stdout, /after \[11, 11, 'EAGAIN'\]/)
    })

    test('reads and writes only the paths that its phase permits, also through links', async () => {
      await using stand = await openWhole({ hide })
      const wall = await startOf(stand)
      wall.run(`${parts}
def tried(path, flags):
    try: os.close(os.open(path, flags, 0o644)); return 'open'
    except OSError as error: return error.errno
os.symlink('/etc/passwd', 'link')
open('own', 'w').write('x')
def all():
    here = os.getcwd()
    return [tried('own', os.O_RDONLY), tried('own', os.O_WRONLY), tried('new', os.O_WRONLY | os.O_CREAT), tried('/usr/bin/env', os.O_RDONLY),
        tried('/etc/passwd', os.O_RDONLY), tried('link', os.O_RDONLY), tried(here + '/../../etc/passwd', os.O_RDONLY), tried('/dev/null', os.O_WRONLY)]
print('ready', flush=True)
while True:
    time.sleep(0.02)
    print(all(), flush=True)`)
      await ready(wall)
      const lastOf = () => wall.said.stdout.trim().split('\n').at(-1)
      const says = (text: string) =>
        until(() => lastOf() === text, text).catch(() => assert.equal(lastOf(), text))
      await says("['open', 'open', 'open', 'open', 13, 13, 13, 'open']")
      await stand.warden.calls(wall.id, [
        { afterMs: 0, allow: ['exec', 'process', 'network', 'outside'] },
      ])
      await says("['open', 30, 30, 'open', 13, 13, 13, 'open']")
      await stand.warden.calls(wall.id, [{ afterMs: 0, allow: ['exec', 'process', 'network'] }])
      await says("['open', 30, 30, 13, 13, 13, 13, 'open']")
    })

    test('reaches only its egress path, on which another process of this machine is not taken for it, also with a port that it had', async () => {
      await using stand = await openWhole({ hide })
      const wall = await startOf(stand, { egress: true })
      const listener = wall.claimed!.listener!
      const other = createServer((socket) => void socket.end('other')).unref()
      other.listen(0, '127.0.0.1')
      await once(other, 'listening')
      let strangers = 0
      other.on('connection', () => strangers++)
      const callers: number[] = []
      const ports: number[] = []
      listener.on('connection', async (socket) => {
        const { remoteAddress: from, remotePort: local, localPort: remote } = socket
        ports.push(local!)
        const pids = await stand.warden.callers(wall.id, {
          from: from!,
          local: local!,
          remote: remote!,
        })
        callers.push(...pids, pids.length)
        socket.end('seen')
      })
      const strange = async (localPort?: number) => {
        const to = { port: portOf(listener), host: '127.0.0.1', localPort }
        const stranger = createConnection(to).resume()
        await once(stranger, 'end', { signal: AbortSignal.timeout(goneMsMax) })
        stranger.destroy()
      }
      await strange()
      assert.deepEqual(callers, [0])
      wall.run(`${parts}
def tried(address):
    one = socket.socket()
    try: one.connect(address)
    except OSError as error: return error.errno
    # The listener closes first, so that the port is free at once.
    return one.makefile('rb').read()
print(tried(('127.0.0.1', 3128)), tried(('127.0.0.1', ${portOf(listener)})), tried(('127.0.0.1', ${portOf(other)})), tried(('10.0.0.1', 3128)), tried(('0.0.0.0', 3128)))
print(subprocess.run([sys.executable, '-c', 'import socket; s = socket.create_connection(("127.0.0.1", 3128)); print(s.makefile("rb").read())'], capture_output=True).stdout)
listening = socket.socket()
try: listening.listen()
except OSError as error: print(error.errno)
try: listening.bind(('', 0))
except OSError as error: print(error.errno)
print('ready', flush=True)
time.sleep(600)`)
      await ready(wall)
      assert.deepEqual(wall.said.stdout.split('\n').slice(0, 4), [
        "b'seen' 111 111 101 101",
        'b"b\'seen\'\\n"',
        '13',
        '13',
      ])
      assert.equal(callers.at(-1), 1)
      assert.equal(callers[1], wall.started.wall.pid)
      assert.equal(strangers, 0)
      for (const port of ports.slice(1)) await strange(port)
      assert.deepEqual(callers.slice(-2), [0, 0])
      other.close()
    })

    test('is not taken for the owner of a port whose connection was reset before the server asked about it', async () => {
      await using stand = await openWhole({ hide })
      const wall = await startOf(stand, { egress: true })
      const listener = wall.claimed!.listener!
      const reset = Promise.withResolvers<number>()
      listener.once('connection', (socket) => {
        reset.resolve(socket.remotePort!)
        socket.resetAndDestroy()
      })
      wall.run(`${parts}
try: print('ended', socket.create_connection(('127.0.0.1', 3128)).recv(1))
except ConnectionResetError: print('reset')
print('ready', flush=True)
time.sleep(600)`)
      await ready(wall)
      assert.equal(wall.said.stdout.split('\n')[0], 'reset')
      const asked = Promise.withResolvers<readonly number[]>()
      listener.once('connection', (socket) => {
        const { remoteAddress: from, remotePort: local, localPort: remote } = socket
        socket.resume()
        asked.resolve(
          stand.warden.callers(wall.id, { from: from!, local: local!, remote: remote! }),
        )
      })
      const to = { port: portOf(listener), host: '127.0.0.1', localPort: await reset.promise }
      const stranger = createConnection(to)
      await once(stranger, 'connect', { signal: AbortSignal.timeout(goneMsMax) })
      assert.deepEqual(await asked.promise, [])
      stranger.destroy()
    })

    test('is not taken for another process with the port of its open connection on another address', async () => {
      await using stand = await openWhole({ hide })
      const wall = await startOf(stand, { egress: true })
      const listener = wall.claimed!.listener!
      const accepted: Socket[] = []
      listener.on('connection', (socket) => void accepted.push(socket))
      wall.run(`${parts}
one = socket.create_connection(('127.0.0.1', 3128))
print('ready', flush=True)
time.sleep(600)`)
      await ready(wall)
      await until(() => accepted.length === 1, 'the connection of the wall')
      const to = { port: portOf(listener), host: '127.0.0.1' }
      const localPort = accepted[0]!.remotePort!
      const stranger = createConnection({ ...to, localAddress: '127.0.0.2', localPort })
      await until(() => accepted.length === 2, 'the connection of another process')
      const [own, other] = accepted as [Socket, Socket]
      assert.deepEqual([other.remoteAddress, other.remotePort], ['127.0.0.2', own.remotePort])
      assert.deepEqual(await callersOf(stand, wall, other), [])
      assert.deepEqual(await callersOf(stand, wall, own), [wall.started.wall.pid])
      for (const one of [own, other, stranger]) one.destroy()
    })

    test('is known as the owner of each of many connections that the server has not asked about yet', async () => {
      await using stand = await openWhole({ hide })
      const wall = await startOf(stand, { egress: true })
      const accepted: Socket[] = []
      wall.claimed!.listener!.on('connection', (socket) => {
        accepted.push(socket.on('error', () => undefined))
      })
      wall.run(`${parts}
held = []
while len(held) < 400:
    try: held.append(socket.create_connection(('127.0.0.1', 3128)))
    except OSError: time.sleep(0.01)
print('ready', flush=True)
time.sleep(600)`)
      await ready(wall)
      await until(() => accepted.length >= 400, 'all connections')
      let known = 0
      for (const socket of accepted) if ((await callersOf(stand, wall, socket)).length > 0) known++
      assert.equal(known, 400)
      for (const socket of accepted) socket.destroy()
    })
  })

test('The attacks of this file succeed without a wall', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-bait-'))
  const victim = spawn('sleep', ['1000'])
  try {
    writeFileSync(join(folder, 'bait'), 'bait')
    const words = [[victim.pid], join(folder, 'bait'), folder, 9, 0]
    const code = `TARGETS = ${JSON.stringify(words)}\n${attack}`
    const { stdout, stderr } = spawnSync('python3', ['-c', code], { cwd: folder, encoding: 'utf8' })
    const through = new Set(stdout.split('\n').filter((line) => line.startsWith('THROUGH')))
    assert.ok(through.size > 20, `${through.size}: ${stderr}`)
    assert.ok(through.has('THROUGH F_SETSIG') && through.has('THROUGH chmod'))
  } finally {
    victim.kill('SIGKILL')
    rmSync(folder, { recursive: true })
  }
})

const settings = { spares: 0, spareMiB: 8, mechanism: 'embedded', disk: 16 * MiB } as const
type Stand = Awaited<ReturnType<typeof openWhole>>

async function startOf(
  stand: Stand,
  more: Parameters<WholeWall['claim']>[0] = {},
): Promise<WholeWall> {
  const wall = await stand.start('python')
  assert.ok(wall.started.wall.layers.includes('keeper'), wall.started.wall.missing.join('; '))
  await wall.claim({ processes: 20, memory: 512 * MiB, ...more })
  return wall
}

async function runIn(stand: Stand, program: 'python' | 'node', code: string) {
  const wall = await stand.start(program)
  await wall.claim({ processes: 20 })
  wall.run(code)
  const { how, detail } = await wall.end()
  return { ...wall.said, how: `${how}: ${detail} ${wall.frames.at(-1)}` }
}

/** The wall's outermost process. */
function keeperOf(wall: WholeWall): number {
  return processFacts(wall.started.wall.pid)!.parent
}

async function callersOf(
  stand: Stand,
  wall: WholeWall,
  socket: Socket,
): Promise<readonly number[]> {
  const { remoteAddress: from, remotePort: local, localPort: remote } = socket
  return await stand.warden.callers(wall.id, { from: from!, local: local!, remote: remote! })
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port
}

async function ready(wall: WholeWall): Promise<void> {
  await until(() => wall.said.stdout.includes('ready'), `ready: ${wall.said.stderr}`)
}

async function goneAll(mark: number, when: string): Promise<void> {
  const left = () => processesMarked(mark).filter((pid) => isAlive(pid))
  // A process may start another one between two looks at its folder.
  const areGone = () => left().length === 0 && left().length === 0
  await until(areGone, `the end of ${when}`, goneMsMax).catch(() => undefined)
  const rest = left()
  const args = ['-o', 'pid,ppid,stat,args', '-p', rest.join()]
  const listed = spawnSync('ps', args, { encoding: 'utf8' }).stdout
  for (const pid of rest) if (isAlive(pid)) process.kill(pid, 'SIGKILL')
  assert.deepEqual(rest, [], `${when}: ${listed}`)
}

const hostile = `${parts}${waits}`

/** Binds datagram sockets to a path and to an abstract name, and says so once each has taken one. */
const takesDatagrams = `
import socket, sys, time
bound = []
for address in (sys.argv[1], '\\0' + sys.argv[2]):
    one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.bind(address)
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', address)
    one.recv(1)
    bound.append(one)
print('taken', flush=True)
time.sleep(1000)
`

/** Each attack on what is outside prints THROUGH where it got there. */
const attack = `${parts}
import ctypes, fcntl
pids, bait, folder, port, server = TARGETS
victim = pids[0]
count = 0
def attempt(name, act):
    global count
    count += 1
    try: act()
    except (OSError, ValueError, OverflowError): return
    print('THROUGH', name, flush=True)
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result < 0: raise OSError(ctypes.get_errno(), '')
for target in pids:
    attempt('kill', lambda: os.kill(target, 0))
    attempt('tgkill', lambda: check(libc.syscall(234, target, target, 9)))
    attempt('sigqueue', lambda: check(libc.syscall(129, target, 9, ctypes.create_string_buffer(b'\\0' * 8 + b'\\xff' * 4 + b'\\0' * 200))))
    attempt('pidfd', lambda: signal.pidfd_send_signal(os.pidfd_open(target), 9))
    attempt('prlimit', lambda: check(libc.syscall(302, target, 7, ctypes.create_string_buffer(b'\\0' * 16), None)))
    attempt('setpriority', lambda: os.setpriority(os.PRIO_PROCESS, target, 19))
    attempt('affinity', lambda: os.sched_setaffinity(target, {0}))
    attempt('ptrace', lambda: check(libc.syscall(101, 16, target, 0, 0)))
    attempt('vm', lambda: check(libc.syscall(310, target, None, 0, None, 0, 0)))
    attempt('memory', lambda: open(f'/proc/{target}/mem', 'rb'))
    attempt('environ', lambda: open(f'/proc/{target}/environ', 'rb'))
    attempt('fds', lambda: os.listdir(f'/proc/{target}/fd'))
    attempt('setpgid', lambda: os.setpgid(target, 0))
attempt('killpg', lambda: os.killpg(victim, 0))
read, write = os.pipe()
attempt('F_SETOWN', lambda: fcntl.fcntl(read, fcntl.F_SETOWN, victim))
attempt('F_SETSIG', lambda: fcntl.fcntl(read, fcntl.F_SETSIG, 9))
attempt('F_SETOWN_EX', lambda: fcntl.fcntl(read, 15, b'\\1\\0\\0\\0' + victim.to_bytes(4, 'little')))
attempt('read', lambda: open(bait).read())
attempt('write', lambda: open(bait, 'a'))
attempt('truncate', lambda: os.truncate(bait, 0))
attempt('chmod', lambda: os.chmod(bait, 0o600))
attempt('fchmodat2', lambda: check(libc.syscall(452, -100, bait.encode(), 0o600, 0)))
attempt('chown', lambda: os.chown(bait, -1, os.getgid()))
attempt('utime', lambda: os.utime(bait))
attempt('link', lambda: os.link(bait, 'linked'))
attempt('rename', lambda: os.rename(bait, 'moved'))
attempt('unlink', lambda: os.unlink(bait))
os.symlink(bait, 'to-bait')
attempt('chmod by a link', lambda: os.chmod('to-bait', 0o600))
attempt('read by a link', lambda: open('to-bait').read())
attempt('utime by a link', lambda: os.utime('to-bait'))
os.symlink(folder, 'to-folder')
attempt('chmod below a link', lambda: os.chmod('to-folder/bait', 0o600))
attempt('chmod upwards', lambda: os.chmod(os.getcwd() + '/../' + os.path.basename(folder) + '/bait', 0o600))
attempt('folder', lambda: os.listdir(folder))
attempt('create', lambda: open('to-folder/new', 'w'))
def sent(kind, address):
    one = socket.socket(socket.AF_UNIX, kind)
    one.sendto(b'x', address)
def pair(address):
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.sendto(b'x', address)
def connected(family, kind, address): socket.socket(family, kind).connect(address)
for address in (folder + '/named', 'to-folder/named', '\\0mayfly-bait-' + str(server)):
    attempt('stream', lambda: connected(socket.AF_UNIX, socket.SOCK_STREAM, address))
    attempt('bind', lambda: socket.socket(socket.AF_UNIX).bind(address + 'x'))
for address in (folder + '/datagrams', 'to-folder/datagrams', '\\0mayfly-datagrams-' + str(server)):
    attempt('datagram', lambda: sent(socket.SOCK_DGRAM, address))
    attempt('pair', lambda: pair(address))
attempt('tcp', lambda: connected(socket.AF_INET, socket.SOCK_STREAM, ('127.0.0.1', port)))
attempt('tcp6', lambda: connected(socket.AF_INET6, socket.SOCK_STREAM, ('::1', port)))
attempt('udp', lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', port)))
attempt('fast open', lambda: socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', port)))
attempt('netlink', lambda: socket.socket(16, 3, 0))
attempt('packet', lambda: socket.socket(17, 3, 0))
attempt('vsock', lambda: socket.socket(40, 1, 0))
attempt('inotify', lambda: check(libc.inotify_init1(0)))
attempt('unshare', lambda: check(libc.unshare(0x10000000)))
attempt('io_uring', lambda: check(libc.syscall(425, 1, None)))
attempt('seccomp', lambda: check(libc.syscall(317, 1, 8, None)))
attempt('chroot', lambda: os.chroot('.'))
# A swapped name: many threads change what a path leads to while another has its modes changed.
import threading
stop = []
def swap():
    while not stop:
        try:
            os.symlink(bait, 'swap.new'); os.rename('swap.new', 'swapped')
            open('own', 'w').close(); os.rename('own', 'swapped')
        except OSError: pass
swapper = threading.Thread(target=swap); swapper.start()
until = time.monotonic() + 1
while time.monotonic() < until:
    try: os.chmod('swapped', 0o600)
    except OSError: pass
    try: open('swapped').read() and 1 / 0
    except OSError: pass
    except ZeroDivisionError: print('THROUGH a swapped read')
stop.append(1); swapper.join()
# A swapped folder: two names are exchanged while sockets are bound below one.
os.mkdir('exchanged')
stop.clear()
def exchange():
    while not stop: libc.syscall(316, -100, b'exchanged', -100, b'to-folder', 2)
exchanger = threading.Thread(target=exchange); exchanger.start()
for n in range(2000):
    for name in (f'exchanged/{n}', f'{os.getcwd()}/exchanged/{n}.whole'):
        try: socket.socket(socket.AF_UNIX).bind(name)
        except OSError: pass
stop.append(1); exchanger.join()
print('tried', count)
`
