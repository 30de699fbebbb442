import type { EnclosureSpec } from '../contract/engine.ts'
import type { StartedServer } from '../warden/start-server.ts'
import { hasEntry } from '../lib/has-entry.ts'
import { lastFlag, ownArguments } from '../lib/last-flag.ts'
import { wardenFlags } from '../lib/node-flags.ts'
import { stateFolder } from '../lib/state-folder.ts'
import { asksForHelp, isOrder, commandWords } from './command-line.ts'
import { ownCommand, ownProgram } from './own-command.ts'
import { takePrestartedWarden } from './prestart-warden.ts'

/** Commands that start walls. */
const walled = new Set([
  'run',
  'serve',
  'analyze',
  'inspect',
  'providers',
  'doctor',
  'bench',
  'mcp',
])

/**
 * True if this process becomes the warden and runs the command in a child: always for a server, and for any command
 * as root, so that no root process reads untrusted bytes. As an ordinary user, a single run does both in one
 * process.
 */
export function needsWardenParent(verb: string | undefined, argv: readonly string[]): boolean {
  const own = ownArguments(argv)
  const words = commandWords(argv)
  const isResume = verb === 'evidence' && words[1] === 'resume'
  if (process.env['MAYFLY_ROLE'] || !(isResume || walled.has(verb ?? ''))) return false
  if (asksForHelp(own)) return false
  if (verb === 'serve' && isOrder(own)) return false
  if (verb === 'mcp' && words.length > 1) return false
  return verb === 'serve' || process.getuid?.() === 0
}

/**
 * Re-executes a server's warden with small heaps, in the same process (execve). A single run is too short for this
 * to pay. Returns if not applicable.
 */
export function reexecWithSmallHeap(verb: string | undefined, argv: readonly string[]): void {
  if (
    verb !== 'serve' ||
    !needsWardenParent(verb, argv) ||
    process.execArgv.includes(wardenFlags[0])
  )
    return
  const args = [process.execPath, ...wardenFlags, ...process.execArgv, ownProgram, ...argv]
  if (process.platform === 'linux') process.execve?.(process.execPath, args, process.env)
}

/**
 * Commands that start over as the owner of the state folder: root must neither create root-owned files nor follow links
 * in a folder it does not own. Other commands use `state-owner.ts` once their arguments are parsed.
 */
const changing: Readonly<Record<string, readonly string[] | 'all'>> = {
  access: 'all',
  keys: ['trust', 'revoke', 'list'],
  policy: ['trust'],
}

/**
 * As root, re-executes a writing command as the owner of the state folder: a compromised server may have planted a
 * symlink there.
 */
export async function reexecAsStateOwner(
  verb: string | undefined,
  argv: readonly string[],
): Promise<void> {
  if (asksForHelp(ownArguments(argv))) return
  const words = changing[verb ?? '']
  if (!words || process.getuid?.() !== 0) return
  if (words !== 'all' && !words.includes(commandWords(argv)[1] ?? '')) return
  const isTrust = verb === 'policy'
  const folder = isTrust ? trustFolder(argv) : await folderOf(argv)
  const { strangerOwning } = await import('./state-owner.ts')
  const owner = strangerOwning(folder)
  if (!owner) return
  if (isTrust) (await import('./policy-trust.ts')).readAhead(argv)
  // The default folder depends on the uid.
  process.env['MAYFLY_STATE'] = folder
  const { startAs } = await import('../warden/step-down.ts')
  startAs(owner, ownCommand(argv))
}

/** Grace period for walls being released; after it the process exits in spite of leaked handles. */
const EXIT_MS_MAX = 5_000

/** Becomes the warden of a server, which may run already, until the command ends. Loads nothing that parses requests, sources or configurations. */
export async function runAsWarden(
  argv: readonly string[],
  ahead: readonly EnclosureSpec[],
  startedAhead?: StartedServer,
): Promise<void> {
  const code = await leadServer(argv, startedAhead ?? (await startOwnServer(argv)), ahead)
  process.exitCode =
    code === 'denied' ? await leadServer(argv, await startOwnServer(argv, true), []) : code
  setTimeout(() => process.exit(), EXIT_MS_MAX).unref()
}

async function leadServer(
  argv: readonly string[],
  started: StartedServer,
  ahead: readonly EnclosureSpec[],
): Promise<number | 'denied'> {
  try {
    if (isOnce(argv)) await import('../lib/interpret-schemas.ts')
    const early = await takePrestartedWarden(started.programs.stateFolder)
    const { becomeWarden } = await import('../warden/main.ts')
    return await becomeWarden({ ...started, early, ahead })
  } catch (error) {
    started.server.kill('SIGKILL')
    throw error
  }
}

/** Starts the server of this command line. Rejects with MayflyError if its state folder cannot be used. */
export async function startOwnServer(
  argv: readonly string[],
  readsAsRoot = false,
): Promise<StartedServer> {
  const stateFolder = await folderOf(argv)
  const { startServer } = await import('../warden/start-server.ts')
  return startServer({ argv, bin: ownProgram, stateFolder, isOnce: isOnce(argv), readsAsRoot })
}

/** True for a command that ends after a single job. */
const isOnce = (argv: readonly string[]): boolean => commandWords(argv)[0] === 'run'

/** Ignores the configuration file for the trust store: the file could otherwise choose it. */
function trustFolder(argv: readonly string[]): string {
  return stateFolder(process.env, process.getuid?.(), lastFlag(argv, '--state'))
}

/** Reads a configuration only if neither flag nor variable names the state folder. */
async function folderOf(argv: readonly string[]): Promise<string> {
  const given = lastFlag(argv, '--state')
  const file = lastFlag(argv, '--config') ?? process.env['MAYFLY_CONFIG']
  if (given || process.env['MAYFLY_STATE'] || (!file && !hasEntry('mayfly.toml'))) {
    return stateFolder(process.env, process.getuid?.(), given)
  }
  const { loadConfig } = await import('../config/load.ts')
  return loadConfig({ file, env: process.env, cwd: process.cwd() }).config.state
}
