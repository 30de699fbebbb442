import { spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { MayflyError } from '../contract/error.ts'

/**
 * Runs the programs that make images: apt's downloader, dpkg-deb, mkfs.erofs. Each ends with this process by a
 * parent-death signal, and after `msMax` by SIGKILL. Loaded by the command line alone, never by a server.
 */
export interface ToolRun {
  readonly command: readonly [string, ...string[]]
  readonly msMax: number
  /** All variables of this process, for a proxy that they name; by default PATH alone. */
  readonly hasEnvironment?: boolean
  /** Reads stdout to its end; rejects to end the program. */
  readonly read?: (stdout: Readable) => Promise<void>
  readonly signal?: AbortSignal | undefined
}

export interface ToolEnd {
  /** Exit code; null after a signal. */
  readonly code: number | null
  /** Last bytes of stderr. */
  readonly said: string
}

const saidBytesMax = 8192
const path = process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin'

/** Throws MayflyError UNAVAILABLE where the program is missing, and what `read` threw. */
export async function runTool({
  command,
  msMax,
  hasEnvironment = false,
  read,
  signal,
}: ToolRun): Promise<ToolEnd> {
  signal?.throwIfAborted()
  const own = { PATH: path, LC_ALL: 'C' }
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...command], {
    env: hasEnvironment ? { ...process.env, ...own } : own,
    stdio: ['ignore', read ? 'pipe' : 'ignore', 'pipe'],
    timeout: msMax,
    killSignal: 'SIGKILL',
    ...(signal && { signal }),
  })
  const { promise, resolve, reject } = Promise.withResolvers<number | null>()
  child.on('error', (cause) => reject(signal?.aborted ? signal.reason : missing('setpriv', cause)))
  child.on('close', resolve)
  let said = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-saidBytesMax)
  })
  const reading = read && child.stdout ? read(child.stdout) : Promise.resolve()
  reading.catch(() => child.kill('SIGKILL'))
  const [ended, took] = await Promise.allSettled([promise, reading])
  if (ended.status === 'rejected') throw ended.reason
  if (ended.value === 127) throw missing(command[0])
  // A reader that stopped made the program fail: its reason is the cause.
  if (took.status === 'rejected') throw took.reason
  return { code: ended.value, said: said.trim() }
}

function missing(program: string, cause?: unknown): MayflyError {
  return new MayflyError('UNAVAILABLE', `Cannot run "${program}": the program is missing`, {
    hint: 'Images are built on Debian: apt-get install apt dpkg util-linux',
    cause,
  })
}
