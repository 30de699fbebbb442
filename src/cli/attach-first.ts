import { resolve } from 'node:path'
import { lastFlag, ownArguments } from '../lib/last-flag.ts'
import {
  findServer,
  plainLine,
  plainServer,
  runBy,
  runLine,
  type ReachableServer,
  type WantedServer,
} from './attach-plain.ts'
import { stayAlone } from './attachment.ts'
import { leaveServer, whyLeaveNone } from './leave-server.ts'

/** Flags with which a run uses no server, with the reason. */
const serverless: Readonly<Record<string, string>> = {
  '--once': '--once',
  '--verbose': '--verbose prints events of this process',
  '--help': '',
  '-h': '',
}

/**
 * Runs `mayfly run` on this user's server, before large modules are loaded; starts a server to leave behind if there is none.
 * Resolves to false, with nothing read and nothing run, if this process must run the job itself; the caller then
 * continues without a server. Throws the errors of the command.
 */
export async function runAttached(
  argv: readonly string[],
  parse: () => Promise<void>,
  keepCode?: () => void,
): Promise<boolean> {
  const wanted = await wantedServer(argv)
  if (typeof wanted === 'string') return stay(wanted)
  const found = (await findServer(wanted)) ?? (await startServer(wanted))
  if (typeof found === 'string') return stay(found)
  const { plain } = wanted
  return runBy(found, wanted, plain ? () => runLine(plain) : parse, keepCode)
}

function stay(reason: string): false {
  stayAlone(reason)
  return false
}

/** Server to look for, or the reason why this run uses none. */
async function wantedServer(argv: readonly string[]): Promise<WantedServer | string> {
  const own = ownArguments(argv)
  if (process.platform !== 'linux') return 'servers are left behind on Linux alone'
  const word = own.find((one) => Object.hasOwn(serverless, one))
  if (word !== undefined) return serverless[word]!
  if (process.env['MAYFLY_ROLE']) return whyItsWarden()
  const plain = plainLine(argv, own)
  if (plain) return plainServer(plain, own)
  if (process.getuid?.() === 0) return 'root attaches for plain command lines alone'
  try {
    return await configuredServer(own)
  } catch {
    // The run without a server reports the error.
    return 'its configuration cannot be used'
  }
}

/** Reason, as passed on by the parent warden, which found no server and left none behind. */
function whyItsWarden(): string {
  const state = process.env['MAYFLY_STATE'] ?? '/'
  return whyLeaveNone(state, process.env, noParent) ?? 'root attaches for plain command lines alone'
}

/** Stands for the pids of the warden, which its child cannot check: the warden is not process 1. */
const noParent = { pid: 0, ppid: 0 }

async function configuredServer(own: readonly string[]): Promise<WantedServer | string> {
  const [{ loadConfig }, { configDigest }] = await Promise.all([
    import('../config/load.ts'),
    import('./config-digest.ts'),
  ])
  const loaded = loadConfig({
    file: lastFlag(own, '--config'),
    env: process.env,
    flags: { '--state': lastFlag(own, '--state') },
    cwd: process.cwd(),
  })
  const config = configDigest(loaded)
  if (config === undefined) return 'its configuration contains secrets or provider modules'
  return { plain: undefined, state: loaded.config.state, loaded, config }
}

async function startServer(wanted: WantedServer): Promise<ReachableServer | string> {
  const { state, loaded } = wanted
  const reason = whyLeaveNone(state, process.env)
  if (reason !== undefined) return reason
  const [file] = loaded?.files ?? []
  const isThere = await leaveServer(state, file === undefined ? undefined : resolve(file))
  if (!isThere) return 'no server could be left behind'
  return (await findServer(wanted)) ?? 'no server could be left behind'
}
