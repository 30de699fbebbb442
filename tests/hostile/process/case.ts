import syscalls from '../../../policies/syscalls.json' with { type: 'json' }
import type { End } from '../case.ts'

/**
 * One hostile program for a wall that runs whole processes. What counts as having got out is listed in trap.ts: it is
 * found by the host, or is the kernel's own answer to a call that ought not to reach it.
 */
export interface ProcessCase {
  readonly name: string
  readonly family: ProcessFamily
  /** The attack: what it is after. */
  readonly because: string
  readonly language: ProcessLanguage
  readonly code: string
  readonly files?: readonly ProcessFile[]
  /** How the job may end, where not every end of a program is fine. */
  readonly expect?: readonly End[]
  /** Its result when it ends `ok`, where it must not be able to have another. */
  readonly gives?: unknown
  /** Measured from outside while it runs alone: it may not come over this bound of its wall. */
  readonly over?: Bound
  /** It must end by itself well within its time, whoever it leaves behind. */
  readonly quick?: true
  /** A second job after the first; it looks for what the first left, and does not know its secret. */
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

/** What is laid out for one run: a name that no other run has, and where on the host to look. */
export interface ProcessBait {
  readonly name: string
  /** Known to the first of two jobs alone. */
  readonly secret: string
  /** Readable by everybody on the host; `rootFile` by root alone. Both hold the canary. */
  readonly openFile: string
  readonly rootFile: string
  /** In a folder where everybody may write. */
  readonly markFile: string
  /** A process of the host's, of the same user as a plain child, with the canary in its environment. */
  readonly victim: number
  readonly server: number
  readonly port: number
  readonly udpPort: number
  /** Whatever address the host has beside loopback, or loopback again. */
  readonly address: string
  readonly unixPath: string
  readonly abstract: string
  /** For System V objects. */
  readonly key: number
}

/** A whole program: the means to report, what is laid out, and the case itself. */
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
 * Files that a case brings may look for `hostile_main`, to know that the program has begun. `mark` writes the word of success, put together at run time. `entry` makes a raw call and marks what came back, unless
 * the kernel refused it as it would something forbidden: past its filter it says that an argument is wrong.
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

/** Makers of the cases of one family, by language. */
export function casesOf(family: ProcessFamily): Readonly<Record<ProcessLanguage, Maker>> {
  const maker =
    (language: ProcessLanguage): Maker =>
    (name, because, code, rest = {}) => ({ name, family, because, language, code, ...rest })
  return { node: maker('node'), python: maker('python'), sh: maker('sh') }
}
