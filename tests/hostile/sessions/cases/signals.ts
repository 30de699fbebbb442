import { sessionCasesOf, type SessionCase } from '../case.ts'

const { python, node, bash, sh } = sessionCasesOf('signals')
const text = String.raw
/** True once the interpreter with the written pid has ended. */
const untilGone = { command: 'while kill -0 $(cat pid) 2>/dev/null; do sleep 0.02; done' }

/** Ignored interrupts, and signals to processes that a later exec needs. */
export const signals: readonly SessionCase[] = [
  python('ignores-interrupts', 'a deaf interpreter, for the interrupt of a later exec', [
    text`
import signal
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)`,
    { code: 'while True: pass', timeout: '400ms' },
  ]),
  python('masks-interrupts', 'a mask that stays when the handler is set anew', [
    text`
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))`,
    { code: 'while True: pass', timeout: '400ms' },
  ]),
  python('swallows-interrupts', 'a handler and an except clause that take each interrupt', [
    {
      code: 'import time\nwhile True:\n  try: time.sleep(9)\n  except BaseException: pass',
      timeout: '400ms',
    },
  ]),
  python(
    'interrupt-of-itself',
    'an interrupt of a later exec that its caller did not send',
    [
      text`
import os, signal, threading, time
def late():
    for _ in range(20):
        time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=late, daemon=True).start()`,
      { code: 'import time\ntry: time.sleep(0.8)\nexcept KeyboardInterrupt: pass', timeout: '5s' },
    ],
    { spares: 'manager' },
  ),
  python('kills-the-kernel', 'an interpreter that ends between two execs', [
    text`
import os, threading
with open('pid', 'w') as file: file.write(str(os.getpid()))
threading.Timer(0.05, os.kill, (os.getpid(), 9)).start()`,
    untilGone,
  ]),
  python(
    'kills-the-manager',
    'the process that holds the control socket',
    ['import os\nos.kill(os.getppid(), 9)'],
    { spares: 'session' },
  ),
  python(
    'stops-the-manager',
    'a manager that answers nothing, for as long as its caller waits',
    [
      {
        code: 'import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\nwhile True: pass',
        timeout: '400ms',
      },
    ],
    { spares: 'session', slow: true },
  ),
  python(
    'kills-all',
    'every process of the wall that it may signal',
    [{ code: 'import os\nos.kill(-1, 9)', timeout: '2s' }],
    { spares: 'session' },
  ),
  node('ignores-interrupts-of-node', 'handlers for each signal, and a loop that nothing unwinds', [
    text`for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => undefined)`,
    { code: 'for (;;) { try { for (;;); } catch {} finally { for (;;); } }', timeout: '500ms' },
  ]),
  node(
    'interrupter-ended',
    'the thread that would interrupt a later cell',
    [
      text`
for (const fd of [5]) try { require('node:fs').closeSync(fd) } catch {}
undefined`,
      { code: 'for (;;);', timeout: '500ms' },
    ],
    { spares: 'manager' },
  ),
  node('exit-in-a-timer', 'an interpreter that ends in the middle of a later cell', [
    text`require('node:fs').writeFileSync('pid', String(process.pid)); setTimeout(() => process.exit(0), 50)`,
    untilGone,
  ]),
  node('kill-and-abort', 'an abort that would write a core', [
    text`require('node:fs').writeFileSync('pid', String(process.pid)); setTimeout(() => process.abort(), 20)`,
    untilGone,
  ]),
  bash('ignores-interrupts-of-bash', 'an ignored SIGINT, which children inherit', [
    "trap '' INT TERM HUP",
    { code: 'while :; do :; done', timeout: '500ms' },
  ]),
  sh('stops-itself', 'a shell that stands still in the middle of its cell', [
    { code: 'kill -STOP $$', timeout: '500ms' },
  ]),
  sh('replaces-itself', 'another program in the place of the shell', [
    { code: 'exec sleep 600', timeout: '500ms' },
  ]),
]
