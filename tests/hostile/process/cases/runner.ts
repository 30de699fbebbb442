import { casesOf, type ProcessCase } from '../case.ts'

const { node, python, sh } = casesOf('runner')
const text = String.raw
const expect = ['ok', 'error', 'failed', 'limit', 'timeout'] as const

/**
 * The runner shares its process with user code: it may be broken from inside, but must not enable an escape.
 */
export const runner: readonly ProcessCase[] = [
  python(
    'json-replaced',
    'what the runner calls when it ends',
    text`
json.dumps = lambda *a, **k: '{"status":"ok","artifacts":[{"path":"' + bait['markFile'] + '"}]}'
json.loads = json.dumps; json.JSONEncoder.encode = json.dumps; json.encoder.JSONEncoder = None`,
    { expect },
  ),
  python(
    'os-replaced',
    'files and walks that lie',
    text`
real = os.write
os.walk = lambda *a, **k: [(os.path.dirname(bait['rootFile']), [], ['root'])]
os.scandir = os.listdir = lambda *a: ['root']; os.open = lambda *a, **k: 0; os.stat = lambda *a, **k: None`,
    { expect },
  ),
  python(
    'builtins-replaced',
    'the ground of the language',
    text`
import builtins
builtins.open = builtins.len = builtins.isinstance = builtins.print = lambda *a, **k: 0`,
    { expect },
  ),
  python(
    'exit-hooks',
    'what runs after the end',
    text`
import atexit
def late():
    tried(lambda: show(read(bait['openFile']))); end = time.time() + 4
    while time.time() < end: pass
atexit.register(late)`,
    { expect },
  ),
  python(
    'frames-above',
    'the runner’s own variables',
    text`
f = sys._getframe()
while f.f_back:
    f = f.f_back
    for name, value in list(f.f_locals.items()):
        if isinstance(value, socket.socket): mark_ = value.fileno(); print('socket', name, mark_)
        try:
            for fd in range(3, 20):
                for got in socket.recv_fds(socket.socket(fileno=os.dup(fd)), 1, 4, socket.MSG_DONTWAIT)[1]: mark('handed', got)
        except (OSError, ValueError): pass`,
    { expect },
  ),
  python(
    'trace-functions',
    'code that runs inside of the runner’s functions',
    text`
def look(frame, event, arg):
    try: frame.f_locals.clear()
    except Exception: pass
    return look
sys.settrace(look); threading.settrace(look); sys.setprofile(lambda *a: None)`,
    { expect },
  ),
  python(
    'import-hooks',
    'modules that the runner loads late',
    text`
class Evil:
    def find_spec(self, *a): raise ImportError('no')
sys.meta_path.insert(0, Evil()); sys.path_hooks.clear(); sys.modules.clear()`,
    { expect },
  ),
  python(
    'recursion-and-collection',
    'limits of the interpreter',
    text`
import gc
sys.setrecursionlimit(10**7)
def f(): f()
try: f()
except (RecursionError, MemoryError): pass`,
    { expect },
  ),
  python('crash', 'a fault in native code', `ctypes.string_at(0)`, { expect }),
  python(
    'crash-by-exec',
    'the runner becomes another program',
    `os.execv('/bin/sh', ['sh', '-c', 'cat ' + bait['openFile']])`,
    { expect },
  ),
  python(
    'libc-directly',
    'files past everything that Python checks',
    text`
libc.open.restype = ctypes.c_int
fd = libc.open(bait['openFile'].encode(), 0)
if fd >= 0: show(os.read(fd, 200))
fd = call('openat', -100, bait['openFile'].encode(), 0, 0)
if fd >= 0: show(os.read(fd, 200))`,
  ),
  python(
    'shell-out',
    'through a program',
    text`
import subprocess
tried(lambda: show(subprocess.run(['/bin/cat', bait['openFile']], capture_output=True, timeout=2).stdout), lambda: os.system('cat ' + bait['openFile']))`,
  ),
  node(
    'loader-replaced',
    'what loads modules',
    text`
const Module = require('node:module')
Module._load = () => { throw new Error('no') }; Module.prototype.require = Module._load; Module._resolveFilename = () => bait.openFile`,
    { expect },
  ),
  node(
    'json-of-javascript-replaced',
    'what the runner calls when it ends',
    text`
JSON.stringify = () => '{"status":"ok"}'; JSON.parse = () => ({}); Buffer.from = () => { throw 1 }; fs.writeSync = () => 1`,
    { expect },
  ),
  node(
    'files-replaced',
    'walks that lie',
    text`
for (const k of Object.keys(fs)) if (typeof fs[k] === 'function' && k !== 'writeSync') fs[k] = () => bait.rootFile
require('node:path').join = () => bait.markFile`,
    { expect },
  ),
  node(
    'prototypes-replaced',
    'the ground of the language',
    text`
for (const P of [Array.prototype, Object.prototype, Function.prototype, Promise.prototype, Map.prototype]) for (const k of ['push', 'then', 'call', 'apply', 'get', 'set', 'toString', 'map', 'toJSON', 'path', 'status']) { try { P[k] = function () { return bait.markFile } } catch {} }`,
    { expect },
  ),
  node(
    'binding',
    'the inside of the runtime',
    text`
tried(() => show(process.binding('fs').internalModuleReadJSON?.(bait.openFile)), () => { const { spawn_sync } = { spawn_sync: process.binding('spawn_sync') }; const r = spawn_sync.spawn({ file: '/bin/cat', args: ['cat', bait.openFile], stdio: [{ type: 'pipe', readable: true }, { type: 'pipe', writable: true }, { type: 'pipe', writable: true }], envPairs: [] }); show(r.output?.[1] ?? '') }, () => process._debugProcess(bait.victim), () => process.dlopen({ exports: {} }, bait.openFile))`,
  ),
  node(
    'inspector',
    'a debugger of its own, listening',
    text`
tried(() => { const i = require('node:inspector'); i.open(0, '127.0.0.1'); show(i.url()) }, () => { const { Session } = require('node:inspector'); const s = new Session(); s.connect(); s.post('Runtime.evaluate', { expression: 'process.mainModule.require("node:fs").readFileSync(' + JSON.stringify(bait.openFile) + ', "utf8")', includeCommandLineAPI: true }, (e, r) => show(JSON.stringify(r))) })
setTimeout(() => process.exit(0), 200)`,
  ),
  node(
    'inspector-by-signal',
    'a debugger in a process of the host',
    text`
tried(() => process.kill(bait.server, 0) && mark('server', 'may be signalled'))`,
  ),
  node(
    'worker-without-limits',
    'a thread with another environment',
    text`
const { Worker } = require('node:worker_threads')
const w = new Worker('const fs = require("node:fs"); try { require("node:worker_threads").parentPort.postMessage(fs.readFileSync(' + JSON.stringify(bait.openFile) + ', "utf8")) } catch {}', { eval: true, env: {}, execArgv: [], trackUnmanagedFds: false })
w.on('message', show); w.on('error', () => {}); setTimeout(() => process.exit(0), 500)`,
  ),
  node(
    'ffi-open',
    'a file by libc, past everything that Node checks',
    text`
tried(() => {
  const ffi = require('node:ffi')
  const { functions } = ffi.dlopen(null, { open: { arguments: ['string', 'i32'], return: 'i32' } })
  const fd = functions.open(bait.openFile, 0)
  if (fd >= 0) show(fs.readFileSync(fd, 'utf8'))
})`,
  ),
  node(
    'children',
    'through programs',
    text`
const c = require('node:child_process')
tried(() => show(c.execFileSync('/bin/cat', [bait.openFile], { stdio: ['ignore', 'pipe', 'ignore'] })), () => show(c.spawnSync(process.execPath, ['-p', 'require("fs").readFileSync(' + JSON.stringify(bait.openFile) + ', "utf8")']).stdout))`,
  ),
  node(
    'exit-listeners',
    'what runs after the end',
    text`
process.on('exit', () => { tried(() => show(fs.readFileSync(bait.openFile, 'utf8'))); const end = Date.now() + 4000; while (Date.now() < end); })`,
    { expect },
  ),
  node(
    'listeners-of-the-runner',
    'every handle that the runner has',
    text`
for (const h of process._getActiveHandles?.() ?? []) tried(() => h.write?.('x'.repeat(1000)), () => h.destroy?.())`,
    { expect },
  ),
  node(
    'uncaught-everything',
    'errors that are none',
    text`
process.on('uncaughtException', () => {}); process.on('unhandledRejection', () => {})
Promise.reject(Object.create(null)); queueMicrotask(() => { throw { get message() { for (let i = 0; i < 1e9; i++); return 'x'.repeat(1e8) } } }); throw new Proxy({}, { get() { throw 1 } })`,
    { expect },
  ),
  node('abort', 'the runtime ends itself', `process.abort()`, { expect }),
  sh(
    'parent-of-the-shell',
    'the runner that waits for it',
    text`
for f in environ mem maps fd/3 fd/5; do cat "/proc/$PPID/$f" 2>/dev/null | head -c 2000 | tr '\0' ' '; done; kill -0 "$PPID"; exit 0`,
    { expect },
  ),
  sh(
    'runner-files',
    'the runner’s own program changed',
    text`
own=$(tr '\0' '\n' < /proc/self/mountinfo | grep -o ' /opt/mayfly[^ ]*' | sort -u)
for f in /opt/mayfly /opt/mayfly/* $([ "$own" ] && find $own -maxdepth 3 2>/dev/null | head -200); do [ -w "$f" ] && mark "$f"; done; exit 0`,
  ),
]
