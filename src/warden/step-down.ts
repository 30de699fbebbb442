import { spawnSync } from 'node:child_process'
import { MayflyError } from '../contract/error.ts'
import { findProgram } from '../os/find-program.ts'

interface User {
  readonly uid: number
  readonly gid: number
}

/**
 * Replaces this process (execve) by a program as another user, without privileges of this one. Root only; never
 * returns.
 */
export function startAs(user: User, command: readonly string[]): never {
  const [setpriv, ...args] = becoming(user, command)
  process.execve?.(setpriv, [setpriv, ...args], process.env)
  throw new MayflyError(
    'STATE',
    'Cannot restart as another user: this version of Node has no execve',
  )
}

/** Limit of the output that is held in memory. */
const OUTPUT_BYTES_MAX = 256 * 2 ** 20
const SIGNALLED = 128

/** Runs a program to its end as another user, in `/`: the working directory may be closed to that user. */
export function runAs(
  user: User,
  command: readonly string[],
  env: NodeJS.ProcessEnv,
  io: { readonly stdout: 'inherit' | 'pipe' | number; readonly stderr: 'inherit' | 'pipe' },
): { readonly status: number; readonly stdout: string; readonly stderr: string } {
  const [setpriv, ...args] = becoming(user, command)
  const { status, error, stdout, stderr } = spawnSync(setpriv, args, {
    cwd: '/',
    env,
    encoding: 'utf8',
    maxBuffer: OUTPUT_BYTES_MAX,
    stdio: ['ignore', io.stdout, io.stderr],
  })
  if (error)
    throw new MayflyError('STATE', `Cannot act as uid ${user.uid}: ${error.message}`, {
      cause: error,
    })
  return { status: status ?? SIGNALLED, stdout: stdout ?? '', stderr: stderr ?? '' }
}

function becoming({ uid, gid }: User, command: readonly string[]): readonly [string, ...string[]] {
  const setpriv = findProgram('setpriv')
  if (!setpriv)
    throw new MayflyError('STATE', `Cannot act as uid ${uid}: setpriv is missing`, {
      hint: 'Install util-linux',
    })
  const become = ['--reuid', `${uid}`, '--regid', `${gid}`, '--clear-groups', '--no-new-privs']
  return [setpriv, ...become, '--', ...command]
}
