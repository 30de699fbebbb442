import { sessionCasesOf, type SessionCase } from '../case.ts'

const { python, node, bash } = sessionCasesOf('rights')
const text = String.raw

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
    ],
  ),
  python(
    'descriptor-before-tightening',
    'an open file, kept from before writing was closed',
    [
      'kept = open("kept.txt", "w")\nkept.write("before")\nkept.flush()',
      { owner: (box) => box.tighten({ files: { read: ['/'], write: [] } }).catch(() => undefined) },
      'try: kept.write("after"); kept.flush()\nexcept OSError: pass',
    ],
    { spares: 'session' },
  ),
  python(
    'socket-before-tightening',
    'a socket of its own, kept from before the network was closed',
    [
      text`
import socket
kept = socket.socket(); kept.setblocking(False)
try: kept.connect(('10.0.0.1', 80))
except OSError: pass`,
      { owner: (box) => box.tighten({ network: 'none' }).catch(() => undefined) },
      text`
try: kept.connect(('10.0.0.1', 80)); kept.send(b'after')
except OSError: pass`,
    ],
  ),
  python(
    'timer-after-a-phase',
    'a timer that fires when its phase has closed',
    [
      text`
import threading, socket
seen = []
def late():
    try: socket.create_connection(('10.0.0.1', 80), 0.2); seen.append('open')
    except OSError as error: seen.append('closed')
timer = threading.Timer(1.2, late)
timer.start()`,
      { code: 'timer.join()\nassert seen == ["closed"], seen', timeout: '10s' },
    ],
    { schedule: 'losing' },
  ),
  python('frozen-between', 'work that would go on while its session stands still', [
    text`
import threading, time
beats = 0
def beat():
    global beats
    for _ in range(200): time.sleep(0.01); beats += 1
threading.Thread(target=beat, daemon=True).start()`,
    { owner: (box) => box.freeze() },
    { owner: (box) => box.thaw() },
  ]),
  node('tightened-under-a-timer', 'a timer of Node that fires when its right is gone', [
    text`setTimeout(() => { try { require('node:child_process').spawn('sleep', ['600']).on('error', () => undefined) } catch {} }, 100); undefined`,
    { owner: (box) => box.tighten({ processes: 30 }) },
    'await new Promise((done) => setTimeout(done, 200))',
  ]),
  bash('captured-between', 'a capture between two execs, which must let them go on', [
    'secret=before',
    { owner: (box) => box.capture().catch(() => undefined) },
  ]),
]
