import { setTimeout as sleep } from 'node:timers/promises'
import { MayflyError, messageOf } from '../../../../src/contract/error.ts'
import type { Box } from '../../../../src/sdk/box.ts'
import { sessionCasesOf, type SessionCase } from '../case.ts'

const { python, node, bash } = sessionCasesOf('rights')
const text = String.raw
/** Longer than a thread that sleeps 10 ms at a time is kept waiting. */
const FROZEN_MS = 600

/** Attempts to keep rights of an earlier phase for a later exec. */
export const rights: readonly SessionCase[] = [
  python(
    'memory-before-tightening',
    'memory that was taken before its bound was lowered',
    [
      'held = bytearray(40_000_000)',
      { owner: (box) => box.tighten({ memory: '24MB' }).catch(() => undefined) },
    ],
    { spares: 'session' },
  ),
  python(
    'processes-before-tightening',
    'processes that were started before their bound was lowered',
    [
      text`
import subprocess
kept = [subprocess.Popen(['sleep', '600']) for _ in range(8)]`,
      { owner: (box) => box.tighten({ processes: 24 }) },
      text`
later = []
try:
    for _ in range(30): later.append(subprocess.Popen(['sleep', '600']))
except OSError: pass
running = sum(one.poll() is None for one in kept + later)
for one in later: one.kill(); one.wait()
if running >= 28: print('ESC' + 'APED:processes', running)`,
    ],
    { without: ['gvisor'] },
  ),
  python(
    'descriptor-before-tightening',
    'an open file, kept from before writing was closed',
    [
      'import os\nkept = open("kept.txt", "w")\nkept.write("before")\nkept.flush()\nplace = os.open(".", os.O_RDONLY)',
      { owner: (box) => box.tighten({ syscalls: ['exec', 'process', 'network', 'outside'] }) },
      text`
def late(): open('late.txt', 'w').close()
def below(): os.open('late.txt', os.O_WRONLY | os.O_CREAT, dir_fd=place)
def again(): os.open(f'/proc/self/fd/{kept.fileno()}', os.O_WRONLY)
def cut(): os.ftruncate(kept.fileno(), 0)
def link(): os.link('kept.txt', 'late.txt')
for act in (late, below, again, cut, link):
    try: act(); print('ESC' + 'APED:wrote', act.__name__)
    except OSError: pass`,
    ],
    { spares: 'session', schedule: 'writing', without: ['gvisor'] },
  ),
  python(
    'socket-before-tightening',
    'sockets of its own, kept from before the network was closed',
    [
      text`
import socket
server = socket.socket(); server.bind(('127.0.0.1', 0)); server.listen()
kept = [socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]
socket.create_connection(server.getsockname()).close()`,
      { owner: (box) => box.tighten({ syscalls: ['exec', 'process', 'write', 'outside'] }) },
      text`
if 'kept' not in globals(): print('ESC' + 'APED:without a socket')
for one in kept:
    try: one.connect(server.getsockname()); print('ESC' + 'APED:connected', one.type)
    except OSError: pass
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    try: socket.socket(socket.AF_INET, kind); print('ESC' + 'APED:made', kind)
    except OSError: pass`,
    ],
    { schedule: 'writing', without: ['gvisor'] },
  ),
  python(
    'timer-after-a-phase',
    'a timer that fires when its phase has closed',
    [
      text`
import threading, socket
seen = []
def late():
    try: socket.socket().close(); seen.append('open')
    except OSError as error: seen.append('closed')
timer = threading.Timer(1.2, late)
timer.start()`,
      {
        code: text`timer.join()
if seen != ['closed']: print('ESC' + 'APED:late', seen)`,
        timeout: '10s',
      },
    ],
    { schedule: 'losing', without: ['gvisor'] },
  ),
  python('frozen-between', 'work that would go on while its session stands still', [
    text`
import threading, time
gap, goes_on = 0, True
def beat():
    global gap
    last = time.monotonic()
    while goes_on:
        time.sleep(0.01)
        now = time.monotonic(); gap = max(gap, now - last); last = now
threading.Thread(target=beat, daemon=True).start()`,
    {
      async owner(box) {
        if (!(await isFrozen(box))) return
        await sleep(FROZEN_MS)
        await thaw(box)
      },
    },
    text`
goes_on = False
if gap < 0.4: print('ESC' + 'APED:beats', gap)`,
  ]),
  node(
    'tightened-under-a-timer',
    'a timer of Node that fires when its right is gone',
    [
      text`
let isClosed = false
const fs = require('node:fs')
const fired = new Promise((done) => {
  const timer = setInterval(() => {
    if (!isClosed) return fs.writeFileSync('early.txt', '')
    clearInterval(timer)
    try { fs.writeFileSync('late.txt', ''); done('ESC' + 'APED:late') } catch ({ code }) { done(code) }
  }, 20)
})
await new Promise((done) => setTimeout(done, 100))`,
      { owner: (box) => box.tighten({ syscalls: ['exec', 'process', 'network', 'outside'] }) },
      text`
isClosed = true
console.log(fs.existsSync('early.txt') ? await fired : 'ESC' + 'APED:without a timer')`,
    ],
    { spares: 'session', schedule: 'writing', without: ['gvisor'] },
  ),
  bash('captured-between', 'a capture between two execs, which must let them go on', [
    'secret=before',
    { owner: (box) => box.capture().catch(() => undefined) },
  ]),
]

/** Freezes; false where the wall was late, as on a busy machine, so that the session was ended and its next exec says so. */
async function isFrozen(box: Box): Promise<boolean> {
  try {
    await box.freeze()
    return true
  } catch (thrown) {
    if (thrown instanceof MayflyError && thrown.detail === 'the wall is late') return false
    throw thrown
  }
}

/** Thaws again where only the answer of the wall was late, as on a busy machine. */
async function thaw(box: Box): Promise<void> {
  try {
    await box.thaw()
  } catch (thrown) {
    if (!messageOf(thrown).includes('the wall is late')) throw thrown
    await box.thaw()
  }
}
