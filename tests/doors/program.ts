import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../src/contract/clock.ts'
import { createKey, apiKeysFile } from '../../src/gateway/http/key-store.ts'
import type { Scope } from '../../src/gateway/http/keys.ts'
import { leaseFolder } from '../../src/lib/state-folder.ts'
import { identify, type ProcessIdentity } from '../../src/os/proc.ts'
import { descendantsOf } from '../hostile/proc.ts'

/** Runs the real command in temporary folders, and finds the processes that it leaves. */
export const bin = fileURLToPath(new URL('../../bin/mayfly.js', import.meta.url))

/** User of the command: the user of the tests, or a uid without a name and rights. */
export type Who = 'self' | 'ordinary'

const ordinaryUid = 12_345
const commandMsMax = 240_000
/** Deadline of a server that neither reports ready nor ends. */
const startMsMax = 120_000
const stopMsMax = 30_000
/** Time for stopped processes to leave the process table. */
const goneMsMax = 10_000

export interface Place {
  /** Working directory of commands; empty at first. */
  readonly cwd: string
  readonly state: string
  readonly env: NodeJS.ProcessEnv
  readonly become: readonly string[]
  remove(): void
}

/** Makes a working folder, a state folder and a home for one test. */
export function makePlace(who: Who = 'self'): Place {
  const base = mkdtempSync(join(tmpdir(), 'mayfly-door-'))
  // As root the server runs under another uid, which must reach its state folder.
  chmodSync(base, 0o711)
  const [cwd, state, home] = ['cwd', 'state', 'home'].map((name) => join(base, name))
  for (const folder of [cwd!, state!, home!]) {
    mkdirSync(folder, { mode: 0o755 })
    if (who === 'ordinary') chownSync(folder, ordinaryUid, ordinaryUid)
  }
  const { PATH, TMPDIR, XDG_CACHE_HOME } = process.env
  const own = who === 'self' && { TMPDIR, XDG_CACHE_HOME }
  // With CI set a run starts no background server; tests of that set it to ''.
  const env = { PATH, HOME: home, MAYFLY_STATE: state, CI: '1', ...own }
  return {
    cwd: cwd!,
    state: state!,
    env,
    become: who === 'self' ? [] : become,
    remove: () => rmSync(base, { recursive: true, force: true }),
  }
}

const become = ['/usr/bin/setpriv', '--reuid', `${ordinaryUid}`, '--regid', `${ordinaryUid}`]
become.push('--clear-groups', '--')

/** Reason why the tests cannot become an ordinary user, or false. */
export function noOrdinaryUser(): string | false {
  if (process.getuid?.() !== 0) return 'only root can become somebody else'
  try {
    const [program, ...args] = [...become, 'test', '-r', bin] as const
    execFileSync(program, args, { stdio: 'ignore' })
    return false
  } catch {
    return 'setpriv is missing, or an ordinary user cannot read the checkout'
  }
}

export interface Ran {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly stdin?: string
  readonly env?: NodeJS.ProcessEnv
  /** Called when the command has started. */
  readonly started?: (child: ChildProcess) => void
  /** Program to run in place of `bin`, such as a link to it. */
  readonly program?: string
}

/** Runs `mayfly ARGS` to its end. */
export async function mayfly(
  place: Place,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ran> {
  const child = start(place, args, options.env, 'pipe', options.program)
  const timer = setTimeout(() => child.kill('SIGKILL'), commandMsMax)
  const texts = [textOf(child.stdout!), textOf(child.stderr!)]
  child.stdin!.on('error', () => undefined)
  child.stdin!.end(options.stdin ?? '')
  options.started?.(child)
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  clearTimeout(timer)
  const [stdout = '', stderr = ''] = await Promise.all(texts)
  return { code, signal, stdout, stderr }
}

/** Parses stdout as one JSON document; throws if it is none, or more than one. */
export function documentOf({ stdout, stderr, code }: Ran): Record<string, any> {
  try {
    return JSON.parse(stdout) as Record<string, any>
  } catch (cause) {
    throw new Error(`No single JSON document (exit ${code}): ${stdout}\n${stderr}`, { cause })
  }
}

/** A started server; disposing it kills its remaining processes. */
export interface Server extends AsyncDisposable {
  readonly static: string
  readonly active: string
  readonly apiKey: string
  /** Pid of the server process. */
  readonly pid: number
  /** The started process, which is the warden of the server. */
  readonly child: ChildProcess
  readonly stderr: () => string
  /** Sends SIGTERM; resolves with its exit code and the processes that still exist. */
  stop(signal?: NodeJS.Signals): Promise<{ readonly code: number | null; readonly left: string[] }>
}

/** Starts `mayfly serve` on free ports and waits for its ready line. */
export async function startServer(
  place: Place,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<Server> {
  const child = start(place, ['serve', '--port', '0', '--json', ...args], env, 'ignore')
  let said = ''
  child.stderr!.on('data', (chunk: Buffer) => (said += String(chunk)))
  const ended = once(child, 'close') as Promise<[number | null]>
  const lines = createInterface(child.stdout!)
  const timer = setTimeout(() => child.kill('SIGKILL'), startMsMax)
  const [line] = (await Promise.race([once(lines, 'line'), ended])) as [unknown]
  clearTimeout(timer)
  if (typeof line !== 'string') throw new Error(`serve ended with ${String(line)}:\n${said}`)
  const ready = readyIn(line) as Pick<Server, 'static' | 'active' | 'apiKey' | 'pid'>
  return {
    ...ready,
    child,
    stderr: () => said,
    async stop(signal = 'SIGTERM') {
      const all = [child.pid!, ...descendantsOf(child.pid!)]
      child.kill(signal)
      const late: string[] = []
      const timer = setTimeout(() => {
        // Late processes go into the assertion message.
        const there = [child.pid!, ...descendantsOf(child.pid!)]
        late.push(...there.map((pid) => `late: ${pid} ${statOf(pid)}`), said.slice(-500))
        child.kill('SIGKILL')
      }, stopMsMax)
      const [code] = await ended
      clearTimeout(timer)
      return { code, left: [...late, ...(await remaining(all))] }
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

function readyIn(line: string): unknown {
  const ready = JSON.parse(line) as { readonly pid?: unknown }
  if (typeof ready.pid === 'number') return ready
  throw new Error(`serve said "${line}" in place of where it is`)
}

/** Waits until /readyz reports that the server can run jobs. */
export async function whenReady({ active }: Server): Promise<void> {
  const until = performance.now() + commandMsMax
  while (performance.now() < until) {
    const { ok } = await fetch(new URL('/readyz', active))
    if (ok) return
    await sleep(20)
  }
  throw new Error('The server did not become ready')
}

/** S0-3: time in which nothing may be left of a server that was killed. */
export const goneAfterKillMs = 5_000

/** Mounts that name a wall, and devices of virtual machines in the network of this machine. */
export function hostTraces(walls: readonly string[]): readonly string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  return [
    ...mounts.filter((line) => walls.some((wall) => line.includes(wall))),
    ...readdirSync('/sys/class/net').filter((device) => /^(?:tap|tun|mayfly)/.test(device)),
  ]
}

/** Processes of `pids` that still exist after a time: pid, name, state, parent. */
export async function remaining(pids: readonly number[], ms = goneMsMax): Promise<string[]> {
  return await remainingOf(pids.map(identify), ms)
}

/** The same of processes that were identified before: a pid is given to another process soon on a busy machine. */
export async function remainingOf(
  processes: readonly ProcessIdentity[],
  ms = goneMsMax,
): Promise<string[]> {
  const until = performance.now() + ms
  const alive = () =>
    processes.filter(({ pid, startTime }) => isThere(pid) && identify(pid).startTime === startTime)
  while (alive().length > 0 && performance.now() < until) await sleep(20)
  return alive().map(({ pid }) => `${pid} ${statOf(pid)}`)
}

/** Creates an API key in this state folder, which never expires. */
export function makeKey(
  { state }: Pick<Place, 'state'>,
  tenant: string,
  scopes: readonly Scope[] = ['run'],
): string {
  const asked = { tenant, scopes, expires: null, at: systemClock.date() }
  return createKey(apiKeysFile(state), asked, () => undefined).key
}

/** Names of the walls with a lease in the state folder. */
export function leasesIn({ state }: Pick<Place, 'state'>): readonly string[] {
  // The warden of a user that makes no folder beside that of the state keeps its own inside.
  const inside = join(state, 'warden/leases')
  try {
    return readdirSync(existsSync(inside) ? inside : leaseFolder(state))
  } catch {
    return []
  }
}

function start(
  place: Place,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  stdin: 'pipe' | 'ignore' = 'pipe',
  started = bin,
): ChildProcess {
  const [program = '', ...rest] = [...place.become, process.execPath, started, ...args]
  return spawn(program, rest, {
    cwd: place.cwd,
    env: { ...place.env, ...env },
    stdio: [stdin, 'pipe', 'pipe'],
  })
}

/** True if the process exists; an orphaned zombie that only process 1 must reap counts as gone. */
function isThere(pid: number): boolean {
  const stat = statOf(pid)
  return stat !== '' && !stat.endsWith(') Z 1 ')
}

/** Name, state and parent of a process; empty if it is gone. */
function statOf(pid: number): string {
  try {
    return /\(.*\) \S \d+ /s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[0] ?? ''
  } catch {
    return ''
  }
}

async function textOf(stream: NodeJS.ReadableStream): Promise<string> {
  let text = ''
  stream.setEncoding('utf8')
  for await (const chunk of stream) text += String(chunk)
  return text
}
