import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { delimiter, join } from 'node:path'

/** Checkout, user and environment for running programs. */
export interface Place {
  readonly folder: string
  /** Command prefix that changes the user. */
  readonly become: readonly string[]
  readonly uid?: number
  readonly env: Readonly<Record<string, string | undefined>>
}

const root = join(import.meta.dirname, '..')
const programMsMax = 900_000

export const here: Place = { folder: root, become: [], env: withOwnPrograms(process.env, root) }

/** Puts the checkout's own programs, Node 26 among them, first on PATH. */
export function withOwnPrograms(env: Place['env'], folder: string): Place['env'] {
  const bin = join(folder, 'node_modules', '.bin')
  return { ...env, PATH: `${bin}${delimiter}${env['PATH'] ?? ''}` }
}

/** Runs a program with inherited streams and a timeout. Resolves to whether it exited with 0. */
export function runProgram(
  place: Place,
  command: readonly string[],
  msMax = programMsMax,
): Promise<boolean> {
  const [program = '', ...args] = [...place.become, ...command]
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const child = spawn(program, args, {
    cwd: place.folder,
    env: place.env,
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: true,
  })
  // SIGKILL to the process group: a spinning test ignores other signals, and its children are unknown here.
  const end = () => killGroup(child.pid)
  const timer = setTimeout(() => {
    console.error(`"${command.slice(0, 2).join(' ')}" did not end within ${msMax / 1000} s`)
    end()
  }, msMax)
  process.on('exit', end)
  child.on('error', (error) => {
    console.error(`Cannot start "${program}": ${error.message}`)
    resolve(false)
  })
  child.on('exit', (code) => {
    clearTimeout(timer)
    process.removeListener('exit', end)
    resolve(code === 0)
  })
  return promise
}

/** A separate process group gets no Ctrl-C from the terminal, so it is forwarded. */
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => process.exit(128 + constants.signals[signal]))

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // ESRCH: already ended.
  }
}
