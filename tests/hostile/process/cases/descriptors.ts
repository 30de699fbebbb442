import { casesOf, type ProcessCase } from '../case.ts'

const { node, python, sh } = casesOf('descriptors')
const text = String.raw

/** File descriptors: too many, and inherited ones left open by launchers. */
export const descriptors: readonly ProcessCase[] = [
  python(
    'inherited-any',
    'every number from 0 to 1023: what it is, and whether it leads out',
    text`
for fd in range(1024):
    try: where = os.readlink('/proc/self/fd/%d' % fd)
    except OSError:
        try: os.fstat(fd)
        except OSError: continue
        where = '?'
    print(fd, where)
    if where.startswith('/') and not where.startswith(('/dev/', '/proc', '/work', '/tmp', '/usr', os.getcwd())): mark('inherited', where)`,
  ),
  python(
    'inherited-folders',
    'a folder left open is a way around any root',
    text`
import stat
for fd in range(1024):
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode): continue
        show(read('/proc/self/fd/%d/..%s' % (fd, bait['openFile'])))
        for up in range(12):
            f = os.open('../' * up + bait['openFile'][1:], os.O_RDONLY, dir_fd=fd); show(os.read(f, 100)); mark('folder', fd)
    except OSError: pass`,
  ),
  python(
    'inherited-sockets-handed',
    'each socket that is open is asked to hand over what others sent into it',
    text`
for fd in range(3, 1024):
    try:
        s = socket.socket(fileno=os.dup(fd)); s.settimeout(0.05)
        data, fds, flags, who = socket.recv_fds(s, 4096, 8)
        for f in fds: mark('handed', f)
    except (OSError, ValueError): pass`,
  ),
  python(
    'inherited-of-parents',
    'what the processes above have open',
    text`
own = set()
for fd in os.listdir('/proc/self/fd'):
    try: own.add(os.readlink('/proc/self/fd/' + fd))
    except OSError: pass
for pid in [os.getppid(), 1] + [int(p) for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()][:200]:
    try:
        for fd in os.listdir('/proc/%d/fd' % pid):
            where = os.readlink('/proc/%d/fd/%s' % (pid, fd))
            if where in own or where.startswith('/dev/'): continue
            f = os.open('/proc/%d/fd/%s' % (pid, fd), os.O_RDWR | os.O_NONBLOCK); mark('opened', '%d %s' % (pid, fd)); break
    except OSError: pass`,
  ),
  python(
    'exhaust-open',
    'all that may be open, held',
    text`
held = []
try:
    while len(held) < 200000: held.append(os.open('/dev/null', os.O_RDONLY))
except OSError as e: print(e.errno)
print(len(held))
if len(held) > 60000: mark('descriptors', len(held))`,
  ),
  python(
    'exhaust-limit-raised',
    'the limit is raised first',
    text`
import resource
def up(): resource.setrlimit(resource.RLIMIT_NOFILE, (500000, 500000)); mark('limit', 'raised')
tried(up)`,
  ),
  python(
    'exhaust-in-flight',
    'descriptors that wait inside of sockets count for nobody',
    text`
sent = 0
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); a.setblocking(False)
try:
    while sent < 20000: socket.send_fds(a, [b'x'], [0] * 250); sent += 250
except OSError as e: print(e.errno)
if sent >= 20000: mark('in flight', sent)`,
  ),
  python(
    'exhaust-watches',
    'inotify watches and epoll sets are counted for a user',
    text`
made = 0
try:
    for i in range(3000): 
        fd = libc.inotify_init1(0)
        if fd < 0: break
        made += 1
        libc.inotify_add_watch(fd, b'/', 2)
except OSError: pass
if made >= 3000: mark('watches', made)`,
  ),
  sh(
    'exhaust-by-children',
    'every child opens as much as one may',
    text`
i=0; while [ $i -lt 20 ]; do i=$((i+1)); ( n=3; while [ $n -lt 10 ]; do eval "exec $n</dev/null"; n=$((n+1)); done; sleep 0.3 ) & done 2>/dev/null; wait; exit 0`,
  ),
  node(
    'inherited-by-number',
    'what answers to a write with the name of the run',
    text`
for (let fd = 3; fd < 256; fd++) { try { const s = fs.fstatSync(fd); if (s.isDirectory()) { show(fd); fs.readFileSync('/proc/self/fd/' + fd + bait.openFile).includes('canary') && mark('fd', fd) } } catch {} }`,
  ),
]
