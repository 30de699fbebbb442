import { execFileSync, spawnSync } from 'node:child_process'
import { bin, type Place } from './program.ts'

/** The command on a terminal, which script(1) makes. */

/** Reason to skip: `script` is missing. */
export function noTerminal(): string | false {
  return spawnSync('script', ['--version']).status === 0 ? false : 'script is missing'
}

/** Runs `mayfly` with a text that a shell reads; returns what the terminal got. Throws if the shell fails. */
export function onTerminal(
  { cwd, env }: Pick<Place, 'cwd' | 'env'>,
  line: string,
  more: NodeJS.ProcessEnv = {},
): string {
  return execFileSync('script', ['-qec', `'${process.execPath}' '${bin}' ${line}`, '/dev/null'], {
    cwd,
    env: { ...env, TERM: 'xterm', ...more },
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  })
}
