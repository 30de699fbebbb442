import { spawn } from 'node:child_process'
import { delimiter, join } from 'node:path'

/** Where and as whom programs run: this checkout as we are, or a copy of it as somebody else. */
export interface Place {
  readonly folder: string
  /** Put before each command, to become somebody else. */
  readonly become: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
}

const root = join(import.meta.dirname, '..')
const stepMsMax = 900_000

export const here: Place = { folder: root, become: [], env: withOwnPrograms(process.env, root) }

/** The environment with a checkout's own programs, Node 26 among them, first on its path. */
export function withOwnPrograms(env: Place['env'], folder: string): Place['env'] {
  const bin = join(folder, 'node_modules', '.bin')
  return { ...env, PATH: `${bin}${delimiter}${env['PATH'] ?? ''}` }
}

/** Runs a program with our streams, for 15 minutes at most. Resolves to whether it exited with 0. */
export function runProgram(place: Place, command: readonly string[]): Promise<boolean> {
  const [program = '', ...args] = [...place.become, ...command]
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: place.folder,
      env: place.env,
      stdio: ['ignore', 'inherit', 'inherit'],
      timeout: stepMsMax,
    })
    child.on('error', (error) => {
      console.error(`Cannot start "${program}": ${error.message}`)
      resolve(false)
    })
    child.on('exit', (code, signal) => {
      if (signal) console.error(`"${program}" ended by ${signal}`)
      resolve(code === 0)
    })
  })
}
