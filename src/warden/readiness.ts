import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { MayflyError } from '../contract/error.ts'
import { childrenOf } from '../os/proc.ts'

/** Readiness of a started program: it writes one byte to a pipe once it is warm; otherwise the start fails. */

type StartedChild = Pick<ChildProcess, 'stdio' | 'stderr' | 'kill' | 'on' | 'once' | 'off'>

const STDERR_BYTES_MAX = 4096
/** `R`, the byte that a warm program writes; a program that cannot start writes `E` and the cause. */
const READY = 0x52
const READY_FD = 4
/** Limit of stderr, more than an honest worker writes in its life; reading more would block the warden's event loop. */
const STDERR_FLOOD_BYTES = 2 ** 20
/** Longest wait for EOF on the pipes of an ended program; a child of it may hold them open. */
const OUTPUT_MS_MAX = 500

/** Buffers the tail of stderr; kills a program that exceeds the limit. */
export function listenTo(child: StartedChild): () => string {
  let said = ''
  let bytes = 0
  child.stderr?.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-STDERR_BYTES_MAX)
    bytes += chunk.length
    if (bytes > STDERR_FLOOD_BYTES) child.kill('SIGKILL')
  })
  return () => said
}

/** Resolves at the byte `R`; rejects with the reported cause otherwise. */
export async function awaitReadinessByte(
  { child, complaint }: { readonly child: StartedChild; readonly complaint: () => string },
  msMax: number,
): Promise<void> {
  const pipe = child.stdio[READY_FD] as Readable | undefined
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const said: Buffer[] = []
  const fail = (why: string) => reject(notReady(why, Buffer.concat(said).toString() + complaint()))
  const timer = setTimeout(() => fail(`it was not ready after ${msMax} ms`), msMax)
  const ended = (code: number | null, signal: string | null) =>
    void drainPipes(child, pipe).then(() => fail(`it ended (${code ?? signal})`))
  child.on('error', (error) => fail(error.message))
  child.once('exit', ended)
  pipe?.on('data', (chunk: Buffer) => {
    if (said.length === 0 && chunk[0] === READY) resolve()
    else if (said.length < 16) said.push(chunk.subarray(0, STDERR_BYTES_MAX))
  })
  try {
    await promise
  } finally {
    clearTimeout(timer)
    child.off('exit', ended)
    pipe?.destroy()
  }
}

/** Resolves at EOF of both pipes: 'exit' is often emitted before the message that explains it is read. */
async function drainPipes({ stderr }: StartedChild, pipe: Readable | undefined): Promise<void> {
  const ends = [stderr, pipe]
    .filter((stream) => stream && !stream.closed)
    .map((stream) => once(stream!, 'close'))
  const late = sleep(OUTPUT_MS_MAX, undefined, { ref: false })
  await Promise.race([Promise.allSettled(ends), late])
}

/**
 * Processes of a start: the init of the pid namespace, the program, and the outermost process. The spawned process
 * execs the init or waits for it; the init is the program or waits for it.
 */
export function pidChainOf(pid: number, nested: boolean): readonly number[] {
  const first = nested ? childrenOf(pid)[0] : undefined
  const program = first === undefined ? undefined : childrenOf(first)[0]
  return [first, program, pid].filter((one) => one !== undefined)
}

function notReady(why: string, complaint: string): MayflyError {
  const said =
    complaint.split('\n').find((line) => /Error|FATAL/.test(line)) ?? complaint.split('\n')[0]
  return new MayflyError(
    'UNAVAILABLE',
    `Cannot start a wall: ${why}${said ? `: ${said.slice(0, 300)}` : ''}`,
    {
      detail: complaint.slice(0, STDERR_BYTES_MAX),
    },
  )
}
