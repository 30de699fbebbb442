import { spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { MayflyError } from '../contract/error.ts'
import { ownPath } from '../lib/own-path.ts'

/**
 * Runs the programs that make images: apt's downloader, dpkg-deb, mkfs.erofs. Each is killed with this process by a
 * parent-death signal, and by SIGKILL after `msMax`. Used by the command line only, never by a server.
 */
export interface ToolRun {
  readonly command: readonly [string, ...string[]]
  readonly msMax: number
  /** True to pass all variables of this process, for its proxy settings; by default PATH only. */
  readonly hasEnvironment?: boolean
  /** Reads stdout to its end; rejects to end the program. */
  readonly read?: (stdout: Readable) => Promise<void>
  readonly signal?: AbortSignal | undefined
}

export interface ToolEnd {
  /** Exit code; null after a signal. */
  readonly code: number | null
  /** Last bytes of stderr. */
  readonly stderr: string
}

const stderrBytesMax = 8192

/** Throws MayflyError UNAVAILABLE if the program is missing, and rethrows errors of `read`. */
export async function runTool({
  command,
  msMax,
  hasEnvironment = false,
  read,
  signal,
}: ToolRun): Promise<ToolEnd> {
  signal?.throwIfAborted()
  const own = { PATH: ownPath(), LC_ALL: 'C' }
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
  let stderr = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-stderrBytesMax)
  })
  const reading = read && child.stdout ? read(child.stdout) : Promise.resolve()
  reading.catch(() => child.kill('SIGKILL'))
  const [ended, took] = await Promise.allSettled([promise, reading])
  if (ended.status === 'rejected') throw ended.reason
  if (ended.value === 127) throw missing(command[0])
  // If the reader failed, the program failed because of that: the reader's error is the cause.
  if (took.status === 'rejected') throw took.reason
  return { code: ended.value, stderr: stderr.trim() }
}

function missing(program: string, cause?: unknown): MayflyError {
  return new MayflyError('UNAVAILABLE', `Cannot run "${program}": the program is missing`, {
    hint: 'Images are built on Debian: apt-get install apt dpkg util-linux',
    cause,
  })
}
