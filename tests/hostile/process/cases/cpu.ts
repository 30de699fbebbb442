import { casesOf, type ProcessCase } from '../case.ts'

const { node, python, sh } = casesOf('cpu')
const over = { over: 'cpu' } as const
const text = String.raw

/**
 * CPU time beyond the limit: more processors, longer than allowed, after the end. All end by themselves in
 * seconds.
 */
export const cpu: readonly ProcessCase[] = [
  python(
    'burn-in-children',
    'as many burners as there is room for',
    text`
for i in range(4):
    if os.fork() == 0:
        end = time.time() + 1.5
        while time.time() < end: pass
        os._exit(0)
time.sleep(1.6)`,
    over,
  ),
  python(
    'burn-after-the-end',
    'a child goes on when its parent has ended',
    text`
if os.fork() == 0:
    os.setsid()
    for fd in range(3): os.close(fd)
    end = time.time() + 5
    while time.time() < end: pass
    os._exit(0)`,
  ),
  python(
    'burn-daemonised',
    'twice forked, in a session of its own, with no stream left',
    text`
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 1024)
        end = time.time() + 5
        while time.time() < end: pass
    os._exit(0)`,
  ),
  python(
    'burn-ignoring-ends',
    'every signal that may be ignored is',
    text`
for s in range(1, 65):
    try: signal.signal(s, signal.SIG_IGN)
    except (OSError, ValueError): pass
end = time.time() + 6
while time.time() < end: pass`,
    { expect: ['timeout', 'limit'] },
  ),
  python(
    'burn-child-ignoring-ends',
    'its child ignores them too',
    text`
if os.fork() == 0:
    for s in range(1, 65):
        try: signal.signal(s, signal.SIG_IGN)
        except (OSError, ValueError): pass
    os.closerange(0, 3)
    end = time.time() + 5
    while time.time() < end: pass
    os._exit(0)`,
  ),
  python(
    'stopped-children',
    'children that stand still, continued later by one that waits',
    text`
kids = []
for i in range(3):
    child = os.fork()
    if child == 0:
        os.closerange(0, 3); end = time.time() + 6
        while time.time() < end: pass
        os._exit(0)
    os.kill(child, signal.SIGSTOP); kids.append(child)
if os.fork() == 0:
    os.closerange(0, 3); os.setsid(); time.sleep(0.4)
    for k in kids: os.kill(k, signal.SIGCONT)
    os._exit(0)`,
  ),
  python(
    'stopped-itself',
    'the program stands still, so that it never ends',
    `os.kill(os.getpid(), signal.SIGSTOP)`,
    {
      // If the CPU limit is a duty cycle, it continues, as in the other cases.
      expect: ['ok', 'timeout', 'error', 'limit'],
    },
  ),
  python(
    'threads-of-native-work',
    'work that lets go of the interpreter’s lock',
    text`
import hashlib
def work():
    end = time.time() + 1.5
    while time.time() < end: hashlib.pbkdf2_hmac('sha256', b'a', b'b', 20000)
ts = [threading.Thread(target=work) for i in range(4)]
[t.start() for t in ts]; [t.join() for t in ts]`,
    over,
  ),
  python(
    'priority-raised',
    'a better place than others, by every call there is',
    text`
for how in (lambda: os.nice(-5), lambda: os.setpriority(os.PRIO_PROCESS, 0, -5), lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10)), lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))):
    def go(): how(); mark('priority', os.getpriority(os.PRIO_PROCESS, 0))
    tried(go)`,
  ),
  python(
    'timer-storm',
    'signals by the thousand from its own timers',
    text`
signal.signal(signal.SIGALRM, lambda *a: None)
signal.setitimer(signal.ITIMER_REAL, 0.00001, 0.00001)
end = time.time() + 1
while time.time() < end: pass`,
  ),
  sh('loop-for-ever', 'the simplest', `while :; do :; done`, { expect: ['timeout', 'limit'] }),
  sh(
    'yes-to-nothing',
    'a tool that burns into nothing',
    `timeout 1 yes >/dev/null & timeout 1 yes >/dev/null & timeout 1 yes >/dev/null & wait; exit 0`,
    over,
  ),
  sh('sleep-for-ever', 'it waits and never ends', `sleep 6 & wait; sleep 6`, {
    expect: ['timeout'],
  }),
  node('never-ends', 'an event loop with a thing to wait for', `setInterval(() => {}, 1000)`, {
    expect: ['timeout'],
  }),
  node(
    'workers-burn',
    'threads burn beside each other',
    text`
const { Worker } = require('node:worker_threads')
for (let i = 0; i < 4; i++) new Worker('const e = Date.now() + 1400; while (Date.now() < e);', { eval: true }).on('error', () => {})
setTimeout(() => process.exit(0), 1500)`,
    over,
  ),
  node(
    'detached-burner',
    'a child that is let go',
    text`
const { spawn } = require('node:child_process')
try { spawn('/bin/sh', ['-c', 'i=0; while [ $i -lt 30000000 ]; do i=$((i+1)); done; : ' + bait.name], { detached: true, stdio: 'ignore' }).on('error', () => {}).unref() } catch {}
setTimeout(() => process.exit(0), 100)`,
  ),
]
