import { openOwnProgram } from '../../src/jail/own-programs.ts'
import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { suite, test } from 'node:test'
import { sharedLayout } from '../../src/contract/shared-layout.ts'
import { findJailFacts } from '../../src/jail/facts.ts'
import { identify, isAlive, nameOfProcess, processFacts } from '../../src/os/proc.ts'
import { descendantsOf } from '../conformance/remains.ts'
import { until } from '../conformance/stand.ts'
import { openWhole, type WholeWall, type WholeWish } from './whole-wall.ts'

/**
 * Walls of Python that a template forked: what is in them is what an exec would have put there, nothing of the template
 * or of another job is to be found, and neither outlives its warden.
 */
const library = await openOwnProgram('zygote')
const unable =
  'missing' in library ? library.missing : !findJailFacts().namespaces && 'no namespaces here'
const isLong = process.env['MAYFLY_LONG'] !== undefined
const CHILDREN = isLong ? 1_000 : 24
const stands: readonly (readonly [title: string, wish: WholeWish])[] = [
  ['', {}],
  [', as an ordinary user', { hide: ['root', 'cgroup'] }],
]
const eager = { templates: 'all' } as const

suite('A program forked from a template', { skip: unable }, () => {
  for (const [title, wish] of stands) {
    test(`finds the same environment as a program started by exec${title}`, async () => {
      await using whole = await openWhole({ ...wish, ...eager })
      const forked = await whole.start('python')
      const fresh = await whole.start('python', 'embedded', undefined, true)
      assert.deepEqual([isForked(forked), isForked(fresh)], [true, false])
      assert.deepEqual(forked.started.wall.layers, fresh.started.wall.layers)
      const [here, there] = [await viewOf(forked), await viewOf(fresh)]
      for (const [name, value] of Object.entries(here)) assert.deepEqual(value, there[name], name)
    })

    test(`cannot reach the template, its siblings or their files${title}`, async () => {
      await using whole = await openWhole({ ...wish, ...eager })
      const other = await whole.start('python')
      const wall = await whole.start('python')
      assert.ok([other, wall].every(isForked))
      const template = templateOf(process.pid)
      const pids = [template, other.started.wall.pid, process.pid]
      const found = await seen(wall, attacks.replace('PIDS', JSON.stringify(pids)))
      assert.deepEqual(found, { processes: ['1', '2'], reached: [], sockets: 1, listening: [] })
      assert.ok(isAlive(template))
    })
  }

  test('finds no data of an earlier job in its memory or that of process 1, and the template has none', async () => {
    await using whole = await openWhole(eager)
    const first = await whole.start('python')
    const canary = `canary-${process.hrtime.bigint()}`
    await seen(first, `kept = ${JSON.stringify(canary)} * 100; print('{}')`)
    const next = await whole.start('python')
    // Texts of an earlier job, of the steps of this wall, and of the library, to prove that the search works.
    const words = [canary, 'size=16777216,nr_inodes', 'Elauncher: %s']
    const halves = words.map((word) => [word.slice(0, 9), word.slice(9)])
    const found = await seen(next, findsInMemory.replace('WORDS', JSON.stringify(halves)))
    assert.ok(isForked(first) && isForked(next))
    // In its own memory, and in that of process 1.
    const expected = [false, false, true]
    assert.deepEqual(found, [expected, expected])
    const memory = memoryOf(templateOf(process.pid))
    assert.ok(
      memory.length > 2 ** 20 && memory.includes('launcher'),
      `${memory.length} bytes were read`,
    )
    assert.equal(memory.includes(canary), false)
  })

  test('draws no random value that another fork drew', async () => {
    await using whole = await openWhole(eager)
    const drawn = new Map<string, number>()
    let forks = 0
    for (let n = 0; n < CHILDREN; n++) {
      const wall = await whole.start('python')
      if (isForked(wall)) forks++
      for (const value of await seen<readonly string[]>(wall, draws))
        drawn.set(value, (drawn.get(value) ?? 0) + 1)
      await wall.kill()
    }
    assert.ok(forks >= CHILDREN - 2, `${forks} of ${CHILDREN} were forked`)
    assert.deepEqual(
      [...drawn].filter(([, times]) => times > 1),
      [],
    )
    assert.ok(drawn.size >= CHILDREN * 9, `${drawn.size}`)
  })

  test('shares its hash seed with its siblings, and reports it; a fresh program does not', async () => {
    await using whole = await openWhole(eager)
    const hashes: string[] = []
    for (const fresh of [false, false, true, true]) {
      const wall = await whole.start('python', 'embedded', undefined, fresh)
      assert.equal(wall.started.wall.missing.includes(sharedLayout), !fresh)
      hashes.push(await seen(wall, `print('"%d"' % hash('a text'))`))
    }
    assert.equal(hashes[0], hashes[1])
    assert.equal(new Set(hashes).size, 3)
  })

  test('runs to its end after the death of the template, and can be killed', async () => {
    await using whole = await openWhole(eager)
    const [one, two] = [await whole.start('python'), await whole.start('python')]
    assert.ok([one, two].every(isForked))
    const template = templateOf(process.pid)
    process.kill(template, 'SIGKILL')
    await until(() => !isAlive(template), 'the end of the template')
    assert.equal(await seen(one, `print('"lives"')`), 'lives')
    assert.equal((await one.end()).how, 'exit')
    await two.claim()
    assert.ok((await two.kill()).took >= 0)
    assert.equal((await two.end()).how, 'killed')
    const next = await whole.start('python')
    assert.equal(await seen(next, `print('"next"')`), 'next')
    assert.deepEqual(strays(process.pid), [])
  })

  test('is started by exec if the template dies before it answers, and nothing of the fork is left', async () => {
    await using whole = await openWhole(eager)
    await whole.start('python')
    const template = templateOf(process.pid)
    process.kill(template, 'SIGSTOP')
    const started = whole.start('python')
    await until(() => processFacts(template)?.state === 'T', 'the template to stand still')
    process.kill(template, 'SIGKILL')
    const wall = await started
    assert.equal(isForked(wall), false)
    assert.equal(await seen(wall, `print('"runs"')`), 'runs')
    assert.deepEqual(strays(process.pid), [])
  })

  test('dies with its warden, as the template does', async () => {
    await using whole = await openWhole({ ...eager, apart: true })
    const wall = await whole.start('python')
    assert.ok(isForked(wall))
    const outermost = outermostOf(wall)
    const warden = processFacts(outermost)!.parent
    assert.notEqual(warden, process.pid)
    const all = [templateOf(warden), outermost, ...descendantsOf(outermost)].map(identify)
    assert.equal(all.length, 4)
    process.kill(warden, 'SIGKILL')
    await until(() => all.every(({ pid, startTime }) => !isAlive(pid, startTime)), 'their end')
  })

  test('ends with its template when the warden closes', async () => {
    const whole = await openWhole(eager)
    const wall = await whole.start('python')
    const all = [templateOf(process.pid), outermostOf(wall)].map(identify)
    await whole[Symbol.asyncDispose]()
    assert.ok(all.every(({ pid, startTime }) => !isAlive(pid, startTime)))
    assert.deepEqual(childrenNamed(process.pid), [])
  })

  test('cannot block other forks by a fork bomb', async () => {
    await using whole = await openWhole(eager)
    const wall = await whole.start('python')
    await wall.claim({ processes: 8 })
    wall.run(multiplies)
    const next = await whole.start('python')
    assert.ok(isForked(next))
    assert.equal(await seen(next, `print('"runs"')`), 'runs')
  })
})

function isForked({ started }: WholeWall): boolean {
  return started.wall.missing.includes(sharedLayout)
}

/** Runs a job to its end; returns its output, parsed as JSON. */
async function seen<T = unknown>(wall: WholeWall, code: string): Promise<T> {
  await wall.claim()
  wall.run(code)
  await until(() => wall.frames.some((frame) => frame.includes('"status"')), 'the end of the job')
  await wall.end()
  const { stdout, stderr } = wall.said
  assert.equal(stderr, '')
  return JSON.parse(stdout) as T
}

/** View of a program, without the uid, which differs between walls. */
async function viewOf(wall: WholeWall): Promise<Readonly<Record<string, unknown>>> {
  const view = await seen<{ ids: readonly (readonly number[])[] }>(wall, looksAround)
  const uid = String(view.ids[0]![0])
  return JSON.parse(JSON.stringify(view).replaceAll(uid, '4242'))
}

/** The wall's first process outside of its pid namespace. */
function outermostOf({ started }: WholeWall): number {
  return processFacts(processFacts(started.wall.pid)!.parent)!.parent
}

function childrenNamed(warden: number): readonly number[] {
  const children = readFileSync(`/proc/${warden}/task/${warden}/children`, 'utf8')
  return children
    .trim()
    .split(' ')
    .filter(Boolean)
    .map(Number)
    .filter((pid) => /^mayfly-z\d+$/.test(nameOfProcess(pid)))
}

/** The only process of its name without a child. */
function templateOf(warden: number): number {
  const found = childrenNamed(warden).filter(
    (pid) => isAlive(pid) && descendantsOf(pid).length === 0,
  )
  assert.equal(found.length, 1, 'templates')
  return found[0]!
}

/** Leaked forks: zombies, and walls without a program. */
function strays(warden: number): readonly number[] {
  return childrenNamed(warden).filter((pid) => processFacts(pid)?.state === 'Z')
}

function memoryOf(pid: number): Buffer {
  const maps = readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')
  const file = `/proc/${pid}/mem`
  return Buffer.concat(maps.filter((line) => / rw/.test(line)).map((line) => partOf(file, line)))
}

function partOf(file: string, line: string): Buffer {
  const [from = 0, to = 0] = line
    .split(' ')[0]!
    .split('-')
    .map((one) => Number.parseInt(one, 16))
  const bytes = Buffer.alloc(to - from)
  const fd = openSync(file, 'r')
  try {
    const read = readSync(fd, bytes, 0, bytes.length, from)
    return bytes.subarray(0, read)
  } catch {
    return Buffer.alloc(0)
  } finally {
    closeSync(fd)
  }
}

/** Prints the view that a program has of itself and its wall, without times, host pids and random values. */
const looksAround = `
import json, os, resource, signal, sys, threading
def text(path):
    try: return open(path).read()
    except OSError as error: return error.strerror
def status(pid):
    lines = dict(line.split(':', 1) for line in text(f'/proc/{pid}/status').splitlines())
    keys = 'Name Umask Pid PPid TracerPid Uid Gid Groups NSpid NStgid NSpgid NSsid SigQ SigBlk SigIgn SigCgt CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp THP_enabled'
    return {key: lines.get(key, '').strip() for key in keys.split() if key not in ('SigQ', 'Name') or pid != 1}
mounts = []
for line in text('/proc/self/mountinfo').splitlines():
    before, _, after = line.partition(' - ')
    fields = before.split(' ')
    mounts.append([fields[3:6], after.split(' ')[0], after.split(' ')[2]])
limits = {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith('RLIMIT_')}
print(json.dumps({
    'ids': [os.getresuid(), os.getresgid(), os.getgroups(), os.getpid(), os.getppid(), os.getpgid(0), os.getsid(0)],
    'status': status('self'), 'fds': sorted(os.listdir('/proc/self/fd')),
    'files': {fd: os.fstat(int(fd)).st_mode for fd in '01235'},
    'environ': sorted(text('/proc/self/environ').split('\\0')), 'variables': dict(os.environ),
    'mounts': sorted(mounts, key=json.dumps), 'limits': limits, 'cwd': os.getcwd(), 'uname': os.uname().nodename,
    'dev': text('/proc/net/dev').split('\\n')[2:3] and [line.split(':')[0] for line in text('/proc/net/dev').splitlines()],
    'etc': [text('/etc/passwd'), text('/etc/group'), sorted(os.listdir('/etc'))],
    'root': sorted(os.listdir('/')), 'opt': sorted(os.listdir('/opt/mayfly')), 'tmp': [os.listdir('/tmp'), os.listdir('/dev/shm')],
    'signals': [str(signal.getsignal(one)) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD)],
    'modules': sorted(sys.modules), 'path': sys.path, 'flags': list(sys.flags)[:17], 'argv': sys.argv, 'orig': sys.orig_argv,
    'executable': sys.executable, 'prefix': sys.prefix, 'hooks': len(sys.meta_path), 'streams': [sys.stdout.line_buffering, sys.stdout.seekable(), sys.stderr.seekable()],
    'oom': text('/proc/self/oom_score_adj'), 'scheduler': os.sched_getscheduler(0),
    'thread': threading.get_native_id() == threading.main_thread().native_id == os.getpid(), 'threads': threading.active_count(),
    'tasks': len(os.listdir('/proc/self/task')),
}))`

const attacks = `
import ctypes, json, os, signal, socket, stat
reached = []
libc = ctypes.CDLL(None, use_errno=True)
for pid in PIDS:
    for name in ('mem', 'environ', 'root', 'fd', 'status'):
        if os.path.lexists(f'/proc/{pid}/{name}'): reached.append([pid, name])
    try: os.kill(pid, 0); reached.append([pid, 'kill'])
    except OSError: pass
    for call in (lambda: libc.ptrace(16, pid, 0, 0), lambda: libc.syscall(434, pid, 0), lambda: libc.syscall(310, pid, 0, 0, 0, 0, 0)):
        ctypes.set_errno(0)
        if call() >= 0: reached.append([pid, 'call'])
sockets = 0
for fd in os.listdir('/proc/self/fd'):
    try: sockets += stat.S_ISSOCK(os.fstat(int(fd)).st_mode)
    except OSError: pass
unix = [line.split()[-1] for line in open('/proc/net/unix').read().splitlines()[1:] if line.split()[5] == '01' and len(line.split()) > 7]
processes = sorted(name for name in os.listdir('/proc') if name.isdigit())
print(json.dumps({'processes': processes, 'reached': reached, 'sockets': sockets, 'listening': unix}))`

/** Searches its own memory and that of process 1; its own source has each word in two parts. */
const findsInMemory = `
import json
words = WORDS
def search(memory, line, found):
    span, rights = line.split()[:2]
    if 'r' not in rights or '[v' in line: return
    start, end = (int(one, 16) for one in span.split('-'))
    try:
        memory.seek(start)
        part = memory.read(end - start)
    except (OSError, OverflowError, ValueError): return
    for index, (one, two) in enumerate(words):
        at = part.find(two.encode())
        while at >= 0:
            if part[max(0, at - len(one)):at] == one.encode(): found[index] = True
            at = part.find(two.encode(), at + 1)
every = []
for process in ('self', 1):
    found = [False for _ in words]
    with open(f'/proc/{process}/mem', 'rb', 0) as memory:
        for line in open(f'/proc/{process}/maps').read().splitlines(): search(memory, line, found)
    every.append(found)
print(json.dumps(every))`

const draws = `
import json, os, random, secrets, tempfile, uuid
values = [random.random(), random.SystemRandom().random(), random.Random().random(), os.urandom(8).hex(), secrets.token_hex(8),
    str(uuid.uuid4()), next(tempfile._get_candidate_names())]
import _ssl
values.append(_ssl.RAND_bytes(8).hex())
import ctypes
libc = ctypes.CDLL(None)
libc.getauxval.restype = ctypes.c_ulong
values.append(ctypes.string_at(libc.getauxval(25), 16).hex())
try:
    import numpy.random
    values.append(repr(numpy.random.random()))
except ImportError: pass
print(json.dumps([f'{index} {value}' for index, value in enumerate(values)]))`

const multiplies = `
import os
while True:
    try: os.fork()
    except OSError: pass`
