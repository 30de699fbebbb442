import { statSync, lstatSync, type Stats } from 'node:fs'
import * as z from 'zod'
import { checkpointSchema, type Checkpoint } from '../contract/evidence.ts'
import { MayflyError } from '../contract/error.ts'
import { parseJson, tryParseJson } from '../lib/parse-json.ts'
import { runAs } from '../warden/step-down.ts'
import { loadCliConfig } from './open-assembly.ts'
import { ownCommand } from './own-command.ts'
import type { Globals } from './print.ts'

/**
 * Commands that read or write the stores of a state folder act as its owner.
 *
 * The folder belongs to the server's uid; a compromised server may have planted a symbolic link, a FIFO or a malformed
 * database there. A command of root's reads its configuration and arguments, runs itself once more as the owner, who
 * does the rest, and writes the files that only root may write (`--write`, `audit export FILE`, `evidence extract`).
 * Output of the second process is data of the owner's: checked before use, escaped when printed.
 *
 * Relies on setpriv(1) with no_new_privs. Not handled: a folder of root's, in which only root writes.
 */
export interface StateOwner {
  readonly uid: number
  readonly gid: number
}

/** Facts that root reads for the process that acts as the owner. */
export interface OwnerTask {
  readonly state: string
  /** Last head that the signer signed; its folder is root's. */
  readonly signed?: Checkpoint | undefined
}

const TASK = 'MAYFLY_OWNER_TASK'
const taskSchema = z.strictObject({ state: z.string(), signed: checkpointSchema.optional() })

/** Task of this process, if it acts as the owner. */
export function ownerTask(): OwnerTask | undefined {
  const text = process.env[TASK]
  return text === undefined ? undefined : taskSchema.parse(parseJson(text))
}

/** State folder of this command; the configuration may be closed to the owner, so the task names it there. */
export function stateFolderOf(flags: Globals): string {
  return ownerTask()?.state ?? loadCliConfig(flags).config.state
}

/** Owner of a state folder if this process is root and the folder is not; a link counts for its own owner. */
export function strangerOwning(state: string): StateOwner | undefined {
  if (process.getuid?.() !== 0) return undefined
  const link = lstatSync(state, { throwIfNoEntry: false })
  const folder = statSync(state, { throwIfNoEntry: false })
  return [folder, link].find((one): one is Stats => one !== undefined && one.uid !== 0)
}

export interface OwnerRun {
  readonly task: OwnerTask
  readonly words: readonly string[]
  /** Descriptor for stdout; `pipe` returns the text. */
  readonly stdout: 'pipe' | number
  /** True if exit code 1 is a result too. */
  readonly isCheck?: boolean
}

/** Runs the command of this process as the owner, to its end, and adopts its exit code. */
export function runAsOwner(owner: StateOwner, task: OwnerTask): void {
  const io = { stdout: 'inherit', stderr: 'inherit' } as const
  process.exitCode = runAs(owner, ownCommand(process.argv.slice(2)), environment(task), io).status
}

/** Like `runAsOwner`, but returns stdout. Throws MayflyError STATE with the text of stderr if it fails. */
export function outputOfOwner(
  owner: StateOwner,
  { task, words, stdout, isCheck }: OwnerRun,
): string {
  const io = { stdout, stderr: 'pipe' } as const
  const ran = runAs(owner, ownCommand(words), environment(task), io)
  if (ran.status === 0 || (isCheck && ran.status === 1 && errorIn(ran.stdout) === ''))
    return ran.stdout
  const errors = ran.stderr.replace(/^mayfly: /, '').trim() || errorIn(ran.stdout)
  throw new MayflyError(
    'STATE',
    errors || `Cannot act as uid ${owner.uid}: the process exited with ${ran.status}`,
  )
}

const errorSchema = z.object({ error: z.object({ message: z.string() }) })

/** Message of an error that was printed as JSON; empty if this is none. */
function errorIn(stdout: string): string {
  const read = errorSchema.safeParse(tryParseJson(stdout))
  return read.success ? read.data.error.message : ''
}

function environment(task: OwnerTask): NodeJS.ProcessEnv {
  // The default folder depends on the uid.
  return { ...process.env, MAYFLY_STATE: task.state, [TASK]: JSON.stringify(task) }
}
