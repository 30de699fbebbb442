import { casesOf, type ProcessCase } from '../case.ts'

const { node, python } = casesOf('kernel')
const text = String.raw

/** A raw call with harmless arguments: the system call itself must be blocked. */
const shut = (name: string, because: string, args: string, call = name): ProcessCase =>
  python(`entry-${name}`, because, `entry('${call}'${args && `, ${args}`})`)

/** System calls that no program needs here, with a history of kernel vulnerabilities. */
export const kernel: readonly ProcessCase[] = [
  python(
    'watch-the-system',
    'a watch on a folder that all share tells what others run',
    text`
fd = libc.inotify_init1(0)
for folder in (b'/usr/bin', b'/usr/lib', b'/'):
    if fd >= 0 and libc.inotify_add_watch(fd, folder, 0x21) >= 0: mark('inotify', folder)
    held = os.open(folder, os.O_RDONLY)
    if call('fcntl', held, 1026, 0x80000001) >= 0: mark('dnotify', folder)`,
  ),
  python(
    'lease-a-file',
    'whoever opens it waits for as long as the kernel lets the holder of a lease wait: a minute',
    text`
with open('mine', 'w') as f: f.write('x')
entry('fcntl', os.open('mine', os.O_RDWR), 1024, 1)
entry('fcntl', os.open('mine', os.O_RDONLY), 1024, 0)`,
  ),
  shut('io_uring_setup', 'calls made by the kernel itself, past every filter', '8, 0'),
  shut('io_uring_enter', 'the same, on a ring from elsewhere', '-1, 1, 0, 0, 0, 0'),
  shut('io_uring_register', 'the same, to fix files and buffers', '-1, 0, 0, 0'),
  shut('bpf', 'programs inside of the kernel', '0, 0, 0'),
  shut('userfaultfd', 'the kernel is held in the middle of a copy', '0'),
  shut('userfaultfd-user-mode', 'the kind that anybody may have', '1', 'userfaultfd'),
  shut('perf_event_open', 'counters that leak, and a long list of holes', '0, 0, -1, -1, 0'),
  shut('keyctl', 'keys of the kernel outlive processes', '0, -3, 1, 0, 0'),
  shut('add_key', 'a key with a type that parses', '0, 0, 0, 0, -3'),
  shut('request_key', 'the kernel starts a helper as root', '0, 0, 0, -3'),
  shut('kexec_load', 'another kernel', '0, 0, 0, 0'),
  shut('kexec_file_load', 'another kernel, from a file', '-1, -1, 0, 0, 0'),
  shut('init_module', 'code into the kernel', '0, 0, 0'),
  shut('finit_module', 'code into the kernel, from a file', '-1, 0, 0'),
  shut('delete_module', 'code out of the kernel', '0, 0'),
  shut('personality', 'addresses that are not random', '0x0040000'),
  shut('memfd_secret', 'memory that no watch can look into', '0'),
  shut('open_by_handle_at', 'a file by its number, past every folder', '-1, 0, 0'),
  shut('name_to_handle_at', 'the number of a file', '-100, 0, 0, 0, 0'),
  shut('fanotify_init', 'every open of everybody, seen', '0, 0'),
  shut('quotactl', 'limits of disks', '0, 0, 0, 0'),
  shut('swapon', 'where pages are put out to', '0, 0'),
  shut('acct', 'a record of all processes into a file', '0'),
  shut('iopl', 'ports of the machine', '3'),
  shut('ioperm', 'ports of the machine, one by one', '0, 1, 1'),
  shut('modify_ldt', 'segments of old; a long list of holes', '0, 0, 0'),
  shut('settimeofday', 'the clock of everybody', '0, 0'),
  shut('clock_settime', 'the clock of everybody', '0, 0'),
  shut('lookup_dcookie', 'a profiler’s way to paths', '0, 0, 0'),
  shut('mbind', 'where pages lie in the machine', '0, 0, 0, 0, 0, 0'),
  shut('set_mempolicy', 'where all pages lie', '9, 0, 0'),
  shut('remap_file_pages', 'a call that is emulated, and was wrong', '0, 0, 0, 0, 0'),
  shut('vmsplice', 'pages given to a pipe: Dirty Pipe and others', '-1, 0, 0, 0'),
  shut('ustat', 'superblocks by number', '0, 0'),
  shut('uselib', 'loads libraries the way of 1992', '0'),
  shut('vhangup', 'ends terminals', ''),
  shut('nfsservctl', 'a server inside of the kernel', '0, 0, 0'),
  shut('_sysctl', 'kernel settings by number', '0'),
  shut('io_setup', 'asynchronous files of old', '0, 0'),
  python(
    'memory-file-executed',
    'a program that never was a file',
    text`
fd = call('memfd_create', b'm', 0)
os.write(fd, b"#!/bin/sh\nprintf 'ESC''APED:memfd'\n")
child = os.fork()
if child == 0:
    try: os.execve('/proc/self/fd/%d' % fd, ['m'], {})
    finally: os._exit(9)
os.waitpid(child, 0)`,
  ),
  python(
    'thirty-two-bit-calls',
    'the other table of calls, where numbers mean others',
    text`
import mmap, platform
if platform.machine() == 'x86_64':
    child = os.fork()
    if child == 0:
        try:
            m = mmap.mmap(-1, 4096, prot=7)
            # save rbx; getpid of the 32-bit table by its own gate; back
            m.write(b'\x53\xb8\x14\x00\x00\x00\xcd\x80\x5b\xc3')
            f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))
            if f() == os.getpid(): mark('int80', 'getpid')
        finally: os._exit(0)
    os.waitpid(child, 0)`,
  ),
  python(
    'x32-calls',
    'numbers with a bit more slip past lists',
    text`
answer = raw(0x40000000 + 39)
if answer > 0: mark('x32', answer)`,
  ),
  python(
    'numbers-beyond',
    'calls that this list does not know yet',
    text`
harmless = (452, 462) # fchmodat2, mseal
for number in range(451, 600):
    if number in harmless: continue
    answer = raw(number, -1, 0, 0, 0, 0, 0)
    if answer not in (-errno.ENOSYS, -errno.EPERM, -errno.EACCES): mark('number', '%d %d' % (number, answer)); break`,
  ),
  python(
    'filter-installed',
    'a filter of its own that allows everything must not loosen',
    text`
class F(ctypes.Structure): _fields_ = [('code', ctypes.c_ushort), ('jt', ctypes.c_ubyte), ('jf', ctypes.c_ubyte), ('k', ctypes.c_uint)]
class P(ctypes.Structure): _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.POINTER(F))]
f = F(6, 0, 0, 0x7fff0000)
call('prctl', 38, 1, 0, 0, 0)
print(call('seccomp', 1, 0, ctypes.byref(P(1, ctypes.pointer(f)))))
entry('bpf', 0, 0, 0); entry('io_uring_setup', 8, 0)`,
  ),
  python(
    'by-a-new-thread',
    'a filter must be on every thread',
    text`
t = threading.Thread(target=lambda: [entry('io_uring_setup', 8, 0), entry('keyctl', 0, -3, 1, 0, 0), entry('ptrace', 0, 0, 0, 0)])
t.start(); t.join()`,
  ),
  python(
    'by-a-new-program',
    'a filter must live through exec',
    text`
import subprocess
code = "import ctypes; l = ctypes.CDLL(None, use_errno=True); l.syscall.restype = ctypes.c_long; r = l.syscall(%d, 8, 0); e = ctypes.get_errno(); print('ESC' 'APED:exec:%%d' %% e if e not in (1, 38, 13) else e)" % numbers['io_uring_setup']
tried(lambda: show(subprocess.run([sys.executable or '/usr/bin/python3', '-c', code], capture_output=True, timeout=4).stdout))`,
  ),
  node(
    'by-ffi',
    'raw calls out of JavaScript',
    text`
tried(() => {
  const ffi = require('node:ffi')
  const { functions } = ffi.dlopen(null, { syscall: { arguments: ['i64', 'i64', 'i64', 'i64'], return: 'i64' }, __errno_location: { arguments: [], return: 'pointer' } })
  for (const name of ['io_uring_setup', 'keyctl', 'bpf', 'ptrace', 'unshare', 'userfaultfd']) {
    const answer = functions.syscall(BigInt(numbers[name]), 0n, 0n, 0n)
    const error = ffi.getInt32(functions.__errno_location(), 0)
    if (answer >= 0n || ![1, 13, 38].includes(error)) mark(name, error)
  }
})`,
  ),
]
