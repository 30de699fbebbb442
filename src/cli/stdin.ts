import { fstatSync, readFileSync } from 'node:fs'
import { MayflyError } from '../contract/error.ts'
import type { JobRequest, Language } from '../contract/job.ts'
import { canonicalLanguage } from '../contract/language-words.ts'
import { stdinBytesMax } from '../contract/stdin-bound.ts'
import { stdinReaders } from '../contract/stdin-readers.ts'
import { shownSize } from './format-value.ts'

/*
 * Standard input of `mayfly run`, read to its end before the job begins.
 *
 * Files and devices are read to EOF. A pipe may never reach EOF: a shell pipeline closes it, but many parent processes
 * keep one open, and the two cannot be distinguished. (`docker run` reads stdin only with `-i`; Node and Python block once
 * the program reads.) So a pipe is read only if the source seems to read stdin, with a timeout for the first byte and
 * for stalls; `--stdin` waits without a timeout. Partial input is an error, never passed on.
 */

const FIRST_MS_MAX = 10_000
/** Shorter for shells, since nearly every script has a command that may read stdin. */
const SHELL_FIRST_MS_MAX = 1000
const STALL_MS_MAX = 10_000
/** Delay before a note about waiting is printed. */
const NOTE_AFTER_MS = 1000
/** Wait for unread input at the end of a job. */
const UNREAD_MS_MAX = 50

const reads: Readonly<Partial<Record<Language, RegExp>>> = {
  python: stdinReaders.python,
  wasm: /(?!)/,
  sh: /(?:)/,
  bash: /(?:)/,
}
export interface StdinOptions {
  readonly language: JobRequest['language']
  /** Sources that may read stdin: the program and the job's files. */
  readonly sources: readonly string[]
  /** `--stdin`: waits for EOF without a timeout. */
  readonly isAsked: boolean
  readonly note: (text: string) => void
}

/** Reads stdin for a job; undefined if there is none. Throws MayflyError USAGE. */
export async function readStdin(wish: StdinOptions): Promise<JobRequest['stdin']> {
  if (isNullDevice()) return undefined
  const isPipe = isOpenEnded()
  const pattern = reads[canonicalLanguage(wish.language ?? '') ?? 'js'] ?? stdinReaders.node
  const isRead = wish.isAsked || wish.sources.some((source) => pattern.test(source))
  if (!isPipe && isTerminal()) {
    if (isRead && pattern.source !== '(?:)')
      wish.note('Standard input is a terminal: the job gets an empty stdin')
    return undefined
  }
  if (isPipe && !isRead) return undefined
  const bytes = await read(wish, isPipe && !wish.isAsked)
  if (bytes.length === 0) return undefined
  const content = bytes.toString()
  return Buffer.from(content).equals(bytes)
    ? { content, encoding: 'utf8' }
    : { content: bytes.toString('base64'), encoding: 'base64' }
}

/** True if a pipe contains unread bytes. */
export async function hasUnread(): Promise<boolean> {
  if (!isOpenEnded()) return false
  const { stdin } = process
  if (stdin.destroyed) return false
  const { promise, resolve } = Promise.withResolvers<boolean>()
  // setImmediate allows one more poll(2): on a busy machine the timer may expire before the first one, though bytes were there.
  const timer = setTimeout(() => setImmediate(() => resolve(false)), UNREAD_MS_MAX)
  stdin.once('readable', () => resolve(stdin.read() !== null))
  for (const end of ['end', 'error'] as const) stdin.once(end, () => resolve(false))
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    stdin.destroy()
  }
}

/**
 * True if standard input is a file with bytes that nobody read. A pipe may belong to a loop of a shell script, whose next
 * line a look would take. Linux only.
 */
export function isFileWaiting(): boolean {
  try {
    const facts = fstatSync(0)
    return facts.isFile() && positionOf(0) < facts.size
  } catch {
    return false
  }
}

/** Offset of an open file. */
function positionOf(fd: number): number {
  const [, at = '0'] = /^pos:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')) ?? []
  return Number(at)
}

/** True for a pipe or a socket, which may stay open silently. */
function isOpenEnded(): boolean {
  try {
    const facts = fstatSync(0)
    return facts.isFIFO() || facts.isSocket()
  } catch {
    return false
  }
}

/** Device 1:3 of Linux. */
const NULL_DEVICE = 0x103

/** Loads the built-in when it is asked: most runs have a pipe or /dev/null. */
function isTerminal(): boolean {
  return process.getBuiltinModule('node:tty').isatty(0)
}

/** Detects /dev/null by fstat(2); a stream would load modules and start threads, a tenth of a whole run. */
function isNullDevice(): boolean {
  const facts = fstatSync(0)
  return process.platform === 'linux' && facts.isCharacterDevice() && facts.rdev === NULL_DEVICE
}

function read({ language, isAsked, note }: StdinOptions, isBounded: boolean): Promise<Buffer> {
  const { stdin } = process
  const isShell = language === 'sh' || language === 'bash'
  const firstMs = isShell ? SHELL_FIRST_MS_MAX : FIRST_MS_MAX
  const chunks: Buffer[] = []
  let length = 0
  return new Promise<Buffer>((resolve, reject) => {
    const timers: NodeJS.Timeout[] = []
    const over = (then: () => void) => {
      for (const timer of timers) clearTimeout(timer)
      stdin.removeAllListeners('data')
      stdin.destroy()
      then()
    }
    const none = () => {
      note(
        `Nothing arrived on standard input within ${firstMs / 1000} s: the job gets an empty stdin (use --stdin to wait, or < /dev/null)`,
      )
      over(() => resolve(Buffer.alloc(0)))
    }
    const stalled = () => over(() => reject(unended()))
    const later = (act: () => void, ms: number) => timers.push(setTimeout(act, ms))
    if (isBounded) later(none, firstMs)
    if (isBounded ? !isShell : isAsked)
      later(() => note('Waiting for standard input'), NOTE_AFTER_MS)
    stdin.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      length += chunk.length
      for (const timer of timers.splice(0)) clearTimeout(timer)
      if (length > stdinBytesMax) over(() => reject(tooMuch()))
      else if (isBounded) later(stalled, STALL_MS_MAX)
    })
    stdin.once('end', () => over(() => resolve(Buffer.concat(chunks))))
    stdin.once('error', () => over(() => resolve(Buffer.concat(chunks))))
  })
}

function tooMuch(): MayflyError {
  return new MayflyError(
    'USAGE',
    `Cannot pass on standard input: it is larger than ${shownSize(stdinBytesMax)}`,
    { hint: 'Pass it as a file: --file PATH' },
  )
}

function unended(): MayflyError {
  return new MayflyError(
    'USAGE',
    `Cannot pass on standard input: no end or further bytes within ${STALL_MS_MAX / 1000} s`,
    { hint: 'Use --stdin to wait for its end without a timeout' },
  )
}
