import { existsSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import type { LoadedConfig } from '../config/load.ts'
import { attach, type AttachedServer } from '../gateway/local/client.ts'
import { localFolder } from '../gateway/local/place.ts'
import { serverName } from '../gateway/local/server-name.ts'
import { stateFolder } from '../lib/state-folder.ts'
import { holdAttachment, OwnRunNeeded, stayAlone } from './attachment.ts'
import { valueOf } from './command-words.ts'
import { leaveServer, whyLeaveNone } from './leave-server.ts'
import { actAsOwner, type OwnerRights } from './owner-rights.ts'
import { plainRun, type PlainRun } from './run-words.ts'

/** Flags of runs that no server answers, and why. */
const alone: Readonly<Record<string, string>> = {
  '--once': '--once',
  '--verbose': '--verbose prints events of its own rooms',
  '--help': '',
  '-h': '',
}

/** Server as this command line would find it. */
interface WantedServer {
  readonly plain: PlainRun | undefined
  readonly state: string
  /** Null if no file is part of the configuration. */
  readonly loaded: LoadedConfig | null
  /** Digest of the configuration; null without files. */
  readonly config: string | null
}

/**
 * Runs `mayfly run` by this user's server, before anything large is loaded; starts one to leave behind if there is none.
 * Resolves to false, with nothing read and nothing run, if the job is one for the command's own rooms: then the caller
 * goes on as if it had not asked. Throws what the command throws.
 */
export async function runAttached(
  argv: readonly string[],
  parse: () => Promise<void>,
): Promise<boolean> {
  const wanted = await wantedServer(argv)
  if (typeof wanted === 'string') return stay(wanted)
  const found = (await findServer(wanted)) ?? (await startServer(wanted))
  if (typeof found === 'string') return stay(found)
  const { server, rights, again } = found
  const { plain, loaded } = wanted
  const isRoot = process.getuid?.() === 0 && process.geteuid?.() !== 0
  holdAttachment({ first: server, again, loaded, isRoot, dropRights: rights.drop })
  try {
    if (!plain) await parse()
    else {
      const { runFile } = await import('./run-file.ts')
      await runFile(plain.file, plain.args, plain.flags)
    }
    return true
  } catch (thrown) {
    if (!(thrown instanceof OwnRunNeeded)) throw thrown
    rights.restore()
    return false
  } finally {
    holdAttachment(undefined)
  }
}

function stay(reason: string): false {
  stayAlone(reason)
  return false
}

/** The server to look for, or why this run asks none. */
async function wantedServer(argv: readonly string[]): Promise<WantedServer | string> {
  const dashes = argv.indexOf('--')
  const own = dashes < 0 ? argv : argv.slice(0, dashes)
  if (process.platform !== 'linux') return 'servers are left behind on Linux alone'
  const word = own.find((one) => Object.hasOwn(alone, one))
  if (word !== undefined) return alone[word]!
  if (process.env['MAYFLY_ROLE']) return whyItsWarden()
  const plain = hasPlainSurroundings(own) ? plainRun(argv) : undefined
  if (plain) return plainServer(plain, own)
  if (process.getuid?.() === 0) return 'root attaches for plain command lines alone'
  try {
    return await configuredServer(own)
  } catch {
    // The command's own way reports what is wrong.
    return 'its configuration cannot be used'
  }
}

/** The warden of this process has found none, and left none behind. */
function whyItsWarden(): string {
  const state = process.env['MAYFLY_STATE'] ?? '/'
  return whyLeaveNone(state, process.env, noParent) ?? 'root attaches for plain command lines alone'
}

/** The warden is no process 1, and its child cannot tell. */
const noParent = { pid: 0, ppid: 0 }

/** Whether defaults, version and state folder are the whole configuration. */
function hasPlainSurroundings(own: readonly string[]): boolean {
  const isSet = (name: string) => name.startsWith('MAYFLY_') && name !== 'MAYFLY_STATE'
  const isNamed = own.some((word) => word === '--config' || word.startsWith('--config='))
  return !isNamed && !existsSync('mayfly.toml') && !Object.keys(process.env).some(isSet)
}

function plainServer(plain: PlainRun, own: readonly string[]): WantedServer | string {
  // A pipe by its path under /proc is closed to who only acts as another user.
  const isFile = plain.file === '-' || statSync(plain.file, { throwIfNoEntry: false })?.isFile()
  if (process.getuid?.() === 0 && !isFile) return 'root attaches for regular files alone'
  try {
    const state = stateFolder(process.env, process.getuid?.(), valueOf(own, '--state'))
    return { plain, state, loaded: null, config: null }
  } catch {
    return 'nothing says where the state folder is'
  }
}

async function configuredServer(own: readonly string[]): Promise<WantedServer | string> {
  const [{ loadConfig }, { configDigest }] = await Promise.all([
    import('../config/load.ts'),
    import('./config-digest.ts'),
  ])
  const loaded = loadConfig({
    file: valueOf(own, '--config'),
    env: process.env,
    flags: { '--state': valueOf(own, '--state') },
    cwd: process.cwd(),
  })
  const config = configDigest(loaded)
  if (config === undefined) return 'its configuration names secrets or code of its own'
  return { plain: undefined, state: loaded.config.state, loaded, config }
}

interface FoundServer {
  readonly server: AttachedServer
  readonly rights: OwnerRights
  readonly again: () => Promise<AttachedServer | undefined>
}

/** Looks with the rights of the state folder's owner, and keeps them if it found one. */
async function findServer({ state, config }: WantedServer): Promise<FoundServer | undefined> {
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

async function startServer(wanted: WantedServer): Promise<FoundServer | string> {
  const { state, loaded } = wanted
  const reason = whyLeaveNone(state, process.env)
  if (reason !== undefined) return reason
  const [file] = loaded?.files ?? []
  const isThere = await leaveServer(state, file === undefined ? undefined : resolve(file))
  if (!isThere) return 'no server could be left behind'
  return (await findServer(wanted)) ?? 'no server could be left behind'
}
