import { readFileSync, readlinkSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import manifest from '../../../package.json' with { type: 'json' }
import { attempt } from '../../lib/attempt.ts'
import { canonicalJson } from '../../lib/canonical-json.ts'
import { sha256 } from '../../lib/hash.ts'
import { ownPath } from '../../lib/own-path.ts'

/**
 * Name of the server that may run a job: a digest of everything that influences the outcome there and that the job
 * itself does not contain. A run with another name starts its own server, or runs without one.
 */
export interface ServerSurroundings {
  /** Absolute. */
  readonly state: string
  /** Digest of the effective configuration; null without files, since version, state and variables then determine it. */
  readonly config: string | null
  readonly env: NodeJS.ProcessEnv
}

const ROOT = new URL('../../../', import.meta.url)
const NAME_CHARACTERS = 32
const protocol = 2

export const ownVersion: string = manifest.version

export function serverName({ state, config, env }: ServerSurroundings): string {
  const facts = {
    protocol,
    uid: process.geteuid?.() ?? null,
    groups: [
      process.getegid?.() ?? null,
      ...(process.getgroups?.() ?? []).toSorted((a, b) => a - b),
    ],
    reach: reach(),
    limits: limits(),
    version: ownVersion,
    // Distinguishes two checkouts of one version, and a checkout before and after an update.
    code: [fileURLToPath(ROOT), statSync(new URL('package.json', ROOT)).mtimeMs],
    node: [process.version, process.execPath],
    state,
    config,
    env: serverEnvironment(env),
  }
  return sha256(canonicalJson(facts)).slice(0, NAME_CHARACTERS)
}

const NAMESPACES = ['mnt', 'net', 'pid', 'user']

/**
 * Root and namespaces of this process. A Unix socket connects across both, so a run that was started without a
 * network (`unshare --net`, a container that shares the home folder) would get the network of the server.
 */
function reach(): readonly (string | null)[] {
  const { dev, ino } = statSync('/')
  return [`${dev}:${ino}`, ...NAMESPACES.map(namespaceOf)]
}

/** Null where /proc is not mounted. */
function namespaceOf(kind: string): string | null {
  return attempt(() => readlinkSync(`/proc/self/ns/${kind}`)) ?? null
}

const LIMITS = /^Max (?:cpu time|file size|data size|processes|address space) .*$/gm

/** RLIMITs (ulimit), which a server and its walls inherit: the limits of one caller would affect jobs of another. */
function limits(): readonly string[] | null {
  return attempt(() => readFileSync('/proc/self/limits', 'utf8').match(LIMITS)) ?? null
}

/** Excluded variables: the state folder and the configuration are part of the name by their effective values. */
const EXCLUDED = /^MAYFLY_(?:STATE|CONFIG|ROLE|OWNER_TASK|WARDEN)$/
const READ = /^(?:MAYFLY_.+|OTEL_.+|PATH|HOME|USER|TMPDIR|XDG_CACHE_HOME|XDG_STATE_HOME)$/
/** Variables read by Node, OpenSSL and the dynamic linker, such as NODE_TLS_REJECT_UNAUTHORIZED. */
const READ_BELOW =
  /^(?:NODE_(?:OPTIONS|PATH|EXTRA_CA_CERTS|USE_SYSTEM_CA|USE_ENV_PROXY|TLS_REJECT_UNAUTHORIZED)|SSL_CERT_(?:FILE|DIR)|OPENSSL_CONF|LD_LIBRARY_PATH|LD_PRELOAD)$/

const isRead = (name: string): boolean => READ.test(name) || READ_BELOW.test(name)

/**
 * Variables that a server reads; a server left behind by a run gets no others. It works in `/`, where it could not tell which
 * folders of PATH are the project's of this caller.
 */
export function serverEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  const read = Object.entries(env).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined && isRead(entry[0]) && !EXCLUDED.test(entry[0]),
  )
  const { PATH, HOME } = env
  const folder = attempt(() => process.cwd())
  return {
    ...Object.fromEntries(read),
    ...(PATH !== undefined && { PATH: ownPath({ PATH, HOME, folder }) }),
  }
}
