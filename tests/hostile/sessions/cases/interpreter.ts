import { sessionCasesOf, type SessionCase } from '../case.ts'

const { python, node, bash, sh } = sessionCasesOf('interpreter')
const text = String.raw

/** Attacks on the interpreter, which the next exec shares. */
export const interpreter: readonly SessionCase[] = [
  python('poisoned-modules', 'modules that the kernel may import between two cells', [
    text`
import sys, types
class Liar(types.ModuleType):
    def __getattr__(self, name): return lambda *a, **k: 'lie'
for name in list(sys.modules):
    if name not in ('sys', 'builtins', '__main__'): sys.modules[name] = Liar(name)`,
  ]),
  python(
    'replaced-print',
    'the function with which an honest cell prints',
    [
      text`
import builtins, os
builtins.print = lambda *a, **k: os.write(1, b'own stolen\n')`,
    ],
    {
      spares: 'interpreter',
      honest:
        'import os\nos.write(1, f"own {input}\\n".encode())\n[globals().get("own_mark"), 6 * 7]',
    },
  ),
  python(
    'replaced-stdout',
    'the stream object, which keeps what is printed for itself',
    [
      text`
import io, sys
kept, sys.stdout, sys.stderr = sys.stdout, io.StringIO(), io.StringIO()
sys.__stdout__ = sys.__stderr__ = None`,
    ],
    {
      honest:
        'import os\nos.write(1, f"own {input}\\n".encode())\n[globals().get("own_mark"), 6 * 7]',
    },
  ),
  python(
    'traced',
    'a trace function that raises in the code of the kernel',
    [
      text`
import sys, threading
def trace(frame, event, arg):
    if frame.f_code.co_name in ('prepare', 'end', 'next_cell', 'say'): raise SystemExit(3)
    return trace
sys.settrace(trace); sys.setprofile(lambda *a: None); threading.settrace(trace)`,
    ],
    { spares: 'manager' },
  ),
  python(
    'gc-callback',
    'code in the middle of any allocation of the kernel',
    [
      text`
import gc
def late(phase, info): raise SystemExit(5)
gc.callbacks.append(late); gc.set_threshold(1, 1, 1)`,
    ],
    { prints: true },
  ),
  python(
    'builtins-cleared',
    'names that the kernel looks up while it ends a cell',
    [
      text`
import builtins
builtins.len = builtins.isinstance = builtins.max = builtins.dict = lambda *a, **k: 0`,
    ],
    { spares: 'manager' },
  ),
  python('recursion-limit', 'no room on the stack for the code that ends a cell', [
    'import sys\nsys.setrecursionlimit(60)',
  ]),
  python('import-hook', 'a finder that answers each later import', [
    text`
import sys
class Finder:
    def find_spec(self, name, path=None, target=None): raise SystemExit(4)
sys.meta_path.insert(0, Finder()); sys.path_hooks.clear(); sys.path[:] = ['/nowhere']`,
  ]),
  python(
    'globals-cleared',
    'the names of the session, those of the kernel among them',
    ['globals().clear()'],
    { spares: 'manager' },
  ),
  python(
    'kernel-by-frames',
    'the kernel’s own objects, above the frames of a cell',
    [
      text`
import sys
f = sys._getframe()
while f.f_back:
    f = f.f_back
    for name, value in list(f.f_locals.items()):
        if type(value).__name__ == '_Kernel':
            value.number = 10**6; value.work = '/nowhere'; value.is_running = True; value.display = None
            value.task.clear()`,
    ],
    { spares: 'manager' },
  ),
  node('object-prototype', 'properties that the kernel reads of its own objects', [
    text`
for (const name of ['code', 'message', 'thrown', 'status', 'error', 'stdin', 'inputText', 'env', 'objectId', 'unserializableValue', 'line'])
  Object.defineProperty(Object.prototype, name, { value: 'lie', configurable: true, writable: true })
undefined`,
  ]),
  node('thenable-prototype', 'a then that is called for every object that is awaited', [
    text`Object.defineProperty(Object.prototype, 'then', { configurable: true, get() { return undefined }, set() {} }); undefined`,
  ]),
  node(
    'replaced-write',
    'the functions with which an honest cell prints',
    [text`process.stdout.write = () => { throw new Error('of an earlier exec') }; undefined`],
    {
      honest:
        'require("node:fs").writeSync(1, `own ${input}\\n`); [globalThis.ownMark ?? null, 6 * 7]',
    },
  ),
  node(
    'replaced-intrinsics',
    'functions that the kernel calls while it ends a cell',
    [
      text`
JSON.stringify = JSON.parse = () => '{}'; Array.prototype[Symbol.iterator] = function* () { yield 'lie' }
Object.entries = () => { throw new Error('lie') }; String.prototype.slice = () => 'lie'; undefined`,
    ],
    { spares: 'manager' },
  ),
  node(
    'replaced-emitter',
    'events of the sockets of the kernel',
    [text`require('node:events').prototype.emit = () => true; undefined`],
    { spares: 'manager' },
  ),
  node('inspector-misuse', 'an inspector session that turns off the evaluation of cells', [
    text`
const { Session } = require('node:inspector')
const session = new Session()
session.connect()
session.post('Runtime.disable')
session.post('Runtime.releaseObjectGroup', { objectGroup: 'cell-1.js' })
session.post('Debugger.enable'); session.post('Debugger.setBreakpointsActive', { active: true })
undefined`,
  ]),
  node(
    'inspector-breakpoint',
    'a pause at the first statement of each later cell',
    [
      text`
const { Session } = require('node:inspector')
const session = new Session()
session.connect()
session.post('Debugger.enable'); session.post('Debugger.pause')
undefined`,
    ],
    { spares: 'manager' },
  ),
  bash(
    'functions-over-builtins',
    'the builtins with which the manager asks for the status',
    [
      {
        code: 'command() { :; }\nbuiltin() { :; }\necho() { :; }\nset() { :; }\n:',
        timeout: '700ms',
      },
    ],
    { spares: 'manager' },
  ),
  bash(
    'aliases',
    'words of the lines that the manager sends',
    ['shopt -s expand_aliases\nalias command=false echo=false set=exit'],
    { spares: 'manager' },
  ),
  bash(
    'traps',
    'code before each command, at each error and at the end',
    [
      'trap "echo trapped; false" DEBUG\ntrap "echo failed" ERR\ntrap "echo over; sleep 600" EXIT\ntrap "echo returned" RETURN',
    ],
    { prints: true, spares: 'manager' },
  ),
  bash(
    'prompt-command',
    'code before each line that an interactive shell reads',
    ['PROMPT_COMMAND="echo prompted"\nPS0="shown"\nPS1="shown"\nPS2="shown"'],
    { prints: true },
  ),
  sh(
    'shell-options',
    'options that end a shell at its next error, or show its lines',
    ['set -eux\nset -o noglob'],
    { prints: true },
  ),
  sh(
    'readonly-names',
    'names that the manager’s lines and later cells set',
    ['readonly OWN=taken MAYFLY_RESULT=/dev/null PATH=/nowhere'],
    { spares: 'session' },
  ),
]
