import { openOwnProgram, sourcesOf } from '../../src/jail/own-programs.ts'
import assert from 'node:assert/strict'
import { appendFileSync, closeSync, cpSync, mkdtempSync, rmSync } from 'node:fs'
import os, { tmpdir } from 'node:os'
import { basename, dirname, join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'node:test'
import { findJailFacts } from '../../src/jail/facts.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { isThere } from '../../src/jail/c-program.ts'
import { callClasses, type CallClass } from '../../src/contract/calls.ts'
import { MayflyError } from '../../src/contract/error.ts'
import { seeded } from '../../src/tiers/mock/seeded.ts'
import { until } from '../conformance/stand.ts'
import { noCompiler } from '../fixtures/c-compiler.ts'
import { test } from '../fixtures/drawn.ts'
import { startAlone, type Alone } from './sentinel-stand.ts'
import { openWhole, type WholeWall } from './whole-wall.ts'

/** System calls closed by phase: at once and for good, also when arguments change while they are checked (TOCTOU). */
const ways = ['embedded', ...(findProgram('bwrap') ? (['bubblewrap'] as const) : [])] as const
const rounds = process.env['MAYFLY_LONG'] ? 1000 : 100
const flipsByWay = process.env['MAYFLY_LONG'] ? 1000 : 50
const seed = Number(process.env['MAYFLY_SEED'] ?? Date.now() % 2 ** 31)
const attackMs = 700
const attacksMax = 4
const skip = !findJailFacts().namespaces ? 'namespaces are forbidden here' : noCompiler

const without = (...closed: CallClass[]) => callClasses.filter((name) => !closed.includes(name))

/** Tries a call of each class in a loop, and prints each result. */
const tries = `
import errno, os, socket, subprocess, sys, time
held = socket.socket()
kept = open('/work/kept', 'w+')
def attempt(name, act):
    try:
        act()
        return name + '=ok'
    except OSError as error:
        return name + '=' + errno.errorcode[error.errno]
def fork():
    pid = os.fork()
    if pid == 0: os._exit(0)
    os.waitpid(pid, 0)
def execute():
    pid = os.posix_spawn('/bin/true', ['true'], {})
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0: raise OSError(errno.EACCES, '')
def near():
    a, b = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    a.bind('\\0near%d' % time.monotonic_ns())
    a.listen(1)
    b.connect(a.getsockname())
calls = {
  'exec': execute, 'fork': fork, 'socket': lambda: socket.socket().close(),
  'connect': lambda: held.connect(('127.0.0.1', 3128)),
  'near': near,
  'make': lambda: open('/work/made', 'w').close(),
  'move': lambda: os.rename('/work/made', '/work/moved') or os.rename('/work/moved', '/work/made'),
  'resize': lambda: os.ftruncate(kept.fileno(), 10),
  'own': lambda: open('kept').close(),
  'system': lambda: open('/usr/bin/env').close(),
  'self': lambda: open('/proc/self/status').close() or open('/proc/thread-self/stat').close(),
  'null': lambda: open('/dev/null', 'w').close(),
}
for round in range(2000):
    print('round %d:' % round, ' '.join(attempt(*one) for one in calls.items()), '.', flush=True)
    time.sleep(0.05)
`

/** Creates more files than the sentinel reports, then executes a program of its own. */
const floodThenExec = `
import os, shutil, subprocess, time
print('ready', flush=True)
time.sleep(1)
for n in range(3000): open('n%d' % n, 'w').close()
shutil.copy('/bin/true', 'x')
os.chmod('x', 0o755)
print('ran', subprocess.run(['/work/x']).returncode, flush=True)
time.sleep(60)
`

/** A round takes 50 ms, and seconds beside work that has more of the processor. */
const roundMsMax = 60_000

async function roundAfter(wall: WholeWall): Promise<string> {
  const done = wall.said.stdout.split('\n').length
  // A pending call may have begun before.
  const row = () => wall.said.stdout.split('\n').slice(0, -1)[done + 1]
  await until(() => row() !== undefined, 'a round of calls', roundMsMax)
  return row()!
}

suite('Calls of a wall', { skip, concurrency: 1 }, () => {
  for (const jailKind of ways)
    test(`are closed class by class while the program runs, and the others are not, ${jailKind}`, async () => {
      await using whole = await openWhole()
      const wall = await whole.start('python', jailKind)
      assert.ok(wall.started.wall.layers.includes('sentinel'))
      assert.doesNotMatch(wall.started.wall.missing.join(), /sentinel/)
      await wall.claim({ egress: true })
      wall.run(tries)
      const open = await roundAfter(wall)
      assert.doesNotMatch(open.replace('connect=EISCONN', ''), /=E/)

      const held = await whole.warden.calls(wall.id, [{ afterMs: 0, allow: without('exec') }])
      const answers = { exec: 'EACCES' }
      assert.deepEqual(held, { allowed: without('exec'), planned: 0, answers })
      assert.match(await roundAfter(wall), /exec=EACCES fork=ok socket=ok/)

      await whole.warden.calls(wall.id, [{ afterMs: 0, allow: without('network') }])
      assert.match(
        await roundAfter(wall),
        /exec=EACCES fork=ok socket=EACCES connect=EACCES near=ok make=ok/,
      )

      await whole.warden.calls(wall.id, [{ afterMs: 0, allow: without('write') }])
      assert.match(
        await roundAfter(wall),
        /make=EROFS move=EROFS resize=EROFS own=ok system=ok self=ok null=ok/,
      )

      await whole.warden.calls(wall.id, [{ afterMs: 0, allow: [] }])
      const last = await roundAfter(wall)
      assert.match(
        last,
        /exec=E\w+ fork=EAGAIN socket=EACCES connect=EACCES near=ok make=EROFS .*own=ok system=EACCES self=EACCES null=ok/,
      )

      const again = await whole.warden.calls(wall.id, [{ afterMs: 0, allow: [...callClasses] }])
      assert.deepEqual(again.allowed, [])
      assert.match(await roundAfter(wall), /exec=E.* fork=EAGAIN socket=EACCES/)
    })

  test('are closed by the clock of the sentinel in order of time, for any order in the schedule', async () => {
    await using whole = await openWhole()
    const wall = await whole.start('python')
    await wall.claim()
    wall.run(tries)
    await until(() => wall.said.stdout.includes('\n'), 'a round')
    const { planned } = await whole.warden.calls(wall.id, [
      { afterMs: 1000, allow: without('write'), kills: false },
      { afterMs: 150, allow: without('exec') },
      { afterMs: 2500, allow: [], kills: true },
    ])
    assert.equal(planned, 3)
    assert.equal((await wall.end()).how, 'killed')
    const rows = wall.said.stdout.split('\n').slice(0, -1)
    const first = (pattern: RegExp) => rows.findIndex((row) => pattern.test(row))
    assert.ok(first(/exec=EACCES/) > 0)
    assert.ok(first(/make=EROFS/) > first(/exec=EACCES/))
    const opened = rows.findIndex((row, at) => at > first(/exec=EACCES/) && /exec=ok/.test(row))
    assert.equal(opened, -1)
  })

  test('are reported: programs, files and denials, with the resolved file', async () => {
    await using whole = await openWhole()
    const wall = await whole.start('python')
    const seen: string[] = []
    whole.warden.onCall(wall.id, (told) => {
      if (!('call' in told)) return
      const { call, denied, path, writes } = told
      seen.push(`${call} ${denied ? 'denied' : 'allowed'} ${writes} ${path}`)
    })
    await wall.claim()
    wall.run(tries)
    await until(() => seen.includes('openat allowed true /work/made'), 'a file that is made')
    await until(
      () => seen.some((one) => /^execve allowed .* \/usr\/bin\/true$/.test(one)),
      'a program',
    )
    await whole.warden.calls(wall.id, [{ afterMs: 0, allow: without('exec', 'write') }])
    await until(() => seen.includes('openat denied true /work/made'), 'a denied file')
    await until(
      () => seen.some((one) => /^execve denied .* \/usr\/bin\/true$/.test(one)),
      'a denied program',
    )
  })

  test('S2-13: an exec after a flood of files is reported, even while the warden is stopped', async () => {
    await using whole = await openWhole({ apart: true })
    const { pid: warden } = await whole.warden.facts()
    const wall = await whole.start('python')
    const seen: string[] = []
    whole.warden.onCall(wall.id, (told) => {
      if ('call' in told && told.class === 'exec') seen.push(told.path ?? '')
    })
    await wall.claim()
    wall.run(floodThenExec)
    await until(() => wall.said.stdout.includes('ready'), 'the guest')
    process.kill(warden, 'SIGSTOP')
    try {
      await until(() => wall.said.stdout.includes('ran 0'), 'the exec')
    } finally {
      process.kill(warden, 'SIGCONT')
    }
    await until(() => seen.includes('/work/x'), 'the report')
  })

  test('are decided by the fixed filter alone if the sentinel is omitted, and the wall reports that', async () => {
    for (const options of [
      { hide: ['cc', 'gcc', 'clang'], sentinel: false },
      { sentinel: false },
    ]) {
      await using whole = await openWhole(options)
      const wall = await whole.start('python')
      assert.match(wall.started.wall.missing.join(), /sentinel: it is switched off/)
      assert.ok(!wall.started.wall.layers.includes('sentinel'))
      await wall.claim()
      await assert.rejects(whole.warden.calls(wall.id, [{ afterMs: 0, allow: [] }]), {
        code: 'UNAVAILABLE',
      })
    }
  })
})

/** Threads, processes, descriptors and files at work; each success says when its call began, by the clock of the flip. */
const hostile = (clock: 'BOOTTIME' | 'MONOTONIC', work: string, tell: string) => `
import os, socket, sys, threading, time
now = lambda: int(time.clock_gettime(time.CLOCK_${clock}) * 1e6)
lock = threading.Lock()
last = {}
def note(name, began):
    with lock: last[name] = max(last.get(name, 0), began)
def spin(name, act):
    while True:
        began = now()
        try:
            note(name, act() or began)
        except OSError: time.sleep(0.0002)
def fork():
    pid = os.fork()
    if pid == 0: os._exit(0)
    os.waitpid(pid, 0)
def execute():
    told, tells = os.pipe()
    try:
        pid = os.fork()
        if pid == 0:
            os.write(tells, b'%d' % now())
            try: os.execv('/bin/true', ['true'])
            except OSError: os._exit(1)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0: raise OSError(1, '')
        return int(os.read(told, 32))
    finally:
        os.close(told)
        os.close(tells)
os.chdir('${work}')
# What cannot be loaded any more complains, thousands of times a second.
os.dup2(os.open('/dev/null', os.O_WRONLY), 2)
work = {
  'network': lambda: socket.socket().close(),
  'process': fork, 'exec': execute,
  'write': lambda: os.close(os.open('${work}/written', os.O_RDWR | os.O_CREAT)),
  'outside': lambda: os.close(os.open('/usr/bin/env', os.O_RDONLY)),
}
for name, act in work.items():
    for _ in range(2): threading.Thread(target=spin, args=(name, act), daemon=True).start()
print('ready', flush=True)
def tell(asked):
    with lock: print('last ' + ' '.join('%s=%d' % one for one in last.items()) + ' asked=' + asked, flush=True)
${tell}
`
const whenAsked = `for line in sys.stdin:
    time.sleep(0.03)
    tell(line.strip())`
const againAndAgain = `while True:
    time.sleep(0.01)
    tell('%d.' % now())`
/** Allowed delay between the start of a call before the flip and its report. */
const tellsUs = 30_000
/** Classes that a sentinel enforces alone; `process` is enforced by a kernel limit, which only a wall sets. */
const answered = callClasses.filter((name) => name !== 'process')

/** Each class works, until it is closed. */
async function untilAllWork(alone: Alone): Promise<void> {
  const works = (line: string) => answered.every((name) => line.includes(`${name}=`))
  for (let n = 0, line = ''; !works(line); n++) {
    assert.ok(n < 300, `not every class works: ${line}`)
    alone.guest.stdin!.write(`works-${n}\n`)
    line = (await alone.says(new RegExp(`last .* asked=works-${n}\n`)))[0]
  }
}

/** Calls of closed classes that began after the flip was acknowledged. */
function beganAfter(line: string, open: readonly CallClass[], saidUs: number): readonly string[] {
  return callClasses
    .filter((name) => !open.includes(name))
    .map((name) => [name, Number(new RegExp(`${name}=(\\d+)`).exec(line)?.[1] ?? 0)] as const)
    .filter(([, began]) => began > saidUs)
    .map(([name, began]) => `${name} began ${began - saidUs} µs after the flip`)
}

const bytesMax = 64 * 2 ** 20
const masked = (text: string) => JSON.stringify([...Buffer.from(text)].map((byte) => byte ^ 0x55))

/** Reads the whole copy of its first process. */
async function copyOf({ sentinel }: Alone): Promise<Buffer> {
  const { promise: over, resolve } = Promise.withResolvers<void>()
  const pieces: Buffer[] = []
  sentinel.takeMemory()!.on('data', (chunk: Buffer) => {
    pieces.push(chunk)
    const end = Buffer.concat(pieces.slice(-2)).toString('latin1')
    if (/\{"end":true,"isWhole":(?:true|false)\}\n$/.test(end)) resolve()
  })
  assert.equal(await sentinel.capture([sentinel.entered!], bytesMax), 1)
  await over
  return Buffer.concat(pieces)
}

suite('A sentinel', { skip, concurrency: 1 }, () => {
  test('is compiled once, reused, and reported missing after its folder was emptied', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mayfly-sentinel-'))
    try {
      const [made, again] = [
        await openOwnProgram('sentinel', { folder }),
        await openOwnProgram('sentinel', { folder }),
      ]
      assert.ok('fd' in made && 'fd' in again)
      assert.deepEqual([made.file, isThere(made)], [again.file, true])
      rmSync(made.file)
      assert.deepEqual([made, again].map(isThere), [false, false])
      for (const { fd } of [made, again]) closeSync(fd)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('is compiled again when any of its sources or headers changes', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mayfly-sentinel-'))
    const parts = sourcesOf('sentinel')
    const root = dirname(dirname(parts[0]!))
    const sources = parts.map((file) => join(folder, relative(root, file)))
    try {
      parts.forEach((file, index) => cpSync(file, sources[index]!))
      const programs = new Set<string>()
      for (const part of [undefined, sources[0]!, sources.find((file) => file.endsWith('.h'))!]) {
        if (part) appendFileSync(part, '/* Changed. */\n')
        const made = await openOwnProgram('sentinel', { folder: join(folder, 'made'), sources })
        assert.ok('fd' in made, 'missing' in made ? made.missing : '')
        programs.add(basename(made.file).split('-')[0]!)
        closeSync(made.fd)
      }
      assert.equal(programs.size, 3)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test(`lets no call of a withdrawn class succeed that began after its acknowledgement, in ${rounds} flips`, async (t) => {
    t.diagnostic(`MAYFLY_SEED=${seed}`)
    const random = seeded(seed)
    let left = rounds
    for (let life = 0; left > 0; life++) {
      await using alone = await startAlone([
        '/usr/bin/python3',
        '-c',
        hostile('BOOTTIME', '/dev/shm/work', whenAsked),
      ])
      await alone.says(/ready/)
      await untilAllWork(alone)
      let open: readonly CallClass[] = answered
      while (left > 0 && open.length > 0) {
        await sleep(random() * 20)
        const closed = open[Math.floor(random() * open.length)]!
        open = open.filter((name) => name !== closed)
        const flipped = await unlessLate(alone.sentinel.flip([{ afterMs: 0, allow: open }]))
        if (!flipped) break
        const { allowed, t: flippedMs } = flipped
        assert.deepEqual(allowed, open)
        left--
        const asked = `${life}-${left}`
        alone.guest.stdin!.write(`${asked}\n`)
        const [line] = await alone.says(new RegExp(`last .* asked=${asked}\n`))
        const shut = ['process', ...open] as const
        assert.deepEqual(beganAfter(line, shut, flippedMs * 1000), [])
      }
    }
  })

  /** Undefined where a machine that is busy did not end the calls before it in time, which ends the wall. */
  let lateFlips = 0
  async function unlessLate<T>(flip: Promise<T>): Promise<T | undefined> {
    try {
      return await flip
    } catch (thrown) {
      const isLate = thrown instanceof MayflyError && thrown.message.includes('was not over')
      if (!isLate || ++lateFlips > rounds / 10 + 3) throw thrown
      return undefined
    }
  }

  for (const jailKind of ways)
    test(`and its warden let no call of any class succeed after their acknowledgement, in ${flipsByWay} flips, ${jailKind}`, async (t) => {
      t.diagnostic(`MAYFLY_SEED=${seed}`)
      const random = seeded(seed)
      await using whole = await openWhole()
      for (let left = flipsByWay; left > 0;) {
        const wall = await whole.start('python', jailKind)
        await wall.claim({ memory: 256 * 2 ** 20, processes: 100, deadline: 600_000 })
        wall.run(hostile('MONOTONIC', '/work', againAndAgain))
        // Each of them works, until it is closed.
        const works = callClasses.map((name) => new RegExp(`last .*${name}=`))
        await until(() => works.every((one) => one.test(wall.said.stdout)), 'every class')
        let open: readonly CallClass[] = callClasses
        while (left > 0 && open.length > 0) {
          await sleep(random() * 20)
          const closed = open[Math.floor(random() * open.length)]!
          open = open.filter((name) => name !== closed)
          const order = [{ afterMs: 0, allow: open }]
          const flipped = await unlessLate(whole.warden.calls(wall.id, order))
          if (!flipped) break
          const saidUs = Number(process.hrtime.bigint() / 1000n)
          assert.deepEqual(flipped.allowed, open)
          left--
          const later = () =>
            [...wall.said.stdout.matchAll(/last .* asked=(\d+)\./g)].find(
              ([, at]) => Number(at) > saidUs + tellsUs,
            )?.[0]
          await until(() => later() !== undefined, 'what it did since')
          assert.deepEqual(beganAfter(later()!, open, saidUs), [])
        }
        await wall.kill()
      }
    })

  async function attacked(program: string, closed: readonly CallClass[]) {
    await using alone = await startAlone(['/usr/bin/python3', '-c', program])
    await alone.says(/ready/)
    await alone.sentinel.flip([{ afterMs: 0, allow: without(...closed) }])
    alone.guest.stdin!.write('\n')
    const [, got, tried] = await alone.says(/got (\d+) of (\d+)/)
    return { got: Number(got), tried: Number(tried) }
  }

  const attacks: readonly (readonly [what: string, closed: CallClass, code: string])[] = [
    [
      'a path that another thread rewrites during the check opens no other file',
      'outside',
      `
path = ctypes.create_string_buffer(b'/dev/shm/work/mine', 64)
good, bad = b'/dev/shm/work/mine\\0', b'/usr/bin/env'.ljust(19, b'\\0')
def rewrite():
    while True:
        ctypes.memmove(path, bad, 19)
        ctypes.memmove(path, good, 19)
def attack():
    fd = libc.open(path, 0)
    if fd < 0: return False
    found = os.read(fd, 4)
    os.close(fd)
    return found != b'mine'`,
    ],
    [
      'a symbolic link that is swapped while it is resolved opens no other file',
      'outside',
      `
def rewrite():
    while True:
        for to in ('/usr/bin/env', '/dev/shm/work/mine'):
            try:
                os.symlink(to, '/dev/shm/work/next')
                os.rename('/dev/shm/work/next', '/dev/shm/work/link')
            except OSError: pass
def attack():
    fd = libc.open(b'/dev/shm/work/link', 0)
    if fd < 0: return False
    found = os.read(fd, 4)
    os.close(fd)
    return found != b'mine'`,
    ],
    [
      'an address and a socket that other threads swap during the check reach no other host',
      'network',
      `
near = socket.socket(socket.AF_UNIX)
near.bind('near')
near.listen(512)
near.setblocking(False)
far = inet
unix_to = struct.pack('H14s', 1, b'near') + b'\\0' * 8
inet_to = struct.pack('>HH4s', 0x0200, port, bytes([127, 0, 0, 1])) + b'\\0' * 16
address = ctypes.create_string_buffer(unix_to, 64)
slot = os.dup(far.fileno())
def rewrite():
    while True:
        ctypes.memmove(address, inet_to, 24)
        os.dup2(far.fileno(), slot)
        ctypes.memmove(address, unix_to, 24)
        one = socket.socket(socket.AF_UNIX)
        os.dup2(one.fileno(), slot)
        one.close()
def attack():
    libc.connect(slot, address, 16)
    try: near.accept()[0].close()
    except OSError: pass
    try:
        far.getpeername()
        return True
    except OSError: return False`,
    ],
  ]
  for (const [what, closed, code] of attacks)
    test(`checks a copy of the arguments: ${what}`, async () => {
      const program = `
import ctypes, fcntl, os, socket, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
# SIOCSIFFLAGS: the loopback of its own network is up.
fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH22x', b'lo', 1))
sys.setswitchinterval(0.00001)
open('/dev/shm/work/mine', 'w').write('mine')
inet = socket.socket()
listening = socket.socket()
listening.bind(('127.0.0.1', 0))
listening.listen(5)
port = listening.getsockname()[1]
${code}
print('ready', flush=True)
sys.stdin.readline()
threading.Thread(target=rewrite, daemon=True).start()
got, tried, until = 0, 0, time.monotonic() + ${attackMs / 1000}
while time.monotonic() < until:
    tried += 1
    if attack(): got += 1
print('got %d of %d' % (got, tried), flush=True)
`
      const [open, judged] = [{ got: 0, tried: 0 }, { tried: 0 }]
      // The scheduler decides the race, and the number of tries in that time.
      for (let n = 0; n < attacksMax && open.got === 0; n++) {
        const { got, tried } = await attacked(program, [])
        open.got += got
        open.tried += tried
      }
      assert.ok(open.got > 0, `while it is open, the attack works: ${open.tried} tries`)
      for (let n = 0; n < attacksMax && judged.tried <= 50; n++) {
        const { got, tried } = await attacked(program, [closed])
        assert.equal(got, 0)
        judged.tried += tried
      }
      assert.ok(judged.tried > 50, `${judged.tried} tries`)
    })

  test('copies the writable memory of its wall, and of no other process', async () => {
    const program = `
import sys
mark = bytes(b ^ 0x55 for b in ${JSON.stringify([...Buffer.from('mayfly-was-here')].map((byte) => byte ^ 0x55))})
kept = mark * 3
print('ready', flush=True)
sys.stdin.readline()`
    await using alone = await startAlone(['/usr/bin/python3', '-c', program])
    await alone.says(/ready/)
    assert.ok((await copyOf(alone)).includes('mayfly-was-heremayfly-was-here'))
    assert.equal(await alone.sentinel.capture([process.pid], bytesMax), 0)
  })

  test('copies memory that a program hides behind untouched, zero or unreadable pages', async (t) => {
    // PAGEMAP_SCAN, which tells private pages, is new in Linux 6.7.
    const [major = 0, minor = 0] = os.release().split('.').map(Number)
    if (major * 100 + minor < 607) return t.skip(`Linux ${os.release()} does not tell`)
    const program = `
import ctypes, mmap, sys
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
PRIVATE, NORESERVE, LOW = 0x22, 0x4022, 1 << 40
# Before all that it keeps: a terabyte of nothing, and as much of zeros as a copy may have.
assert libc.mmap(LOW, 1 << 40, 3, NORESERVE | 0x100000, -1, 0) == LOW
ctypes.memset(LOW, 0, ${bytesMax})
# Unmasked in place: the heap holds neither text.
for rights, text in ((0, ${masked('kept-from-all')}), (1, ${masked('kept-to-read')})):
    at = libc.mmap(None, 4096, 3, PRIVATE, -1, 0)
    page = (ctypes.c_ubyte * len(text)).from_address(at)
    for n, byte in enumerate(text): page[n] = byte ^ 0x55
    assert libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(4096), rights) == 0
print('ready', flush=True)
sys.stdin.readline()`
    await using alone = await startAlone(['/usr/bin/python3', '-c', program])
    await alone.says(/ready/)
    const memory = await copyOf(alone)
    assert.ok(memory.includes('kept-to-read'))
    assert.ok(memory.includes('kept-from-all'))
    assert.match(memory.toString('latin1').slice(-40), /"isWhole":true/)
    assert.ok(memory.length < bytesMax / 2)
  })
})
