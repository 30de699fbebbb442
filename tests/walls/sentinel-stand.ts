import { openOwnProgram } from '../../src/jail/own-programs.ts'
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync } from 'node:fs'
import type { Socket } from 'node:net'
import { callClasses } from '../../src/contract/calls.ts'
import { reopen, type CProgram } from '../../src/jail/c-program.ts'
import { filtersFor } from '../../src/jail/sentinel-policy.ts'
import { startSentinel, type Sentinel } from '../../src/warden/engines/processes/sentinel.ts'

/** A sentinel with one program, in their own namespaces and without the rest of a wall. */
export interface Alone extends AsyncDisposable {
  readonly sentinel: Sentinel
  readonly guest: ChildProcess
  /** Output of the guest so far. */
  readonly said: () => string
  /** Resolves when the output matches; rejects if the guest ends before. */
  says(pattern: RegExp): Promise<RegExpExecArray>
}

const saidMsMax = 20_000
const SAID_CHARACTERS_KEPT = 2 ** 18
const namespaces = [
  '--user',
  '--map-root-user',
  '--pid',
  '--mount',
  '--net',
  '--fork',
  '--kill-child',
]
/** Mounts of the guest: its own /dev/shm, a file system to write to, and a /proc of its own processes. */
const prepare = [
  'mount -t tmpfs none /dev/shm',
  'mkdir -p /dev/shm/work',
  'mount -t proc none /proc',
  'cd /dev/shm/work',
  'exec "$@"',
].join(' && ')

let made: Promise<CProgram> | undefined

/** Throws without a C compiler: callers skip their tests first. */
export function program(): Promise<CProgram> {
  made ??= openOwnProgram('sentinel').then((found) => {
    if ('missing' in found) throw new Error(found.missing)
    return found
  })
  return made
}

export async function startAlone(command: readonly string[]): Promise<Alone> {
  const alone = await beginAlone(command)
  await alone.sentinel.ready
  return alone
}

/** Starts a sentinel without waiting until it is ready. */
export async function beginAlone(command: readonly string[]): Promise<Alone> {
  const found = await program()
  const copy = reopen(found)
  const guest = spawn(
    'unshare',
    [
      ...namespaces,
      '--',
      '/bin/sh',
      '-c',
      prepare,
      'sh',
      found.file,
      'enter',
      command[0]!,
      ...command,
    ],
    {
      stdio: ['pipe', 'pipe', 'pipe', 'ignore', 'pipe', 'ignore', 'pipe', 'ignore', 'pipe'],
    },
  )
  closeSync(copy)
  const stdio = guest.stdio as unknown as Socket[]
  for (const socket of stdio) socket?.on('error', () => undefined)
  stdio[6]!.end(filtersFor(Buffer.alloc(0), callClasses))
  const sentinel = startSentinel({ program: found, handed: stdio[8]!, uid: undefined })
  let said = ''
  const heard: (() => void)[] = []
  for (const stream of [guest.stdout!, guest.stderr!, stdio[4]!])
    stream.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-SAID_CHARACTERS_KEPT)
      for (const look of heard.slice()) look()
    })
  const ended = new Promise<void>((resolve) => void guest.once('close', () => resolve()))
  const alone: Alone = {
    sentinel,
    guest,
    said: () => said,
    says(pattern) {
      const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>()
      const look = () => {
        const found = pattern.exec(said)
        if (found) resolve(found)
      }
      const late = setTimeout(() => reject(new Error(`it only said "${said}"`)), saidMsMax)
      void ended.then(() => reject(new Error(`it ended after "${said}"`)))
      heard.push(look)
      look()
      return promise.finally(() => {
        clearTimeout(late)
        heard.splice(heard.indexOf(look), 1)
      })
    },
    async [Symbol.asyncDispose]() {
      guest.kill('SIGKILL')
      await ended
      await sentinel.ended
    },
  }
  return alone
}
