import { existsSync, statSync } from 'node:fs'
import type { LoadedConfig } from '../config/load.ts'
import { attach, type AttachedServer } from '../gateway/local/client.ts'
import { localFolder } from '../gateway/local/place.ts'
import { serverName } from '../gateway/local/server-name.ts'
import { hasEntry } from '../lib/has-entry.ts'
import { lastFlag, ownArguments } from '../lib/last-flag.ts'
import { stateFolder } from '../lib/state-folder.ts'
import { holdAttachment, OwnRunNeeded } from './attachment.ts'
import { hasFlag } from './command-line.ts'
import { actAsOwner, type OwnerRights } from './owner-rights.ts'
import { printError } from './print.ts'
import { unwatchReaders, watchReaders } from './broken-pipe.ts'
import { runFile } from './run-file.ts'
import { plainRun, type PlainRun } from './plain-run.ts'

/** Server that a command line would use. */
export interface WantedServer {
  readonly plain: PlainRun | undefined
  readonly state: string
  /** Null if no file is part of the configuration. */
  readonly loaded: LoadedConfig | null
  /** Digest of the configuration; null without files. */
  readonly config: string | null
}

export interface ReachableServer {
  readonly server: AttachedServer
  readonly rights: OwnerRights
  readonly again: () => Promise<AttachedServer | undefined>
}

/** Flags that need modules missing in the small bundle, and stdin as source, which cannot be read twice. */
const large = new Set(['--explain', '-'])

/**
 * Entry of the small bundle: `mayfly run` on this user's server, for lines that need neither parser nor configuration.
 * Resolves to false, with nothing run and no stdin read, for every other line, without a server, and if a module is
 * needed that the small bundle lacks; the full command then runs. Never throws. A root process calls
 * `keepCode` before it drops its rights.
 */
export async function runPlain(
  argv: readonly string[],
  keepCode: () => void = () => undefined,
): Promise<boolean> {
  const own = ownArguments(argv)
  const plain = own.some((word) => large.has(word)) ? undefined : plainLine(argv, own)
  if (!plain || process.platform !== 'linux' || process.env['MAYFLY_ROLE']) return false
  const wanted = plainServer(plain, own)
  if (typeof wanted === 'string') return false
  try {
    const found = await findServer(wanted)
    if (!found) return false
    watchReaders()
    if (await runBy(found, wanted, () => runLine(plain), keepCode)) return true
    unwatchReaders()
    return false
  } catch (thrown) {
    printError(thrown, hasFlag(own, '--json'))
    return true
  }
}

/** Starts the server of a root's single run before the large bundle is loaded; undefined if that is left to it. */
export const startAhead = async (argv: readonly string[]): Promise<unknown> =>
  (await import('./start-ahead.ts')).startAhead(argv)

/** Parses a line that needs no parser and no configuration file; undefined for any other. */
export function plainLine(argv: readonly string[], own: readonly string[]): PlainRun | undefined {
  const isSet = (name: string) => name.startsWith('MAYFLY_') && name !== 'MAYFLY_STATE'
  const isPlain =
    !hasFlag(own, '--config') && !Object.keys(process.env).some(isSet) && !hasEntry('mayfly.toml')
  return isPlain ? plainRun(argv) : undefined
}

/** The server to look for, or why this run asks none. */
export function plainServer(plain: PlainRun, own: readonly string[]): WantedServer | string {
  // A pipe cannot be opened by its path under /proc after seteuid(2).
  const isFile = plain.file === '-' || statSync(plain.file, { throwIfNoEntry: false })?.isFile()
  if (process.getuid?.() === 0 && !isFile) return 'root attaches for regular files alone'
  try {
    const state = stateFolder(process.env, process.getuid?.(), lastFlag(own, '--state'))
    return { plain, state, loaded: null, config: null }
  } catch {
    return 'the state folder is not known'
  }
}

/** Looks for a server with the rights of the state folder's owner, and keeps these rights if it found one. */
export async function findServer({
  state,
  config,
}: Pick<WantedServer, 'state' | 'config'>): Promise<ReachableServer | undefined> {
  const folder = localFolder(state)
  if (!existsSync(folder)) return undefined
  const rights = actAsOwner(state)
  if (!rights) return undefined
  const name = serverName({ state, config, env: process.env })
  const again = () => attach(folder, name)
  const server = await again().catch(() => undefined)
  if (server) return { server, rights, again }
  rights.restore()
  return undefined
}

export function runLine({ file, args, flags }: PlainRun): Promise<void> {
  return runFile(file, args, flags)
}

/**
 * Runs a line on the given server. Resolves to false, with root's rights restored, if this process must run the job itself;
 * then nothing of it ran. Throws the errors of the command.
 */
export async function runBy(
  { server, rights, again }: ReachableServer,
  { loaded }: Pick<WantedServer, 'loaded'>,
  run: () => Promise<void>,
  keepCode?: () => void,
): Promise<boolean> {
  const isRoot = process.getuid?.() === 0 && process.geteuid?.() !== 0
  let isTaken = false
  const dropRights = () => {
    isTaken = true
    rights.drop(keepCode)
  }
  holdAttachment({ first: server, again, loaded, isRoot, dropRights })
  try {
    await run()
    return true
  } catch (thrown) {
    // The server accepted the job: a second run could execute it twice.
    if (isTaken || !(thrown instanceof OwnRunNeeded)) throw thrown
    rights.restore()
    return false
  } finally {
    holdAttachment(undefined)
  }
}
