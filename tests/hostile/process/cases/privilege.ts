import { casesOf, type ProcessCase } from '../case.ts'

const { node, python } = casesOf('privilege')
const text = String.raw

/** Privilege escalation. */
export const privilege: readonly ProcessCase[] = [
  python(
    'become-root',
    'every call that changes who one is',
    text`
was_root = 0 in os.getresuid()
for name, args in (('setuid', (0,)), ('setreuid', (0, 0)), ('setresuid', (0, 0, 0)), ('setfsuid', (0,))):
    call(name, *args)
    if 0 in os.getresuid() and not was_root or call('setfsuid', -1) == 0 and not was_root: mark(name)
tried(lambda: show(read(bait['rootFile'])))`,
  ),
  python(
    'become-another',
    'any other user',
    text`
for uid in (1, 1000, 52000, 52001, 52002):
    if uid != os.getuid() and call('setresuid', uid, uid, uid) == 0: mark('uid', uid); break`,
  ),
  python(
    'groups-changed',
    'groups open files too',
    text`
entry_ = call('setgroups', 1, ctypes.byref(ctypes.c_uint(0)))
if entry_ == 0: mark('setgroups')
if call('setresgid', 0, 0, 0) == 0 and os.getuid() != 0: mark('setresgid')`,
  ),
  python(
    'capabilities-held',
    'rights of root in parts',
    text`
for line in read('/proc/self/status').decode().splitlines():
    if line.startswith(('CapPrm', 'CapEff', 'CapInh', 'CapAmb')) and int(line.split()[1], 16): mark(line.split()[0], line.split()[1])`,
  ),
  python(
    'capabilities-bounded',
    'what a program with more rights could have',
    text`
for line in read('/proc/self/status').decode().splitlines():
    if line.startswith('CapBnd') and int(line.split()[1], 16): mark('CapBnd', line.split()[1])`,
  ),
  python(
    'capabilities-taken',
    'asked for by the call itself',
    text`
head = ctypes.create_string_buffer(struct.pack('Ii', 0x20080522, 0)); data = ctypes.create_string_buffer(struct.pack('6I', *[0xffffffff] * 6))
if call('capset', ctypes.addressof(head), ctypes.addressof(data)) == 0: mark('capset')
for c in range(41):
    if call('prctl', 47, 2, c, 0, 0) == 0: mark('ambient', c); break`,
  ),
  python(
    'new-privileges',
    'whether a program may be more than who starts it',
    text`
if call('prctl', 39, 0, 0, 0, 0) != 1: mark('no_new_privs', 'unset')`,
  ),
  python(
    'filter-there',
    'whether the kernel filters calls at all',
    text`
for line in read('/proc/self/status').decode().splitlines():
    if line.startswith('Seccomp:') and line.split()[1] == '0': mark('seccomp', 'none')`,
  ),
  python(
    'setuid-program-effective',
    'does one of them become root when started from here',
    text`
import subprocess, glob
for p in ('/usr/bin/passwd', '/usr/bin/su', '/usr/bin/chsh'):
    if not os.path.exists(p): continue
    try: kid = subprocess.Popen([p], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError: continue
    time.sleep(0.1)
    try:
        line = [l for l in read('/proc/%d/status' % kid.pid).decode().splitlines() if l.startswith('Uid:')][0].split()
        if os.getuid() != 0 and line[2] == '0': mark('setuid', p)
    except OSError: pass
    kid.kill()`,
  ),
  python(
    'make-a-setuid-file',
    'one of its own',
    text`
def go():
    with open('s', 'w') as f: f.write('#!/bin/sh\nid -u\n')
    os.chown('s', 0, 0); os.chmod('s', 0o4755); mark('owned by root')
if os.getuid() != 0: tried(go)`,
  ),
  python(
    'make-a-device',
    'a disk as a file of its own',
    text`
def go(): os.mknod('d', 0o666 | 0o060000, os.makedev(254, 0)); mark('device')
def other(): os.mknod('m', 0o666 | 0o020000, os.makedev(1, 1)); mark('memory')
tried(go, other)`,
  ),
  python(
    'change-files-of-the-system',
    'owner, mode and content of programs',
    text`
for p in ('/usr/bin/python3', '/bin/sh', '/etc/passwd', '/usr/lib', '/'):
    def go(): os.close(os.open(p, os.O_WRONLY)); mark('writable', p)
    def mode(): os.chmod(p, os.stat(p).st_mode & 0o7777); mark('chmod', p)
    if os.getuid() != 0: tried(go, mode)
    else: tried(go)`,
  ),
  python(
    'limits-raised',
    'hard limits are for good',
    text`
import resource
for name in ('CORE', 'MEMLOCK', 'RTPRIO', 'NICE', 'MSGQUEUE', 'SIGPENDING'):
    r = getattr(resource, 'RLIMIT_' + name)
    soft, hard = resource.getrlimit(r)
    if hard == resource.RLIM_INFINITY and name != 'SIGPENDING': mark('unlimited', name)
    def go(): resource.setrlimit(r, (soft, hard + 1)); mark('raised', name)
    if hard != resource.RLIM_INFINITY: tried(go)`,
  ),
  python(
    'terminal-input',
    'characters typed into the terminal of whoever started it',
    text`
import fcntl
for path in ('/dev/tty', '/dev/console', '/dev/pts/0'):
    def go():
        f = os.open(path, os.O_RDWR | os.O_NOCTTY); fcntl.ioctl(f, 0x5412, b'\n'); mark('typed', path)
    tried(go)
for fd in range(3):
    def go(): fcntl.ioctl(fd, 0x5412, b'\n'); mark('typed', fd)
    tried(go)`,
  ),
  python(
    'console-taken',
    'paste buffers and keyboards of consoles',
    text`
import fcntl
for fd in range(3):
    for request in (0x541C, 0x5413 + 0x1000, 0x4B4A):
        def go(): fcntl.ioctl(fd, request, b'\3'); mark('ioctl', hex(request))
        tried(go)`,
  ),
  python(
    'no-user-of-the-host',
    'a wall has a user of its own, who owns nothing',
    text`
owner = os.stat(bait['openFile']).st_uid if os.path.exists(bait['openFile']) else None
if owner is not None: mark('shares', owner)`,
  ),
  node(
    'identity-by-runtime',
    'the runtime’s own calls',
    text`
for (const set of ['setuid', 'seteuid', 'setgid', 'setegid']) if (process.getuid() !== 0) tried(() => { process[set](0); mark(set) })
tried(() => { process.initgroups('root', 0); mark('initgroups') })`,
  ),
]
