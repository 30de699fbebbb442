import { sessionCasesOf, type SessionCase } from '../case.ts'

const { python, node, bash, sh } = sessionCasesOf('answers')
const text = String.raw

/** Results, errors, times and displays that are forged or too large. */
export const answers: readonly SessionCase[] = [
  python(
    'huge-repr',
    'the text of a last expression that never ends',
    [
      text`
class Huge:
    def __repr__(self): return 'x' * 50_000_000
Huge()`,
      text`
class Endless:
    def __repr__(self):
        while True: pass
Endless()`,
    ],
    { limits: { memory: '256MB' } },
  ),
  python(
    'display-bombs',
    'forms of a result that are larger than any outcome',
    [
      text`
class Bomb:
    def _repr_html_(self): return '<b>' * 5_000_000
    def _repr_png_(self): return b'\x89PNG' + b'x' * 20_000_000
    def _repr_mimebundle_(self, include=None, exclude=None): return {f'text/x-{n}': 'x' * 1000 for n in range(5000)}
Bomb()`,
    ],
    { limits: { memory: '256MB' } },
  ),
  python(
    'lying-clock',
    'the clocks and counters by which the kernel counts its cells',
    [
      text`
import time, resource, os, sys
time.time = time.monotonic = time.process_time = lambda: -1e9
resource.getrusage = lambda who: (1e9, 1e9)
for module in list(sys.modules.values()):
    for name in ('cpu_seconds', 'now', '_usage'):
        if getattr(module, name, None): setattr(module, name, lambda *a: 1e9)
f = sys._getframe()
while f.f_back:
    f = f.f_back
    for name in ('cpu_seconds', 'now', '_usage'):
        if name in f.f_globals: f.f_globals[name] = lambda *a: 1e9
    entries = f.f_globals.get('mayfly_entries')
    if entries:
        ticks = iter(range(0, 10**15, 10**6))
        entries.cpu_seconds = lambda: next(ticks)`,
    ],
    { spares: 'manager' },
  ),
  python('result-written-late', 'the result of the next exec, written by a thread of this one', [
    text`
import os, threading, time
kept = os.dup(3)
def late():
    for _ in range(30):
        try: os.write(kept, b'"forged"')
        except OSError: pass
        time.sleep(0.02)
threading.Thread(target=late, daemon=True).start()`,
  ]),
  python('result-that-lies', 'a value whose type says that it is another', [
    text`
class Liar(int):
    @property
    def __class__(self): return dict
    def __eq__(self, other): raise SystemExit(7)
    def __str__(self): raise KeyboardInterrupt
Liar(1)`,
  ]),
  python('error-that-lies', 'an exception whose every part raises', [
    text`
class Liar(BaseException):
    def __str__(self): raise Liar()
    def __repr__(self): raise Liar()
    @property
    def __traceback__(self): raise Liar()
raise Liar()`,
  ]),
  python('nested-result', 'a result that contains itself, a thousand levels deep', [
    text`
deep = []
for _ in range(100_000): deep = [deep]
deep`,
  ]),
  node('result-proxies', 'a value that runs code while it is read', [
    text`new Proxy({}, { get() { for (;;); }, ownKeys() { throw new Error('lie') } })`,
    { code: '({ get a() { for (;;); } })', timeout: '500ms' },
  ]),
  node(
    'inspect-bomb',
    'a value that shows itself without end',
    [
      text`const bomb = { [Symbol.for('nodejs.util.inspect.custom')]() { return 'x'.repeat(2 ** 28) } }; bomb.f = () => 1; bomb`,
    ],
    { limits: { memory: '512MB' } },
  ),
  node('lying-usage', 'the counters by which a cell is charged', [
    text`process.cpuUsage = () => ({ user: 1e15, system: 1e15 }); process.hrtime.bigint = () => 0n; performance.now = () => -1e9; undefined`,
  ]),
  bash('result-without-end', 'a result file that is no file, or larger than any result', [
    { code: 'ln -sf /dev/zero $MAYFLY_RESULT', timeout: '3s' },
    { code: 'rm -f $MAYFLY_RESULT; mkfifo $MAYFLY_RESULT', timeout: '3s' },
  ]),
  bash('status-that-lies', 'a status of a cell that no program has', [
    '(exit 300)\nreturn 4000 2>/dev/null',
  ]),
  sh('result-deleted', 'a result file that is a folder', [
    'rm -f $MAYFLY_RESULT; mkdir $MAYFLY_RESULT',
  ]),
]
