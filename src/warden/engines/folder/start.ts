import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync } from 'node:fs'
import { createServer, Socket, type Server } from 'node:net'
import { constants } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { isatty } from 'node:tty'
import type {
  FolderEnd,
  FolderLimit,
  FolderRefusal,
  FolderWall,
  FolderWallSpec,
} from '../../../contract/folder.ts'
import { folderWallArguments } from '../../../jail/folder.ts'
import type { CProgram, CProgramLookup } from '../../../jail/c-program.ts'
import { openOwnProgram } from '../../../jail/own-programs.ts'
import { BoundedOutput } from '../../../lib/bounded-output.ts'
import { newId } from '../../../lib/id.ts'
import { parseJson } from '../../../lib/parse-json.ts'
import { killsAtLimit, type Cgroup } from '../../../os/cgroup-interface.ts'
import { openCgroups } from '../../../os/cgroup.ts'
import { copyDescriptor, pipe } from '../../../os/libc.js'

/**
 * Starts the wall of a command, and reports its events.
 *
 * Problem. The caller's own descriptors are inherited by the wall, so this process must not read them, and the wall must not
 * get the caller's terminal: where its output is captured, it has no terminal that could replace that one. Signals to this
 * process must reach the command.
 *
 * Mechanism. The child is `guest/folder/folder.c`. It reports in lines of JSON, which are written outside of the wall
 * and are trusted. Signals to this process are forwarded; the child filters out duplicates that it received itself as a
 * member of the same process group.
 */
export interface FolderWallParts {
  readonly program: CProgram
  readonly spec: FolderWallSpec
  readonly variables: Readonly<Record<string, string>>
  /** Captures stdout and stderr, in place of the caller's own. */
  readonly captures?: boolean
  readonly started: () => void
  readonly refused: (refusal: FolderRefusal) => void
  /** Called with the listening socket inside the wall, on which the egress path accepts. */
  readonly listening?: ((server: Server) => void) | undefined
}

const passedSignals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2', 'SIGCONT'] as const
/**
 * Descriptors of the child after the standard streams: reports, start errors, environment variables, its own program.
 */
const PROGRAM_FD = 6
const OUTPUT_BYTES_MAX = 16 * 2 ** 20
const FAILURE_CHARACTERS_MAX = 1000
/** Processes of the wall that are not the command's: PID 1, and the one that sums its memory. */
const OWN_PROCESSES = 2

export function openFolderProgram(): Promise<CProgramLookup> {
  return openOwnProgram('folder')
}

export function startFolderWall(parts: FolderWallParts): FolderWall {
  const { program, captures = false } = parts
  const group = groupFor(parts.spec)
  const isMemoryHeld = group?.controllers.includes('memory') === true
  const spec = { ...parts.spec, groups: group?.entryFiles(), isMemoryHeld }
  using outputs = captures ? openOutputs() : undefined
  const [output, errors] = outputs?.given ?? (['inherit', 'inherit'] as const)
  const input = captures && isatty(0) ? 'ignore' : 'inherit'
  const began = performance.now()
  const child = spawn(`/proc/self/fd/${PROGRAM_FD}`, [...folderWallArguments(spec)], {
    argv0: 'mayfly-folder',
    env: {},
    stdio: [input, output, errors, 'pipe', 'pipe', 'pipe', program.fd],
  })
  const [, , , reports, failures, variables] = child.stdio as unknown as [
    unknown,
    unknown,
    unknown,
    Readable,
    Readable,
    Writable,
  ]
  variables.on('error', () => undefined)
  variables.end(textOf(parts.variables))
  const passing = passSignals(child)
  const reported = listen(reports, parts, child)
  const failure = collect(failures, FAILURE_CHARACTERS_MAX)
  const streams = outputs?.streams ?? []
  const captured = streams.map((stream) => collectBytes(stream))
  const read = Promise.allSettled(streams.map((stream) => finished(stream)))
  const ended = new Promise<FolderEnd>((resolve) => {
    child.once('error', (error) => resolve({ code: null, signal: null, notStarted: error.message }))
    child.once('close', async (_code, signal) => {
      await read
      const { end } = reported
      const why = failure().replace(/^E/, '')
      const isLate = !end && signal === 'SIGKILL' && isOver(parts.spec, began)
      const whole = wasFull(group, end) ? 'memory' : undefined
      const limit = reported.limit ?? (isLate ? 'timeout' : whole)
      group?.remove()
      resolve({
        ...(end ?? { code: null, signal: null }),
        unkept: reported.unkept,
        ...(limit && { limit }),
        ...(!end && !limit && why !== '' && { notStarted: why }),
        ...(captures && capturedBy(captured[0]!(), captured[1]!())),
      })
    })
  })
  void ended.then(passing.stop)
  return { ended, kill: () => void child.kill('SIGKILL') }
}

/**
 * Pipes for captured output. Node's own are sockets, which a command cannot open by /dev/stdout. The ends of the command are closed here
 * once it has them.
 */
function openOutputs() {
  const pipes = [pipe(), pipe()]
  const streams = pipes.map(({ read }) => new Socket({ fd: read, readable: true, writable: false }))
  return {
    given: [pipes[0]!.write, pipes[1]!.write] as const,
    streams,
    [Symbol.dispose]: () => pipes.forEach(({ write }) => closeSync(write)),
  }
}

/** Cgroup with limits of memory and processes, if this user may create one. */
function groupFor({ memoryBytes, processes }: FolderWallSpec): Cgroup | undefined {
  const name = newId('folder')
  try {
    const group = openCgroups()?.create(name, ['memory', 'pids'])
    if (!group) return undefined
    const pids = group.controllers.includes('pids') && { pids: processes + OWN_PROCESSES }
    group.limit({ memory: memoryBytes, ...pids })
    return group
  } catch {
    openCgroups()?.remove(name)
    return undefined
  }
}

/** True once the time limit is over: the kernel then kills a child that was stopped and could not report it. */
function isOver({ timeoutMs }: FolderWallSpec, began: number): boolean {
  return timeoutMs !== undefined && performance.now() - began > timeoutMs
}

/** True if the kernel killed a process at the memory limit of the cgroup, and the command failed after that. A full machine kills too. */
function wasFull(group: Cgroup | undefined, end: FolderReports['end']): boolean {
  const { code, signal } = end ?? { code: null, signal: constants.signals.SIGKILL }
  const isFailed = code === null ? signal === constants.signals.SIGKILL : code !== 0
  return isFailed && killsAtLimit(group) > 0
}

function textOf(variables: Readonly<Record<string, string>>): string {
  return Object.entries(variables)
    .map(([name, value]) => `${name}=${value}\0`)
    .join('')
}

function passSignals(child: ChildProcess): { readonly stop: () => void } {
  const listeners = passedSignals.map((name) => {
    const pass = () => void child.kill(name)
    process.on(name, pass)
    return () => process.off(name, pass)
  })
  return { stop: () => listeners.forEach((stop) => stop()) }
}

interface FolderReports {
  end?: Pick<FolderEnd, 'code' | 'signal'>
  readonly unkept: string[]
  limit?: FolderLimit
}

type Report =
  | { readonly kind: 'started' | 'killed' }
  | { readonly kind: 'ended'; readonly code: number; readonly signal: number }
  | { readonly kind: 'limit'; readonly limit: FolderLimit }
  | { readonly kind: 'listening'; readonly fd: number }
  | { readonly kind: 'unkept'; readonly path: string }
  | ({ readonly kind: 'refused' } & FolderRefusal)

function listen(reports: Readable, parts: FolderWallParts, child: ChildProcess): FolderReports {
  const reported: FolderReports = { unkept: [] }
  let rest = ''
  reports.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) take(parseJson(line) as Report)
  })
  return reported

  function take(report: Report): void {
    if (report.kind === 'started') parts.started()
    else if (report.kind === 'refused') {
      const { what, path, rule, name, program } = report
      parts.refused({ what, path, rule, name, ...(program && { program }) })
    } else if (report.kind === 'limit') reported.limit = report.limit
    else if (report.kind === 'listening') adopt(report.fd)
    else if (report.kind === 'unkept') reported.unkept.push(report.path)
    else if (report.kind === 'ended') {
      const { code, signal } = report
      reported.end = signal === 0 ? { code, signal: null } : { code: null, signal }
    }
  }

  /** Copies the listening socket from the child (pidfd_getfd). */
  function adopt(fd: number): void {
    const server = createServer({ pauseOnConnect: false })
    server.listen({ fd: copyDescriptor(child.pid!, fd) })
    parts.listening?.(server)
  }
}

function collect(stream: Readable, charactersMax: number): () => string {
  let text = ''
  stream
    .setEncoding('utf8')
    .on('data', (more: string) => void (text = (text + more).slice(0, charactersMax)))
  return () => text
}

interface Captured {
  readonly bytes: Uint8Array
  readonly isCut: boolean
}

/** Keeps the beginning and the end; all is read, so that the command does not block. */
function collectBytes(stream: Readable): () => Captured {
  const output = new BoundedOutput(OUTPUT_BYTES_MAX)
  stream.on('data', (chunk: Buffer) => output.add(chunk))
  return () => {
    const { bytes, leftOut } = output.within(OUTPUT_BYTES_MAX)
    return { bytes, isCut: leftOut > 0 }
  }
}

function capturedBy(stdout: Captured, stderr: Captured) {
  const truncated = { stdout: stdout.isCut, stderr: stderr.isCut }
  return { stdout: stdout.bytes, stderr: stderr.bytes, truncated }
}
