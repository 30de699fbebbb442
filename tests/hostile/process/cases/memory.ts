import { casesOf, type ProcessCase } from '../case.ts'

const { node, python, sh } = casesOf('memory')
const over = { over: 'memory' } as const
const text = String.raw

/** Memory beyond the limit, each by another kernel path; none takes more than some 700 MB. */
export const memory: readonly ProcessCase[] = [
  python(
    'ten-gigabytes-asked',
    'one mapping of ten gigabytes, and its first half gigabyte touched',
    text`
import mmap
m = mmap.mmap(-1, 10 * 2**30)
for i in range(0, 512 * 2**20, 4096): m[i] = 1
print('touched')`,
    over,
  ),
  python(
    'one-large-object',
    'a single allocation',
    `x = bytearray(600 * 2**20)\nprint(len(x))`,
    over,
  ),
  python(
    'many-small-objects',
    'memory by and by',
    text`
a = []
for i in range(600): a.append(bytearray(2**20))
print(len(a))`,
    over,
  ),
  python(
    'children-share-the-sum',
    'each child is within its bound, their sum is not',
    text`
for i in range(12):
    try: child = os.fork()
    except OSError: break
    if child == 0:
        signal.alarm(4); x = bytearray(50 * 2**20); time.sleep(1.2); os._exit(0)
time.sleep(0.9)`,
    over,
  ),
  python(
    'shared-mapping',
    'pages that are shared belong to nobody alone',
    text`
import mmap
maps = [mmap.mmap(-1, 50 * 2**20, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS) for i in range(10)]
for m in maps:
    if os.fork() == 0:
        signal.alarm(4)
        for i in range(0, len(m), 4096): m[i] = 1
        time.sleep(1.2); os._exit(0)
time.sleep(0.9)`,
    over,
  ),
  python(
    'memfd-fill',
    'a file of memory without a name, written but never mapped',
    text`
fd = os.memfd_create('m')
block = b'x' * 2**20
for i in range(500): os.write(fd, block)
print('written'); time.sleep(0.3)`,
    over,
  ),
  python(
    'memfd-detached',
    'the writer ends, whoever holds the descriptor keeps the pages',
    text`
fds = []
for n in range(5):
    fd = os.memfd_create('m'); fds.append(fd)
    if os.fork() == 0:
        block = b'x' * 2**20
        try:
            for i in range(100): os.write(fd, block)
        finally: os._exit(0)
    os.wait()
print(sum(os.fstat(fd).st_size for fd in fds)); time.sleep(0.3)`,
    over,
  ),
  python(
    'shared-memory-folder',
    'the folder of POSIX shared memory is memory',
    text`
block = b'x' * 2**20
with open('/dev/shm/' + bait['name'], 'wb') as f:
    for i in range(300): f.write(block)
print('written'); time.sleep(0.2)`,
    over,
  ),
  python(
    'system-v-shared-memory',
    'segments of System V are no files and no mappings',
    text`
IPC_CREAT = 0o1000
segments = []
for i in range(6):
    s = call('shmget', 0 if i else bait['key'], 60 * 2**20, IPC_CREAT | 0o600)
    if s < 0: print('refused', s); break
    libc.shmat.restype = ctypes.c_void_p
    at = libc.shmat(s, None, 0)
    if at in (None, 2**64 - 1): break
    ctypes.memset(at, 1, 60 * 2**20)
    if i: libc.shmctl(s, 0, None)
time.sleep(0.3)`,
    over,
  ),
  python(
    'page-tables',
    'one touched page in each gigabyte costs a table that no process is charged for by name',
    text`
import mmap
m = []
try:
    for n in range(40):
        x = mmap.mmap(-1, 2**31); m.append(x)
        for i in range(0, 2**31, 2**21): x[i]
except Exception as e: print(type(e).__name__)
print(len(m))`,
    over,
  ),
  python(
    'thread-stacks',
    'many threads, each of which fills its stack',
    text`
threading.stack_size(32 * 2**20)
def deep():
    x = (ctypes.c_char * (24 * 2**20))()
    ctypes.memset(x, 1, len(x)); time.sleep(1)
for i in range(20):
    try: threading.Thread(target=deep, daemon=True).start()
    except (RuntimeError, MemoryError): break
time.sleep(0.8); os._exit(0)`,
    over,
  ),
  python(
    'pipes-full',
    'what waits in pipes is memory of the kernel',
    text`
import fcntl
pipes, held = [], 0
try:
    for i in range(400):
        r, w = os.pipe(); pipes.append((r, w))
        try: fcntl.fcntl(w, 1031, 2**20)
        except OSError: pass
        os.set_blocking(w, False)
        try:
            while True: held += os.write(w, b'x' * 65536)
        except OSError: pass
except OSError as e: print(e.errno)
if held > 112 * 2**20: mark('kernel memory', held >> 20)
print(held >> 20)
time.sleep(0.2)`,
    over,
  ),
  python(
    'sockets-full',
    'what waits in sockets is memory of the kernel',
    text`
pairs, held = [], 0
try:
    for i in range(400):
        a, b = socket.socketpair(); pairs.append((a, b)); a.setblocking(False)
        a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
        try:
            while True: held += a.send(b'x' * 65536)
        except OSError: pass
except OSError as e: print(e.errno)
if held > 112 * 2**20: mark('kernel memory', held >> 20)
print(held >> 20)
time.sleep(0.2)`,
    { counted: true },
  ),
  python(
    'locked-memory',
    'pages that can not be put out',
    text`
import mmap
m = mmap.mmap(-1, 300 * 2**20)
print(libc.mlockall(3))
for i in range(0, len(m), 4096): m[i] = 1`,
    over,
  ),
  sh(
    'shell-variable',
    'a shell has no bound of its own',
    text`x=$(head -c 8000000 /dev/zero | tr '\0' a); y=$x$x$x$x$x$x$x$x; z=$y$y$y$y; echo ${'${#z}'}`,
    over,
  ),
  sh(
    'sort-everything',
    'a tool that holds all its input',
    `head -c 700000000 /dev/zero | tail -c 600000000 | wc -c`,
    over,
  ),
  node(
    'buffers',
    'memory outside of the heap',
    `const a = []; for (let i = 0; i < 600; i++) a.push(Buffer.alloc(2 ** 20, 1)); show(a.length)`,
    over,
  ),
  node(
    'heap',
    'memory inside of it',
    `const a = []; for (let i = 0; i < 60; i++) a.push(new Array(2 ** 20).fill(i + 0.5)); show(a.length)`,
    over,
  ),
  node(
    'webassembly-memory',
    'linear memory, grown and touched',
    `const m = new WebAssembly.Memory({ initial: 10000 }); new Uint8Array(m.buffer).fill(1); show(m.buffer.byteLength)`,
    over,
  ),
  node(
    'worker-heaps',
    'each thread is within its bound, their sum is not',
    text`
const { Worker } = require('node:worker_threads')
for (let i = 0; i < 6; i++) new Worker('const b = Buffer.alloc(80 * 2 ** 20, 1); setTimeout(() => b, 700)', { eval: true }).on('error', () => {})
setTimeout(() => process.exit(0), 1200)`,
    over,
  ),
]
