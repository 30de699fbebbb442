import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { MayflyError } from '../contract/error.ts'
import { lastFlag } from '../lib/last-flag.ts'
import { findProgram } from '../os/find-program.ts'

/**
 * Programs of the operator: MCP servers that the configuration defines by a command.
 *
 * Problem: the server starts no process, and its requests must not contain a command, because it may be compromised.
 *
 * Mechanism: a request contains only a name. The warden starts a helper as the server's user, which reads the
 * configuration that this warden was started with, finds the command of that name and executes it. Its stdin and stdout
 * are one socket, which is passed to the server. A name has at most one program; the program gets EOF when the server
 * closes the socket, and a signal when its name is started again or the warden ends.
 *
 * Not handled: isolation. Such a program is as trusted as the configuration; it runs as the server's user without a
 * jail.
 */
export interface OperatorOptions {
  /** The command line, whose flags name the configuration. */
  readonly argv: readonly string[]
  readonly stateFolder: string
  /** Arguments of setpriv to become the server's user; empty if it has the warden's user. */
  readonly become: readonly string[]
}

const BECOMES = fileURLToPath(new URL('../mcp/operator-program.ts', import.meta.url))
/** Shell script that duplicates descriptor 3 to stdin and stdout. */
const ONTO_STREAMS = 'exec 0<&3 1>&3 3<&-; exec "$@"'
const FLAGS = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=1']
const KILL_AFTER_MS = 2_000
const valued = ['--config', '--state'] as const

export class OperatorPrograms {
  readonly #options: OperatorOptions
  readonly #live = new Map<string, ChildProcess>()

  constructor(options: OperatorOptions) {
    this.#options = options
  }

  /** Starts the program of a name, and ends an earlier one of that name. Throws MayflyError UNAVAILABLE. */
  async start(name: string): Promise<Socket> {
    const before = this.#live.get(name)
    if (before) await end(before)
    const [program = '', ...words] = this.#words(name)
    const child = spawn(program, words, {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      // A session of its own (setsid), so that its whole process group can be signalled.
      detached: true,
      env: { ...process.env, MAYFLY_STATE: this.#options.stateFolder },
    })
    const socket = child.stdio[3]
    this.#live.set(name, child)
    child.once('exit', () => {
      if (this.#live.get(name) === child) this.#live.delete(name)
    })
    child.on('error', () => undefined)
    child.unref()
    tellErrors(name, child)
    if (child.pid !== undefined && socket instanceof Socket) return socket
    this.#live.delete(name)
    throw new MayflyError('UNAVAILABLE', `Cannot start the program of "${name}"`)
  }

  async close(): Promise<void> {
    await Promise.all([...this.#live.values()].map(end))
  }

  #words(name: string): readonly string[] {
    const { argv, become } = this.#options
    const setpriv = findProgram('setpriv')
    const dying = setpriv ? [setpriv, ...become, '--pdeathsig', 'KILL', '--'] : []
    const flags = valued.flatMap((flag) => {
      const value = lastFlag(argv, flag)
      return value === undefined ? [] : [flag, value]
    })
    const program = [process.execPath, ...FLAGS, BECOMES, name, ...flags]
    return [...dying, '/bin/sh', '-c', ONTO_STREAMS, 'sh', ...program]
  }
}

/** Passes on what the program prints on stderr, with its name at the beginning. */
function tellErrors(name: string, { stderr }: ChildProcess): void {
  if (!stderr) return
  stderr.once('data', () => process.stderr.write(`MCP server ${JSON.stringify(name)}: `))
  stderr.on('data', (chunk: Uint8Array) => process.stderr.write(chunk))
  stderr.on('error', () => undefined)
  if (stderr instanceof Socket) stderr.unref()
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit').catch(() => undefined)
  signal(child, 'SIGTERM')
  const late = setTimeout(() => signal(child, 'SIGKILL'), KILL_AFTER_MS)
  await gone
  clearTimeout(late)
  signal(child, 'SIGKILL')
}

/** Signals its process group; ignores a group that is gone. */
function signal({ pid }: ChildProcess, name: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, name)
  } catch {
    // The group has ended.
  }
}
