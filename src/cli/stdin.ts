import { fstatSync } from 'node:fs'
import { isatty } from 'node:tty'
import { MayflyError } from '../contract/error.ts'
import type { JobRequest, Language } from '../contract/job.ts'
import { stdinBytesMax } from '../contract/surroundings.ts'
import { megabytes } from './amount.ts'

/*
 * Standard input of `mayfly run`, read to its end before the job begins.
 *
 * A file and a device are read as they are. A pipe is harder: a shell's pipeline ends it, while many programs that
 * start others leave one open for ever, and nothing tells the two apart. `docker run` reads none unless `-i` says so;
 * Node and Python wait without a bound once the program reads. In between: a pipe is waited for only where the source
 * looks as if it reads one, the first byte for a bounded time, and after that to its end; `--stdin` waits without a
 * bound. What was begun is never passed on in part.
 */

const FIRST_MS_MAX = 10_000
/** Nearly every script has a command that could read. */
const SHELL_FIRST_MS_MAX = 1000
const STALL_MS_MAX = 10_000
/** After that long somebody at a terminal is told what it waits for. */
const NOTE_AFTER_MS = 1000
/** What was piped in lies there by the end of a job. */
const UNREAD_MS_MAX = 50

const reads: Readonly<Partial<Record<Language, RegExp>>> = {
  python:
    /\bstdin\b|\binput\s*\(|\bfileinput\b|\bopen\s*\(\s*0\b|\bos\.(read|system|popen|exec|spawn)|\bsubprocess\b/,
  wasm: /(?!)/,
  sh: /(?:)/,
  bash: /(?:)/,
}
const javaScript =
  /\bstdin\b|\breadFile(Sync)?\s*\(\s*0\b|\bread(Sync)?\s*\(\s*0\b|\breadline\b|\bchild_process\b/

export interface StdinWish {
  readonly language: Language | undefined
  /** All that could read it: the source, and the files of the job. */
  readonly sources: readonly string[]
  /** `--stdin`: to its end, however long that takes. */
  readonly isAsked: boolean
  readonly note: (text: string) => void
}

/** What a job is to read; undefined where there is nothing. Throws MayflyError USAGE. */
export async function readStdin(wish: StdinWish): Promise<JobRequest['stdin']> {
  const isPipe = isOpenEnded()
  const pattern = reads[wish.language ?? 'js'] ?? javaScript
  const isRead = wish.isAsked || wish.sources.some((source) => pattern.test(source))
  if (isatty(0)) {
    if (isRead && pattern.source !== '(?:)')
      wish.note('Standard input is a terminal: the job reads an empty one')
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

/** Whether bytes wait in a pipe that nobody read. */
export async function hasUnread(): Promise<boolean> {
  const { stdin } = process
  if (isatty(0) || !isOpenEnded() || stdin.destroyed) return false
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => resolve(false), UNREAD_MS_MAX)
  stdin.once('readable', () => resolve(stdin.read() !== null))
  for (const end of ['end', 'error'] as const) stdin.once(end, () => resolve(false))
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    stdin.destroy()
  }
}

/** A pipe or a socket: what may stay open without a word. */
function isOpenEnded(): boolean {
  try {
    const facts = fstatSync(0)
    return facts.isFIFO() || facts.isSocket()
  } catch {
    return false
  }
}

function read({ language, isAsked, note }: StdinWish, isBounded: boolean): Promise<Buffer> {
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
        `Nothing came on standard input within ${firstMs / 1000} s: the job reads an empty one (--stdin waits for it, < /dev/null says that there is none)`,
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
    `Cannot pass on standard input: it has more than ${megabytes(stdinBytesMax)}`,
    { hint: 'Bring it as a file: --file PATH' },
  )
}

function unended(): MayflyError {
  return new MayflyError(
    'USAGE',
    `Cannot pass on standard input: it did not end within ${STALL_MS_MAX / 1000} s of its last bytes`,
    { hint: '--stdin waits for its end, however long that takes' },
  )
}
