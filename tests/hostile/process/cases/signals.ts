import { casesOf, type ProcessCase } from '../case.ts'

const { node, python, sh } = casesOf('signals')
const text = String.raw

/**
 * Attacks on other processes: kill, stop, renice. The victim is a host process; wider attacks use harmless
 * signals.
 */
export const signals: readonly ProcessCase[] = [
  sh('kill-a-stranger', 'by its number', `kill -9 "$VICTIM"; exit 0`),
  sh('stop-a-stranger', 'it stands still', `kill -STOP "$VICTIM"; exit 0`),
  python(
    'kill-by-group',
    'a whole group at once',
    `tried(lambda: os.killpg(bait['victim'], signal.SIGKILL), lambda: os.kill(bait['victim'], signal.SIGTERM))`,
  ),
  python(
    'kill-by-descriptor',
    'the newer call',
    text`
fd = call('pidfd_open', bait['victim'], 0)
if fd >= 0: call('pidfd_send_signal', fd, 9, 0, 0)`,
  ),
  python(
    'kill-by-thread',
    'calls meant for threads',
    text`
call('tkill', bait['victim'], 9); call('tgkill', bait['victim'], bait['victim'], 9)`,
  ),
  python(
    'queue-a-signal',
    'with a value, and a sender of choice',
    text`
info = ctypes.create_string_buffer(struct.pack('iii', 9, 0, -1) + b'\0' * 116)
call('rt_sigqueueinfo', bait['victim'], 9, ctypes.addressof(info))
call('rt_tgsigqueueinfo', bait['victim'], bait['victim'], 9, ctypes.addressof(info))`,
  ),
  python(
    'everybody-is-there',
    'whom a signal to all would reach: the server, or the victim',
    text`
for who in ('server', 'victim'):
    try: os.kill(bait[who], 0)
    except PermissionError: mark('sees', who)
    except OSError: pass
    else:
        if bait[who] != os.getpid() and bait[who] != os.getppid(): mark('may signal', who)`,
  ),
  python(
    'kill-everybody',
    'all that one may end, at once; where that is more than a wall’s own, it only counts them',
    text`
others = []
for p in os.listdir('/proc'):
    if p.isdigit() and int(p) not in (os.getpid(), 1):
        try: os.kill(int(p), 0); others.append(int(p))
        except OSError: pass
if bait['victim'] in others: mark('would end', len(others))
elif len(others) < 8: os.kill(-1, signal.SIGKILL)`,
  ),
  python(
    'kill-the-first',
    'the first process of the wall, so that the wall is over',
    text`
outside = os.getuid() == 0 and os.path.exists('/proc/%d' % bait['victim'])
for s in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGHUP):
    if not outside: tried(lambda: os.kill(1, s))
time.sleep(0.1); print('still here')`,
  ),
  python(
    'kill-the-parent',
    'whoever started it',
    text`
parent = os.getppid()
def reach(): os.kill(parent, 0); mark('parent', parent)
if parent > 1:
    if bait['server'] == parent: tried(reach)
    else: tried(lambda: os.kill(parent, signal.SIGSTOP), lambda: os.kill(parent, signal.SIGCONT))`,
  ),
  python(
    'limits-of-a-stranger',
    'no more files for it',
    text`
import resource
tried(lambda: resource.prlimit(bait['victim'], resource.RLIMIT_NOFILE, (10, 10)))`,
  ),
  python(
    'priority-of-a-stranger',
    'the last place for it',
    text`
tried(lambda: os.setpriority(os.PRIO_PROCESS, bait['victim'], 19))`,
  ),
  python(
    'scheduling-of-a-stranger',
    'it runs when nobody else does',
    text`
tried(lambda: os.sched_setscheduler(bait['victim'], os.SCHED_IDLE, os.sched_param(0)))`,
  ),
  python(
    'processors-of-a-stranger',
    'it runs on one of them alone',
    text`
tried(lambda: os.sched_setaffinity(bait['victim'], {0}))`,
  ),
  python(
    'disk-priority-of-a-stranger',
    'the last place at the disk',
    text`
if call('ioprio_set', 1, bait['victim'], 3 << 13) == 0: mark('ioprio')`,
  ),
  python(
    'group-of-a-stranger',
    'its autogroup shares what it gets',
    text`
def go():
    with open('/proc/%d/autogroup' % bait['victim'], 'w') as f: f.write('19')
    mark('autogroup')
tried(go)`,
  ),
  python(
    'signals-queued-full',
    'the places for waiting signals are counted for a user',
    text`
signal.pthread_sigmask(signal.SIG_BLOCK, [40])
n = 0
info = ctypes.create_string_buffer(struct.pack('iii', 40, 0, -1) + b'\0' * 116)
while n < 20000 and call('rt_sigqueueinfo', os.getpid(), 40, ctypes.addressof(info)) == 0: n += 1
print(n)`,
  ),
  node(
    'kill-by-runtime',
    'the runtime’s own call',
    `tried(() => process.kill(bait.victim, 'SIGKILL'), () => process.kill(-bait.victim, 'SIGKILL'))`,
  ),
  sh(
    'giant-arguments',
    'arguments and environment as long as the kernel takes',
    text`
x=$(head -c 100000 /dev/zero | tr '\0' a)
/bin/true $x $x $x $x $x $x $x $x $x $x $x $x $x $x $x $x 2>/dev/null
A=$x B=$x C=$x D=$x E=$x F=$x G=$x /bin/true 2>/dev/null; exit 0`,
  ),
  python(
    'giant-argument-of-all',
    'two megabytes, then a hundred',
    text`
import subprocess
for n in (2**21, 100 * 2**20): tried(lambda: subprocess.run(['/bin/true', 'a' * n], timeout=2))
for n in (15000, 200000): tried(lambda: subprocess.run(['/bin/true'] + ['a' * 100] * n, timeout=2))`,
  ),
]
