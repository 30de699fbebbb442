import { readFileSync, readlinkSync, statSync } from 'node:fs'
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
    groups: [
      process.getegid?.() ?? null,
      ...(process.getgroups?.() ?? []).toSorted((a, b) => a - b),
    ],
    reach: reach(),
    limits: limits(),
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

const NAMESPACES = ['mnt', 'net', 'pid', 'user']

/**
 * Root and namespaces of this process. A socket in a folder connects through both, so a run that was started without a
 * network (`unshare --net`, a container that shares the home folder) would have that of the server.
 */
function reach(): readonly (string | null)[] {
  const { dev, ino } = statSync('/')
  return [`${dev}:${ino}`, ...NAMESPACES.map(namespaceOf)]
}

/** Null where /proc is not mounted. */
function namespaceOf(kind: string): string | null {
  try {
    return readlinkSync(`/proc/self/ns/${kind}`)
  } catch {
    return null
  }
}

const LIMITS = /^Max (?:cpu time|file size|data size|processes|address space) .*$/gm

/** Limits of the shell (ulimit), which a server and its walls keep: those of one caller would end jobs of another. */
function limits(): readonly string[] | null {
  try {
    return readFileSync('/proc/self/limits', 'utf8').match(LIMITS)
  } catch {
    return null
  }
}

/** Named otherwise: the state folder and the configuration are part of the name by what they come to. */
const NAMED_OTHERWISE = /^MAYFLY_(?:STATE|CONFIG|ROLE|OWNER_TASK|WARDEN)$/
const READ = /^(?:MAYFLY_.+|OTEL_.+|PATH|HOME|USER|TMPDIR|XDG_CACHE_HOME|XDG_STATE_HOME)$/
/** Read by Node, OpenSSL and the dynamic linker: one of them turns the check of certificates off. */
const READ_BELOW =
  /^(?:NODE_(?:OPTIONS|PATH|EXTRA_CA_CERTS|USE_SYSTEM_CA|USE_ENV_PROXY|TLS_REJECT_UNAUTHORIZED)|SSL_CERT_(?:FILE|DIR)|OPENSSL_CONF|LD_LIBRARY_PATH|LD_PRELOAD)$/

const isRead = (name: string): boolean => READ.test(name) || READ_BELOW.test(name)

/** Variables that a server reads, and so all that a server which a run leaves behind is started with. */
export function serverEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  const read = Object.entries(env).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined && isRead(entry[0]) && !NAMED_OTHERWISE.test(entry[0]),
  )
  return Object.fromEntries(read)
}
