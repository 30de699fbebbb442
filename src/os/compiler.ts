import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { ownPath } from '../lib/own-path.ts'
import { findProgram } from './find-program.ts'
import { belowOf } from './process-tree.ts'

/** Compilers of Mayfly's own programs, which end with the process that needs them. */

const RUN_MS_MAX = 60_000
const STDERR_CHARACTERS_MAX = 65_536
/** A killed process takes its compiler along; what that had started ends by itself. */
const WITH_PARENT = ['--pdeathsig', 'KILL', '--']
/** Undefined: none may start any more. */
let atWork: Set<ChildProcess> | undefined = new Set()

export interface CompilerEnd {
  /** Exit code, or name of the signal that ended it: also after 60 s, and by `endCompilers`. */
  readonly code: number | string | null
  /** Beginning of what it wrote to stderr. */
  readonly stderr: string
}

/** Runs a compiler with FOLDER for its temporary files. Rejects if it cannot start, and after `endCompilers`. */
export async function runCompiler(words: readonly string[], folder: string): Promise<CompilerEnd> {
  if (!atWork) throw new Error('this process ends')
  const setpriv = findProgram('setpriv')
  const [program = '', ...args] = [...(setpriv ? [setpriv, ...WITH_PARENT] : []), ...words]
  const env = { PATH: ownPath(), TMPDIR: folder, LC_ALL: 'C' }
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], env })
  atWork.add(child)
  const timer = setTimeout(() => endWithOthers(child), RUN_MS_MAX)
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (stderr.length < STDERR_CHARACTERS_MAX) stderr += text
  })
  try {
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
    return { code: code ?? signal, stderr }
  } finally {
    clearTimeout(timer)
    atWork?.delete(child)
  }
}

/** Ends the compilers at work and lets none start: for a process that is told to end, whose end would wait for them. */
export function endCompilers(): void {
  for (const compiler of atWork ?? []) endWithOthers(compiler)
  atWork = undefined
}

/** Ends a compiler and what it started. In a session of its own it would compete with this process as an equal (autogroup). */
function endWithOthers(compiler: ChildProcess): void {
  const { pid, exitCode, signalCode } = compiler
  if (pid === undefined || exitCode !== null || signalCode !== null) return
  compiler.kill('SIGSTOP')
  for (const one of belowOf(pid)) endProcess(one)
  compiler.kill('SIGKILL')
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // The process has ended.
  }
}
