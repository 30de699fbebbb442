import { spawn } from 'node:child_process'
import { constants, existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { dirname } from 'node:path'
import { readyLine } from '../gateway/local/place.ts'
import { serverEnvironment } from '../gateway/local/server-name.ts'
import { mayAccess } from '../lib/may-access.ts'
import { wardenFlags } from '../lib/node-flags.ts'
import { ownProgram } from './own-command.ts'
import { isSet } from './surroundings.ts'

/** Reason why a run leaves no server behind; undefined if it may. */
export function whyLeaveNone(
  state: string,
  env: NodeJS.ProcessEnv,
  { pid, ppid }: Pick<NodeJS.Process, 'pid' | 'ppid'> = process,
): string | undefined {
  if (isSet(env['CI'])) return 'CI is set, so none is left behind'
  if (isSet(env['NODE_TEST_CONTEXT'])) return 'this is a test run, which leaves none behind'
  // The container ends with its process 1, so a server left behind by it, or by its only child, would be killed.
  if (pid === 1 || ppid === 1) return 'a server cannot outlive process 1'
  if (!isWritable(state)) return 'the state folder cannot be written'
  return undefined
}

/** Checks the nearest existing parent folder. */
function isWritable(folder: string): boolean {
  if (!existsSync(folder)) return folder !== dirname(folder) && isWritable(dirname(folder))
  return mayAccess(folder, constants.W_OK | constants.X_OK)
}

/**
 * Starts a server that outlives this command: in a session of its own (setsid), in `/`, with no fd and no environment
 * variable of the caller except those that are part of its name. Resolves to true when it accepts jobs, to false if it exited
 * before, as in a race with another server.
 */
export async function leaveServer(state: string, config: string | undefined): Promise<boolean> {
  const words = ['serve', '--for-run', '--state', state]
  if (config !== undefined) words.push('--config', config)
  const { inheritNothing } = await import('../warden/inherit-nothing.ts')
  if (!inheritNothing()) return false
  const server = spawn(process.execPath, [...wardenFlags, ownProgram, ...words], {
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
