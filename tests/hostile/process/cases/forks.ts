import { casesOf, type ProcessCase } from '../case.ts'

const { node, python, sh } = casesOf('forks')
const over = { over: 'processes' } as const
const text = String.raw

/** Processes beyond the limit. Each bomb stops at a few hundred, and ends after some seconds. */
export const forks: readonly ProcessCase[] = [
  python(
    'fork-wide',
    'one parent, many children',
    text`
kids = 0
for i in range(250):
    try:
        if os.fork() == 0:
            signal.alarm(3); time.sleep(2); os._exit(0)
        kids += 1
    except OSError as e: print('stopped at', kids, e.errno); break
time.sleep(0.3)`,
    over,
  ),
  python(
    'fork-deep',
    'each child makes the next, so that none has many',
    text`
for i in range(250):
    try: child = os.fork()
    except OSError as e: print('stopped at', i); break
    if child: signal.alarm(3); time.sleep(0.8); os._exit(0)`,
    over,
  ),
  python(
    'fork-doubling',
    'the classic: everybody forks',
    text`
for i in range(8):
    try: os.fork()
    except OSError: pass
signal.alarm(3); time.sleep(0.8); os._exit(0)`,
    over,
  ),
  python(
    'fork-raw',
    'the call itself, past what libc knows of it',
    text`
for i in range(250):
    answer = call('fork')
    if answer == 0: signal.alarm(3); time.sleep(0.8); os._exit(0)
    if answer < 0: print('stopped at', i, answer); break
time.sleep(0.3)`,
    over,
  ),
  python(
    'fork-double-orphans',
    'grandchildren whose parents are gone are counted to nobody',
    text`
for i in range(200):
    try: child = os.fork()
    except OSError: break
    if child == 0:
        try:
            if os.fork() == 0: signal.alarm(3); time.sleep(1); os._exit(0)
        finally: os._exit(0)
    os.waitpid(child, 0)
time.sleep(0.2)`,
    over,
  ),
  python(
    'fork-sessions',
    'a session of its own for each, so that no group signal finds it',
    text`
for i in range(200):
    try: child = os.fork()
    except OSError: break
    if child == 0: os.setsid(); signal.alarm(3); time.sleep(1); os._exit(0)
time.sleep(0.2)`,
    over,
  ),
  python(
    'threads',
    'threads are tasks of the kernel like processes',
    text`
made = 0
def wait(): time.sleep(1)
threading.stack_size(65536)
for i in range(300):
    try: threading.Thread(target=wait, daemon=True).start(); made += 1
    except RuntimeError: break
print('threads', made)
sys.stdout.flush(); time.sleep(0.2); os._exit(0)`,
  ),
  python(
    'vfork-storm',
    'as vfork suspends its parent, storms of it are made by threads',
    text`
import subprocess
def storm():
    for i in range(40):
        try: subprocess.Popen(['/bin/sleep', '1'])
        except OSError: return
for i in range(5):
    try: threading.Thread(target=storm).start()
    except RuntimeError: break
time.sleep(0.4); os._exit(0)`,
    over,
  ),
  sh(
    'exec-storm',
    'one process that becomes the next program again and again',
    text`
S='[ "$N" -ge 300 ] && exit 0; N=$((N+1)) exec /bin/sh -c "$S"'
export S; N=0 exec /bin/sh -c "$S"`,
  ),
  python(
    'zombies',
    'ended children that nobody waits for keep their place',
    text`
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
for i in range(250):
    try:
        if os.fork() == 0: os._exit(0)
    except OSError as e: print('stopped at', i); break
time.sleep(0.2)`,
    over,
  ),
  sh(
    'background-jobs',
    'the shell’s own way',
    text`
i=0
while [ $i -lt 150 ]; do i=$((i+1)); sleep 1 & done 2>/dev/null
sleep 0.2; exit 0`,
    over,
  ),
  sh(
    'pipelines',
    'one line, a hundred processes',
    text`
line='sleep 1'; i=0
while [ $i -lt 120 ]; do i=$((i+1)); line="$line | sleep 1"; done
eval "$line" 2>/dev/null & sleep 0.4; exit 0`,
    over,
  ),
  node(
    'spawn-many',
    'children of a program with an event loop',
    text`
const { spawn } = require('node:child_process')
for (let i = 0; i < 150; i++) { try { spawn('/bin/sleep', ['1'], { stdio: 'ignore' }).on('error', () => {}) } catch {} }
setTimeout(() => process.exit(0), 400)`,
    over,
  ),
  node(
    'workers',
    'each worker brings threads and a heap',
    text`
const { Worker } = require('node:worker_threads')
for (let i = 0; i < 20; i++) { try { new Worker('setTimeout(() => {}, 600)', { eval: true }).on('error', () => {}) } catch {} }
setTimeout(() => process.exit(0), 900)`,
    // V8 aborts the runner itself when the address space is exhausted.
    { expect: ['ok', 'error', 'limit', 'timeout', 'failed'] },
  ),
]
