import { resolve } from 'node:path'
import {
  findServer,
  ownWords,
  plainLine,
  plainServer,
  runBy,
  runLine,
  type FoundServer,
  type WantedServer,
} from './attach-plain.ts'
import { stayAlone } from './attachment.ts'
import { valueOf } from './command-words.ts'
import { leaveServer, whyLeaveNone } from './leave-server.ts'

/** Flags of runs that no server answers, and why. */
const alone: Readonly<Record<string, string>> = {
  '--once': '--once',
  '--verbose': '--verbose prints events of its own rooms',
  '--help': '',
  '-h': '',
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
  const { plain } = wanted
  return runBy(found, wanted, plain ? () => runLine(plain) : parse)
}

function stay(reason: string): false {
  stayAlone(reason)
  return false
}

/** The server to look for, or why this run asks none. */
async function wantedServer(argv: readonly string[]): Promise<WantedServer | string> {
  const own = ownWords(argv)
  if (process.platform !== 'linux') return 'servers are left behind on Linux alone'
  const word = own.find((one) => Object.hasOwn(alone, one))
  if (word !== undefined) return alone[word]!
  if (process.env['MAYFLY_ROLE']) return whyItsWarden()
  const plain = plainLine(argv, own)
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

async function startServer(wanted: WantedServer): Promise<FoundServer | string> {
  const { state, loaded } = wanted
  const reason = whyLeaveNone(state, process.env)
  if (reason !== undefined) return reason
  const [file] = loaded?.files ?? []
  const isThere = await leaveServer(state, file === undefined ? undefined : resolve(file))
  if (!isThere) return 'no server could be left behind'
  return (await findServer(wanted)) ?? 'no server could be left behind'
}
