import syscalls from '../../../policies/syscalls.json' with { type: 'json' }
import type { End } from '../case.ts'

/**
 * A hostile program for a wall of whole processes. Evidence of an escape is listed in trap.ts: observed by the
 * host, or the kernel's answer to a call that must not reach it.
 */
export interface ProcessCase {
  readonly name: string
  readonly family: ProcessFamily
  /** The attack: what it is after. */
  readonly because: string
  readonly language: ProcessLanguage
  readonly code: string
  readonly files?: readonly ProcessFile[]
  /** Permitted ends, if not every end is. */
  readonly expect?: readonly End[]
  /** Result if it ends `ok`, where no other may be possible. */
  readonly gives?: unknown
  /** Usage measured from outside while it runs alone must stay within this bound of its wall. */
  readonly over?: Bound
  /** Takes memory of the kernel that control groups alone count: without them no word of its own counts. */
  readonly counted?: true
  /** Must end by itself well within its time, regardless of child processes. */
  readonly quick?: true
  /** A second job, which searches for traces of the first, and does not know its secret. */
  readonly second?: string
}

export type Bound = 'memory' | 'processes' | 'disk' | 'cpu'

export type ProcessLanguage = (typeof processLanguages)[number]
export const processLanguages = ['node', 'python', 'sh'] as const

export interface ProcessFile {
  readonly path: string
  readonly content: string
}

export type ProcessFamily = (typeof processFamilies)[number]
export const processFamilies = [
  'forks',
  'memory',
  'disk',
  'descriptors',
  'cpu',
  'proc',
  'tracing',
  'kernel',
  'namespaces',
  'sockets',
  'privilege',
  'signals',
  'output',
  'artifacts',
  'files',
  'leftovers',
  'result',
  'shadowing',
  'runner',
] as const

/** Bait for one run: a unique name, and targets on the host. */
export interface ProcessBait {
  readonly name: string
  /** Known only to the first of two jobs. */
  readonly secret: string
  /** World-readable on the host; `rootFile` by root alone. Both hold the canary. */
  readonly openFile: string
  readonly rootFile: string
  /** In a world-writable folder. */
  readonly markFile: string
  /** A host process, of the same user as a plain child, with the canary in its environment. */
  readonly victim: number
  readonly server: number
  readonly port: number
  readonly udpPort: number
  /** Any address of the host besides loopback, or loopback again. */
  readonly address: string
  readonly unixPath: string
  readonly abstract: string
  /** For System V objects. */
  readonly key: number
}

/** A complete program: reporting functions, bait, and the case itself. */
export function programOf(language: ProcessLanguage, body: string, bait: ProcessBait): string {
  return `${preludes[language](bait)}\n${body}\n`
}

export const extensionOf = { node: 'cjs', python: 'py', sh: 'sh' } as const

const numbers = Object.fromEntries(
  Object.entries(syscalls.numbers).map(([name, both]) => [
    name,
    both[process.arch === 'arm64' ? 1 : 0],
  ]),
)

/**
 * Files of a case may test for `hostile_main`, to know that the program has started. `mark` writes the success
 * word, concatenated at run time. `entry` makes a raw system call and marks the result, unless seccomp refused
 * it: past the filter the kernel reports an invalid argument.
 */
const preludes: Record<ProcessLanguage, (bait: ProcessBait) => string> = {
  python: (bait) => String.raw`
import sys
sys.modules['hostile_main'] = sys
import ctypes, errno, json, os, signal, socket, struct, sys, threading, time
bait = json.loads(r'''${JSON.stringify(bait)}''')
numbers = json.loads(r'''${JSON.stringify(numbers)}''')
def mark(how, what=''):
    os.write(1, ('ESC' + 'APED:' + str(how) + ':' + str(what) + '\n').encode())
def show(what):
    os.write(1, (what if isinstance(what, bytes) else str(what).encode())[:65536] + b'\n')
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(name, *args):
    if numbers.get(name) is None: return -errno.ENOSYS
    return raw(numbers[name], *args)
def raw(number, *args):
    ctypes.set_errno(0)
    whole = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    answer = libc.syscall(ctypes.c_long(number), *whole)
    return answer if answer >= 0 else -ctypes.get_errno()
def entry(name, *args):
    answer = call(name, *args)
    if answer not in (-errno.EPERM, -errno.ENOSYS, -errno.EACCES):
        mark(name, errno.errorcode.get(-answer, answer))
    return answer
def tried(*actions):
    for action in actions:
        try: action()
        except OSError as e: print(e.errno, e.strerror, flush=True)
        except Exception as e: print(type(e).__name__, e, flush=True)
def opens(path, flags):
    # what is masked is the null device
    fd = os.open(path, flags)
    try: return os.fstat(fd).st_rdev != os.makedev(1, 3)
    finally: os.close(fd)
def read(path, size=65536):
    with open(path, 'rb') as f: return f.read(size)
signal.alarm(10)
`,
  node: (bait) => String.raw`
globalThis.hostileMain = true
const bait = ${JSON.stringify(bait)}
const numbers = ${JSON.stringify(numbers)}
const fs = require('node:fs')
const mark = (how, what = '') => fs.writeSync(1, 'ESC' + 'APED:' + how + ':' + what + '\n')
const show = (what) => fs.writeSync(1, String(what).slice(0, 65536) + '\n')
const tried = (...actions) => { for (const action of actions) try { const made = action(); made?.catch?.((e) => show(e)) } catch (e) { try { show(e?.message) } catch {} } }
setTimeout(() => process.exit(0), 8000).unref()
`,
  sh: (bait) =>
    [
      `NAME='${bait.name}' SECRET='${bait.secret}' OPEN_FILE='${bait.openFile}' ROOT_FILE='${bait.rootFile}'`,
      `MARK_FILE='${bait.markFile}' VICTIM='${bait.victim}' SERVER='${bait.server}' PORT='${bait.port}'`,
      `mark() { printf 'ESC''APED:%s\\n' "$*"; }`,
    ].join('\n'),
}

type Rest = Partial<Omit<ProcessCase, 'name' | 'because' | 'code' | 'family' | 'language'>>
export type Maker = (name: string, because: string, code: string, rest?: Rest) => ProcessCase

/** Constructors for cases of a family, by language. */
export function casesOf(family: ProcessFamily): Readonly<Record<ProcessLanguage, Maker>> {
  const maker =
    (language: ProcessLanguage): Maker =>
    (name, because, code, rest = {}) => ({ name, family, because, language, code, ...rest })
  return { node: maker('node'), python: maker('python'), sh: maker('sh') }
}
