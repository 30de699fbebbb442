import assert from 'node:assert/strict'
import { suite } from 'node:test'
import { findJailFacts } from '../../src/jail/facts.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { noCompiler } from '../fixtures/c-compiler.ts'
import { test } from '../fixtures/drawn.ts'
import { openWhole } from './whole-wall.ts'

/** Watches on files (inotify) and fsync, which the sentinel answers; memfd_create, which programs do without. */
const skip = !findJailFacts().namespaces ? 'namespaces are forbidden here' : noCompiler
const walls = [
  { title: 'embedded', jailKind: 'embedded', hide: [] },
  { title: 'embedded, without root', jailKind: 'embedded', hide: ['root'] },
  ...(findProgram('bwrap')
    ? ([
        { title: 'bubblewrap', jailKind: 'bubblewrap', hide: [] },
        { title: 'bubblewrap, without root', jailKind: 'bubblewrap', hide: ['root'] },
      ] as const)
    : []),
] as const

const calls = `
import ctypes, errno, os, re, select, socket, struct, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def called(name, *args):
    result = getattr(libc, name)(*args)
    return result if result >= 0 else errno.errorcode[ctypes.get_errno()]
def instance(): return called('inotify_init1', 0o4000)
def watch(fd, path, mask=0x100): return called('inotify_add_watch', fd, path, mask)
def names(fd):
    data, at, found = b'', 0, []
    while select.select([fd], [], [], 0.5)[0]:
        try: data += os.read(fd, 65536)
        except BlockingIOError: break
    while at < len(data):
        wd, mask, cookie, length = struct.unpack_from('iIII', data, at)
        found.append(data[at + 16:at + 16 + length].rstrip(b'\\0').decode())
        at += 16 + length
    return found
def watched(fd): return re.findall(r'sdev:([0-9a-f]+)', open('/proc/self/fdinfo/%d' % fd).read())
`

const honest = `${calls}
os.mkdir('/work/sub'); os.symlink('/work/sub', '/work/link')
fd = instance()
print(watch(fd, b'/work/sub', 0x100), watch(fd, b'sub', 0x100 | 0x01000000), watch(fd, b'/work/link', 0x100 | 0x01000000), watch(fd, b'/work/link', 0x4 | 0x02000000))
if os.fork() == 0:
    open('/work/sub/of a child', 'w').close()
    os._exit(0)
os.wait()
open('/work/sub/own', 'w').close()
print(names(fd), called('inotify_rm_watch', fd, 1))
open('/work/sub/unseen', 'w').close()
print([name for name in names(fd) if name])
print(watch(fd, b'/work/absent'), watch(fd, b''), watch(fd, b'/work/sub', 0), watch(0, b'/work/sub'), watch(999, b'/work/sub'), watch(fd, None))
os.chmod('/work/sub', 0)
print(watch(fd, b'/work/sub'), called('memfd_create', b'x', 0))
`

const outside = `${calls}
fd = instance()
os.symlink('/usr/bin', '/work/usr'); os.symlink('/proc/1', '/work/first'); os.symlink('usr', '/work/two')
held = os.open('/usr', os.O_RDONLY)
for at in ['/', '/usr/bin', '/usr/bin/env', '/etc', '/etc/passwd', '/dev', '/dev/null', '/dev/pts', '/proc', '/proc/1', '/proc/self/status', '/proc/self/fd/%d' % held,
           '/proc/self/root', '/proc/self/root/usr', '/proc/self/cwd', '/proc/1/root/work', '/opt/mayfly', '/opt/mayfly/sentinel', '/work/usr', '/work/two', '/work/usr/env', '/work/first',
           '../usr', '../../../../../../usr', '/work/../usr']:
    answer = watch(fd, at.encode(), 0xfff)
    if answer not in ('ENOSYS', 'EACCES', 'ENOENT'): print('watched', at, answer)
print(watched(fd), watch(fd, b'/usr/bin'), watch(fd, b'/work/usr', 0x100 | 0x02000000) == 1)
`

/** Paths that change during the check: a swapped symbolic link, and the rewritten text. */
const races = `${calls}
fd = instance()
os.mkdir('/work/inner'); watch(fd, b'/work/inner')
own = set(watched(fd))
text = ctypes.create_string_buffer(b'/work/inner', 64)
stops = False
def swap_links():
    while not stops:
        for to in ('/usr/bin', '/work/inner'):
            try: os.symlink(to, '/work/new'); os.rename('/work/new', '/work/flip')
            except OSError: pass
def swap_text():
    while not stops: text.value = b'/usr/bin'; text.value = b'/work/inner'
threads = [threading.Thread(target=one) for one in (swap_links, swap_text)]
for one in threads: one.start()
seen = {}
until = time.monotonic() + 3
while time.monotonic() < until:
    for path in (b'/work/flip', text):
        answer = watch(fd, path)
        seen['taken' if isinstance(answer, int) else answer] = True
    if set(watched(fd)) != own: print('left the scratch', watched(fd)); break
stops = True
for one in threads: one.join()
print(seen.get('taken'), seen.get('ENOSYS'), set(watched(fd)) == own)
`

/** The bound of the wall, by instances that are shared with children, closed, and on their way through a socket. */
const many = `${calls}
os.mkdir('/work/many')
for n in range(1100): open('/work/many/%d' % n, 'w').close()
def fill(fd, count, first=0):
    for n in range(first, first + count):
        answer = watch(fd, b'/work/many/%d' % n)
        if not isinstance(answer, int): return n - first, answer
    return count, None
a = instance()
print(fill(a, 1000), fill(instance(), 1100))
print('of a child', end=' ', flush=True)
if os.fork() == 0:
    print(fill(a, 100, 1000), flush=True)
    os._exit(0)
os.wait()
left, right = socket.socketpair()
socket.send_fds(left, [b'x'], [a]); os.close(a)
print('on its way', fill(instance(), 100))
_, fds, _, _ = socket.recv_fds(right, 1, 1); a = fds[0]
for n in range(1, 501): called('inotify_rm_watch', a, n)
print('removed', fill(a, 600, 500)[0] >= 476)
os.close(a)
print('closed', fill(instance(), 900))
`

const instances = `${calls}
kept = []
while len(kept) < 300:
    fd = instance()
    if not isinstance(fd, int): print(fd, end=' '); break
    kept.append(fd)
print(len(kept) <= 128, sum(isinstance(watch(fd, b'/work'), int) for fd in kept), end=' ')
for fd in kept: os.close(fd)
for n in range(48):
    fd = instance()
    if not isinstance(watch(fd, b'/work'), int): print('refused after', n)
    os.close(fd)
print('again')
`

const syncs = `${calls}
r, w = os.pipe(); one = socket.socket()
open('/work/file', 'w').close()
good = [os.open(at, os.O_RDONLY) for at in ('/work/file', '/work', '/usr/bin/env', '/usr')]
for call in ('fsync', 'fdatasync'):
    print([called(call, fd) for fd in good], called(call, r), called(call, one.fileno()), [called(call, fd) for fd in (-1, 900, 5000, 2 ** 31 - 1)])
`

const inNode = `
import fs from 'node:fs'
fs.mkdirSync('/work/deep/er', { recursive: true })
const seen = new Set()
const watchers = [fs.watch('/work/deep', (_, name) => seen.add(name)), fs.watch('/work/deep', { recursive: true }, (_, name) => seen.add(name))]
setTimeout(() => { fs.writeFileSync('/work/deep/a', 'x'); fs.writeFileSync('/work/deep/er/b', 'x') }, 100)
setTimeout(() => { for (const one of watchers) one.close(); console.log([...seen].sort().join()) }, 600)
try { fs.watch('/usr/bin') } catch ({ code }) { console.log(code) }
`

suite('Watches on files, and fsync', { skip }, () => {
  for (const { title, jailKind, hide } of walls) {
    const run = async (code: string, program: 'python' | 'node' = 'python') => {
      await using whole = await openWhole({ hide })
      const wall = await whole.start(program, jailKind)
      assert.ok(wall.started.wall.layers.includes('sentinel'))
      await wall.claim()
      wall.run(code)
      await wall.end()
      assert.equal(wall.said.stderr, '')
      return wall.said.stdout
    }

    test(`${title}: a program watches its own files, and its children see the same`, async () => {
      const out = `1 1 1 2
['of a child', 'own'] 0
[]
ENOENT ENOENT EINVAL EINVAL EBADF EFAULT
`
      const said = await run(honest)
      assert.equal(said.slice(0, out.length), out)
      // Root acting as an ordinary user keeps its capabilities, and can read files that the wall's user may not.
      const denied = hide.length > 0 ? /^(EACCES|3) ENOSYS\n$/ : /^EACCES ENOSYS\n$/
      assert.match(said.slice(out.length), denied)
    })

    test(`${title}: fs.watch of Node watches a folder, also recursively`, async () => {
      assert.equal(await run(inNode, 'node'), 'ENOSYS\na,er/b\n')
    })

    test(`${title}: a watch outside of the scratch is refused, by every path tried`, async () => {
      assert.equal(await run(outside), '[] ENOSYS True\n')
    })

    test(`${title}: a path that changes during the check (TOCTOU) gives no watch outside of the scratch`, async () => {
      assert.equal(await run(races), 'True True True\n')
    })

    test(`${title}: the 1,025th watch is refused, with instances shared, sent by SCM_RIGHTS or closed`, async () => {
      const out = `(1000, None) (24, 'ENOSPC')
of a child (0, 'ENOSPC')
on its way (0, 'ENOSPC')
removed True
closed (900, None)
`
      assert.equal(await run(many), out)
    })

    test(`${title}: sixteen instances may have watches at a time, and closing one frees a slot`, async () => {
      assert.match(await run(instances), /^EMFILE True 16 again\n$/)
    })

    test(`${title}: fsync returns the same as the kernel, and fails for an fd that is not a file`, async () => {
      const row = "[0, 0, 0, 0] EINVAL EINVAL ['EBADF', 'EBADF', 'EBADF', 'EBADF']\n"
      assert.equal(await run(syncs), row + row)
    })
  }
})
