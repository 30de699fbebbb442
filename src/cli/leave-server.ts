import { spawn } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readyLine } from '../gateway/local/place.ts'
import { serverEnvironment } from '../gateway/local/server-name.ts'
import { smallHeap } from './small-heap.ts'

const BIN = fileURLToPath(new URL('../../bin/mayfly.js', import.meta.url))

/** Reason why a run leaves no server behind; undefined if it may. */
export function whyLeaveNone(
  state: string,
  env: NodeJS.ProcessEnv,
  { pid, ppid }: Pick<NodeJS.Process, 'pid' | 'ppid'> = process,
): string | undefined {
  if (isSet(env['CI'])) return 'CI is set, so none is left behind'
  if (isSet(env['NODE_TEST_CONTEXT'])) return 'this is a test run, which leaves none behind'
  // Process 1 of a container, or its only child, takes the container along when it ends.
  if (pid === 1 || ppid === 1) return 'process 1 leaves none behind'
  if (!isWritable(state)) return 'the state folder cannot be written'
  return undefined
}

/** `CI=false` counts as unset. */
function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== '' && value !== 'false' && value !== '0'
}

/** Looks at the nearest folder that exists. */
function isWritable(folder: string): boolean {
  if (!existsSync(folder)) return folder !== dirname(folder) && isWritable(dirname(folder))
  try {
    accessSync(folder, constants.W_OK | constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * Starts a server that outlives this command: in a session of its own (setsid), in `/`, with no descriptor and no variable
 * of the caller's but those that are part of its name. Resolves to true when it takes jobs, to false when it ended before:
 * another may have been faster.
 */
export async function leaveServer(state: string, config: string | undefined): Promise<boolean> {
  const words = ['serve', '--for-run', '--state', state]
  if (config !== undefined) words.push('--config', config)
  const { inheritNothing } = await import('../warden/inherit-nothing.ts')
  if (!inheritNothing()) return false
  const server = spawn(process.execPath, [...smallHeap, BIN, ...words], {
    cwd: '/',
    detached: true,
    // The pipe is closed after its first line.
    stdio: ['ignore', 'pipe', 'ignore'],
    env: serverEnvironment(process.env),
  })
  server.once('error', () => undefined)
  try {
    for await (const line of createInterface(server.stdout)) return line === readyLine
    return false
  } finally {
    server.stdout.destroy()
    server.unref()
  }
}
