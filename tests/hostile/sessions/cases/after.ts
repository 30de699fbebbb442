import { sessionCasesOf, type SessionCase } from '../case.ts'

const { python, node, bash, sh } = sessionCasesOf('after')
const text = String.raw

/** Work that continues after the end of its exec. */
export const after: readonly SessionCase[] = [
  python('thread-that-burns', 'its CPU time would be charged to an idle exec, or to none', [
    text`
import threading, time
def burn():
    end = time.time() + 1
    while time.time() < end: pass
threading.Thread(target=burn, daemon=True).start()`,
  ]),
  python(
    'child-that-burns',
    'a child outside of the interpreter, whose CPU time no kernel reports',
    [
      text`
import os, time
if os.fork() == 0:
    end = time.time() + 1
    while time.time() < end: pass
    os._exit(0)`,
    ],
  ),
  python('double-fork', 'a daemon in a session of its own, which no process group reaches', [
    text`
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
    os._exit(0)
os.wait()`,
  ]),
  python(
    'subreaper',
    'orphans that come back to the interpreter, and not to the init of the wall',
    [
      text`
import ctypes, os, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
if os.fork() == 0:
    if os.fork() == 0: time.sleep(600)
    os._exit(0)`,
    ],
  ),
  python('atexit', 'code for the end of the interpreter, which comes after the last exec', [
    text`
import atexit, os, time
def late():
    os.write(1, b'late\n')
    time.sleep(600)
atexit.register(late)`,
  ]),
  python('event-loop-task', 'a task that goes on with the next await, in the exec after its own', [
    text`
import asyncio
async def late():
    for _ in range(50): await asyncio.sleep(0.01)
    raise SystemExit(9)
task = asyncio.ensure_future(late())
await asyncio.sleep(0)`,
  ]),
  python('alarm', 'SIGALRM in the middle of a later exec, whose handler raises there', [
    text`
import signal
def late(number, frame): raise RuntimeError('of an earlier exec')
signal.signal(signal.SIGALRM, late)
signal.setitimer(signal.ITIMER_REAL, 0.05)`,
    'import time\ntry: time.sleep(0.3)\nexcept RuntimeError: pass',
  ]),
  node('interval', 'a timer of an ended cell, which throws in a later one', [
    text`globalThis.beats = 0; setInterval(() => { if (++beats > 3 && beats < 9) throw new Error('of an earlier exec') }, 20)`,
    // Waits for the last error, not for a time: a busy event loop drops beats, and the errors would be printed later.
    {
      code: text`while (beats < 9) await new Promise((done) => setTimeout(done, 20))`,
      timeout: '20s',
    },
  ]),
  node(
    'microtasks-for-ever',
    'promises that starve the event loop, on which the next cell waits',
    [text`const spin = () => Promise.resolve().then(spin); setTimeout(spin, 1)`],
    { spares: 'session' },
  ),
  node('worker', 'a thread of its own, which no interrupt of the main thread ends', [
    text`
const { Worker } = require('node:worker_threads')
new Worker('setInterval(() => { const end = Date.now() + 40; while (Date.now() < end); }, 50)', { eval: true }).unref()`,
  ]),
  node('detached-child', 'a child in a session of its own that outlives its parent', [
    text`require('node:child_process').spawn('sleep', ['600'], { detached: true, stdio: 'ignore' }).unref()`,
  ]),
  bash('disowned-jobs', 'background jobs that the shell has forgotten', [
    '(setsid sh -c "trap \'\' HUP INT TERM; sleep 600" &)\nsleep 600 & disown -a',
  ]),
  bash('coprocess', 'a coprocess that reads what later cells write', [
    'coproc READER { while read -r line; do echo "$line"; done; }\necho stolen >&${READER[1]}',
  ]),
  sh('background-loop', 'a loop that goes on below the shell', ['while :; do sleep 0.1; done &']),
]
