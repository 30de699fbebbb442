import { ownArguments } from '../lib/last-flag.ts'
import type { StartedServer } from '../warden/start-server.ts'
import { needsWardenParent, startOwnServer } from './become-warden.ts'
import { positionals } from './command-line.ts'

/**
 * Part of the small bundle: starts the server of a root's single run while the large bundle is loaded, in place of after it.
 * Undefined for every other line, and where it cannot start: then the command starts it, and tells why it cannot.
 */
export async function startAhead(argv: readonly string[]): Promise<StartedServer | undefined> {
  const own = ownArguments(argv)
  const [verb] = positionals(own)
  if (process.platform !== 'linux' || verb !== 'run' || !needsWardenParent(verb, own))
    return undefined
  return await startOwnServer(argv).catch(() => undefined)
}
