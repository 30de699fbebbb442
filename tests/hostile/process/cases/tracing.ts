import { casesOf, type ProcessCase } from '../case.ts'

const { python } = casesOf('tracing')
const text = String.raw

/** Inspection and modification of other processes by debugger calls. */
export const tracing: readonly ProcessCase[] = [
  python(
    'attach-to-a-stranger',
    'a debugger reads and writes everything',
    text`
answer = call('ptrace', 16, bait['victim'], 0, 0)
if answer == 0: mark('attached'); call('ptrace', 17, bait['victim'], 0, 0)`,
  ),
  python(
    'seize-a-stranger',
    'the newer way to attach',
    text`
if call('ptrace', 0x4206, bait['victim'], 0, 0) == 0: mark('seized')`,
  ),
  python(
    'attach-to-the-parent',
    'whoever waits for it',
    text`
for pid in (os.getppid(), 1):
    if pid and call('ptrace', 0x4206, pid, 0, 0) == 0: mark('seized', pid); call('ptrace', 17, pid, 0, 0)`,
  ),
  python('traced-by-its-parent', 'the entry point itself', `entry('ptrace', 0, 0, 0, 0)`),
  python(
    'attach-to-its-child',
    'a tracer of its own changes calls after a filter has seen them',
    text`
child = os.fork()
if child == 0: time.sleep(1); os._exit(0)
entry('ptrace', 0x4206, child, 0, 0)
os.kill(child, 9)`,
  ),
  python(
    'memory-read',
    'another’s memory without attaching',
    text`
class Vec(ctypes.Structure): _fields_ = [('base', ctypes.c_void_p), ('len', ctypes.c_size_t)]
buffer = ctypes.create_string_buffer(132 * 1024)
pid = bait['victim']
def look():
    for line in read('/proc/%d/maps' % pid, 10**6).decode().splitlines():
        if 'stack' not in line: continue
        a, b = [int(x, 16) for x in line.split()[0].split('-')]
        here, there = Vec(ctypes.addressof(buffer), min(b - a, len(buffer))), Vec(b - min(b - a, len(buffer)), min(b - a, len(buffer)))
        call('process_vm_readv', pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
        at = buffer.raw.find(b'canary-')
        if at >= 0: show(buffer.raw[at:at + 60])
tried(look)`,
  ),
  python(
    'memory-read-entry',
    'the entry point itself, asked of its own memory',
    text`
entry('process_vm_readv', os.getpid(), 0, 0, 0, 0, 0)`,
  ),
  python(
    'memory-written-entry',
    'the same for writing',
    `entry('process_vm_writev', os.getpid(), 0, 0, 0, 0, 0)`,
  ),
  python(
    'memory-advised',
    'another’s pages put out or merged',
    `entry('process_madvise', -1, 0, 0, 0, 0)`,
  ),
  python('memory-reaped', 'the memory of one that is ending', `entry('process_mrelease', -1, 0)`),
  python(
    'descriptors-fetched',
    'an open file taken from a stranger',
    text`
fd = call('pidfd_open', bait['victim'], 0)
if fd >= 0:
    got = call('pidfd_getfd', fd, 0, 0)
    if got >= 0: mark('fetched', got)`,
  ),
  python('descriptors-fetched-entry', 'the entry point itself', `entry('pidfd_getfd', -1, 0, 0)`),
  python(
    'compared',
    'whether two processes share a thing tells of the kernel’s addresses',
    text`
entry('kcmp', os.getpid(), os.getpid(), 0, 0, 0)`,
  ),
  python(
    'robust-list-of-others',
    'an address inside of a stranger',
    text`
head, size = ctypes.c_void_p(), ctypes.c_size_t()
if call('get_robust_list', bait['victim'], ctypes.byref(head), ctypes.byref(size)) == 0: mark('list', head.value)`,
  ),
  python(
    'pages-of-others-moved',
    'to another node, and where they are',
    text`
entry('move_pages', 0, 0, 0, 0, 0, 0)`,
  ),
  python('all-pages-moved', 'all of a process at once', `entry('migrate_pages', 0, 0, 0, 0)`),
  python(
    'dumpable-child',
    'a crash writes memory to a file',
    text`
import resource
def go(): resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20)); mark('core', 'allowed')
tried(go)`,
  ),
]
