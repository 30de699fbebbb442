import { setTimeout as sleep } from 'node:timers/promises'
import type { Box } from '../../../../src/sdk/box.ts'
import { sessionCasesOf, type SessionCase } from '../case.ts'

const { python, node, bash, sh } = sessionCasesOf('streams')
const text = String.raw

/** Output that would be attributed to another exec. */
export const streams: readonly SessionCase[] = [
  python('printed-between', 'output between two execs, before the next begins', [
    text`
import threading, time
def late():
    time.sleep(0.2)
    print('stolen', flush=True)
    open('printed', 'w').close()
threading.Thread(target=late).start()`,
    { owner: (box) => until(box, 'printed') },
  ]),
  python('buffered-output', 'text in a buffer, which the next flush would print', [
    text`
import sys
sys.stdout.reconfigure(line_buffering=False, write_through=False)
sys.stdout.buffer.write(b'mine\n')`,
  ]),
  python('flood-between', 'more output between two execs than the server keeps', [
    text`
import os, threading
def flood():
    for _ in range(160): os.write(1, b'x' * 65536)
    open('printed', 'w').close()
threading.Thread(target=flood).start()`,
    { owner: (box) => until(box, 'printed') },
  ]),
  python('half-a-character', 'bytes that are no text until the next exec completes them', [
    text`
import os
os.write(1, b'\xe2\x82')`,
  ]),
  python('escape-sequences', 'sequences that move the cursor of who reads the next output', [
    text`
import os
os.write(1, b'\x1b[2J\x1b]0;owned\x07\x1b[8m')`,
  ]),
  python('duplicated-descriptors', 'copies of the streams in a process that nothing ends', [
    text`
import os, time
if os.fork() == 0:
    os.setsid(); one, two = os.dup(1), os.dup(2)
    time.sleep(600)`,
  ]),
  python(
    'slow-writer',
    'a stream that is never quiet, so that its end is never certain',
    [
      text`
import os, threading, time
def drip():
    until = time.time() + 3
    while time.time() < until:
        os.write(1, b'.'); time.sleep(0.005)
threading.Thread(target=drip, daemon=True).start()`,
    ],
    { prints: true },
  ),
  python('nonblocking-stdout', 'a stream that refuses what a later exec prints', [
    text`
import os
os.set_blocking(1, False); os.set_blocking(2, False)`,
  ]),
  node('printed-by-timers', 'output of a timer, just behind the end of its cell', [
    text`setTimeout(() => { console.log('stolen'); require('node:fs').writeFileSync('printed', '') }, 100); undefined`,
    { owner: (box) => until(box, 'printed') },
  ]),
  node(
    'stdout-destroyed',
    'a stream that later cells cannot write to',
    [text`process.stdout.destroy(); process.stderr.destroy(); undefined`],
    {
      honest:
        'require("node:fs").writeSync(1, `own ${input}\\n`); [globalThis.ownMark ?? null, 6 * 7]',
    },
  ),
  bash('closed-stdout', 'a shell without output', ['exec >&- 2>&-'], { spares: 'manager' }),
  bash('redirected-stdout', 'a shell whose output goes to a file', ['exec > kept.txt 2>&1'], {
    spares: 'manager',
  }),
  bash('full-pipe', 'a pipe that nothing empties, in place of the output', [
    { code: 'mkfifo pipe\nexec 7<>pipe\n(yes >&7) 2>/dev/null &\n:', timeout: '5s' },
  ]),
  sh(
    'spoofed-output',
    'lines that look like those of a later exec',
    ['(n=0; while [ $n -lt 40 ]; do echo "own spoofed"; sleep 0.05; n=$((n + 1)); done) &'],
    { prints: true },
  ),
]

/** Waits for a file that the program makes once it has printed; its output was written before. */
async function until(box: Box, path: string): Promise<void> {
  for (let tries = 0; tries < 1000; tries++) {
    if ((await box.files.list()).some((one) => one.path === path)) return
    await sleep(20)
  }
  throw new Error(`The program did not make "${path}"`)
}
