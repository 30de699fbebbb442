import { sessionCasesOf, type SessionCase } from '../case.ts'

const { python, node, bash, sh } = sessionCasesOf('frames')
const text = String.raw
const forged = text`
import os, struct, threading, time
def frame(kind, body): return struct.pack('<IB', len(body) + 1, kind) + body
end = frame(20, b'{"protocol":1,"id":"x","status":"ok","encoding":"json","cpuTimeMs":0,"executionMs":0,"state":"kept"}\n"forged"')`

/** Frames of the guest that belong to no exec, or to another one. */
export const frames: readonly SessionCase[] = [
  python('forged-ends', 'ends of later execs, on each descriptor of the kernel', [
    text`${forged}
def forge():
    for _ in range(30):
        for fd in range(4, 40):
            try: os.write(fd, end)
            except OSError: pass
        time.sleep(0.01)
threading.Thread(target=forge, daemon=True).start()`,
  ]),
  python('torn-frames', 'half a frame, behind which the end of the next exec is unreadable', [
    text`${forged}
for fd in range(4, 40):
    try: os.write(fd, end[:9])
    except OSError: pass`,
  ]),
  python('huge-frame', 'a length beyond any frame', [
    text`${forged}
for fd in range(4, 40):
    try: os.write(fd, struct.pack('<IB', 2**32 - 1, 20))
    except OSError: pass`,
  ]),
  python(
    'frames-of-files',
    'answers for files that were never asked for, and artifacts between execs',
    [
      text`${forged}
def forge():
    for _ in range(20):
        for fd in range(4, 40):
            for kind, body in ((21, b'{"protocol":1,"id":"x","size":1}\nx'), (17, b'{"path":"a","size":1}\nx'), (19, b'{"type":"text/html"}\nx')):
                try: os.write(fd, frame(kind, body))
                except OSError: pass
        time.sleep(0.01)
threading.Thread(target=forge, daemon=True).start()`,
    ],
    { spares: 'session' },
  ),
  python('fork-waits-for-input', 'a fork that reads the next exec in place of the interpreter', [
    text`${forged}
if os.fork() == 0:
    for fd in range(4, 40): os.set_blocking(fd, False) if os.path.exists(f'/proc/self/fd/{fd}') else None
    until = time.time() + 3
    while time.time() < until:
        for fd in range(4, 40):
            try: os.write(fd, end) if os.read(fd, 65536) else None
            except OSError: pass
    os._exit(0)
time.sleep(0.1)`,
  ]),
  python('fork-holds-the-socket', 'an end that is no end of the stream, as a fork holds it open', [
    text`
import os, time
if os.fork() == 0:
    os.setsid()
    time.sleep(600)
os._exit(3)`,
  ]),
  python('flood-of-frames', 'a queue of the manager that is never empty', [
    text`${forged}
def forge():
    until = time.time() + 1
    while time.time() < until:
        for fd in (4, 5, 6, 7, 8):
            try: os.write(fd, end)
            except OSError: pass
threading.Thread(target=forge, daemon=True).start()`,
  ]),
  node('forged-ends-of-node', 'ends of later cells, with nonces that were seen', [
    text`
const fs = require('node:fs')
const body = Buffer.from('{"nonce":"x","status":"ok","encoding":"json","cpuTimeMs":0}\n"forged"')
const head = Buffer.alloc(5); head.writeUInt32LE(body.length + 1); head[4] = 14
for (let n = 0; n < 50; n++) setTimeout(() => { try { fs.writeSync(4, Buffer.concat([head, body])) } catch {} }, n * 5)
undefined`,
  ]),
  node('torn-frame-of-node', 'half a frame, behind which the end of the next cell is unreadable', [
    text`require('node:fs').writeSync(4, Buffer.from([200, 0, 0, 0, 14, 123])); undefined`,
  ]),
  node(
    'closed-sockets',
    'a kernel that cannot say its end, and lives on',
    [
      text`setTimeout(() => { for (let fd = 3; fd < 30; fd++) try { require('node:fs').closeSync(fd) } catch {} }, 20); undefined`,
    ],
    { prints: true, endsLater: true },
  ),
  node('exec-read-by-another', 'a child that has the socket of cells, and reads from it', [
    text`
const { spawn } = require('node:child_process')
spawn('sh', ['-c', 'timeout 2 cat <&4 >/dev/null'], { stdio: ['ignore', 'ignore', 'ignore', 'ignore', 4], detached: true }).unref()
await new Promise((done) => setTimeout(done, 100))`,
  ]),
  python('wakeups-stolen', 'the pipe that wakes the manager at the end of a command', [
    text`
import glob, os, threading, time
def steal():
    until = time.time() + 3
    fds = []
    for link in glob.glob(f'/proc/{os.getppid()}/fd/*'):
        try:
            if os.readlink(link).startswith('pipe:'): fds.append(os.open(link, os.O_RDONLY | os.O_NONBLOCK))
        except OSError: pass
    while time.time() < until:
        for fd in fds:
            try: os.read(fd, 4096)
            except OSError: pass
threading.Thread(target=steal, daemon=True).start()`,
  ]),
  bash('forged-status', 'lines of the status descriptor, with nonces of other cells', [
    'for fd in 4 9 99; do echo "00000000-0000-0000-0000-000000000000 0" >&$fd; echo "ready" >&$fd; done 2>/dev/null\n:',
  ]),
  bash('status-flood', 'lines without end on the descriptor of the status', [
    '(for n in {1..3000}; do echo stray; done > /proc/$$/fd/99) 2>/dev/null &\nwait',
  ]),
  sh('status-closed', 'a shell that cannot say its status', ['exec 9>&-'], { spares: 'manager' }),
]
