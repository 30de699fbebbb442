import { statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import manifest from '../../../package.json' with { type: 'json' }
import { canonicalJson } from '../../lib/canonical-json.ts'
import { sha256 } from '../../lib/hash.ts'

/**
 * Name of the server that may answer a run: a digest of everything that decides how a job ends there and that the job
 * itself does not bring. A run whose name differs in anything starts a server of its own, or runs by itself.
 */
export interface ServerSurroundings {
  /** Absolute. */
  readonly state: string
  /** Digest of the effective configuration; null if no file is part of it, as version, state and variables then are all. */
  readonly config: string | null
  readonly env: NodeJS.ProcessEnv
}

const ROOT = new URL('../../../', import.meta.url)
const NAME_CHARACTERS = 32
const protocol = 1

export const ownVersion: string = manifest.version

export function serverName({ state, config, env }: ServerSurroundings): string {
  const facts = {
    protocol,
    uid: process.geteuid?.() ?? null,
    version: ownVersion,
    // Two checkouts of one version, or one checkout before and after an update.
    code: [fileURLToPath(ROOT), statSync(new URL('package.json', ROOT)).mtimeMs],
    node: [process.version, process.execPath],
    state,
    config,
    env: serverEnvironment(env),
  }
  return sha256(canonicalJson(facts)).slice(0, NAME_CHARACTERS)
}

/** Named otherwise: the state folder and the configuration are part of the name by what they come to. */
const NAMED_OTHERWISE = /^MAYFLY_(?:STATE|CONFIG|ROLE|OWNER_TASK|WARDEN)$/
const READ =
  /^(?:MAYFLY_.+|OTEL_.+|PATH|HOME|USER|TMPDIR|XDG_CACHE_HOME|XDG_STATE_HOME|NODE_OPTIONS|NODE_EXTRA_CA_CERTS|LD_LIBRARY_PATH)$/

/** Variables that a server reads, and so all that a server which a run leaves behind is started with. */
export function serverEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  const read = Object.entries(env).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined && READ.test(entry[0]) && !NAMED_OTHERWISE.test(entry[0]),
  )
  return Object.fromEntries(read)
}
