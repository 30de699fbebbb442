import { limitNames } from '../contract/config.ts'
import { type ConfigLayer, valueLayer } from './merge-layers.ts'
import type { KeyPath } from './positions.ts'

export type Environment = Readonly<Record<string, string | undefined>>

interface Setting {
  readonly path: KeyPath
  readonly variable: string
  readonly flag: string
  readonly kind: 'text' | 'quantity' | 'boolean'
}

/** Settings available as variable or flag; all others need a file. */
export const settings: readonly Setting[] = [
  setting('default_provider', 'DEFAULT_PROVIDER', 'text'),
  setting('state', 'STATE', 'text'),
  setting('network', 'NETWORK', 'text'),
  setting('server.host', 'HOST', 'text'),
  setting('server.port', 'PORT', 'quantity'),
  setting('server.drain', 'DRAIN', 'quantity'),
  setting('server.jobs', 'JOBS', 'quantity'),
  setting('server.queue_wait', 'QUEUE_WAIT', 'quantity'),
  setting('server.body', 'BODY', 'quantity'),
  setting('server.tls_cert', 'TLS_CERT', 'text'),
  setting('server.tls_key', 'TLS_KEY', 'text'),
  setting('server.tls_dev', 'TLS_DEV', 'boolean'),
  setting('server.insecure_http', 'INSECURE_HTTP', 'boolean'),
  setting('sessions.anonymous', 'SESSIONS_ANONYMOUS', 'boolean'),
  setting('sessions.concurrency', 'SESSIONS_CONCURRENCY', 'quantity'),
  setting('sessions.per_minute', 'SESSIONS_PER_MINUTE', 'quantity'),
  ...limitNames.map((name) =>
    setting(`limits.${name}`, `LIMITS_${name.toUpperCase()}`, 'quantity'),
  ),
]

/** Variables read elsewhere, or set by Mayfly for its child processes. */
const otherVariables = 'CONFIG ENV ADMIN_KEY API_KEY SERVER RESULT OUT SENTINEL TEMPLATES'
  .split(' ')
  .map((name) => `MAYFLY_${name}`)
/** Internal variables between parts of Mayfly, or its tests. */
const INTERNAL = /^MAYFLY_(?:WARDEN|ROLE|WORKER|ANALYST|LONG|HALF|CONTRACTS|TRUSTING)$/

export const knownVariables: readonly string[] = [
  ...otherVariables,
  ...settings.map(({ variable }) => variable),
].sort()

/** A layer for each non-empty variable. */
export function variableLayers(env: Environment): readonly ConfigLayer[] {
  return settings.flatMap(({ path, variable, kind }) => {
    const text = env[variable]
    return text === undefined || text === '' ? [] : [valueLayer(path, read(text, kind), variable)]
  })
}

/** A layer for each flag, by its name with dashes; throws RangeError for an unknown name. */
export function flagLayers(flags: Readonly<Record<string, unknown>>): readonly ConfigLayer[] {
  return Object.entries(flags).flatMap(([flag, value]) => {
    if (value === undefined) return []
    const found = settings.find((one) => one.flag === flag)
    if (!found) throw new RangeError(`Cannot use the flag "${flag}" as a setting`)
    return [
      valueLayer(found.path, typeof value === 'string' ? read(value, found.kind) : value, flag),
    ]
  })
}

/** A warning for each unknown MAYFLY_ variable, with the probably intended name. */
export function variableWarnings(env: Environment): readonly string[] {
  return Object.keys(env)
    .filter((name) => name.startsWith('MAYFLY_') && !INTERNAL.test(name))
    .filter((name) => !knownVariables.includes(name))
    .sort()
    .map((name) => `Unknown variable "${name}"${nearHint(name, knownVariables)}`)
}

/** End of a message about an unknown name, with the probably intended one; empty if no known name is near. */
export function nearHint(name: string, known: readonly string[]): string {
  const near = nearestName(name, known)
  return near === undefined ? '' : `; did you mean "${near}"?`
}

const DISTANCE_MAX = 4
const NAME_LENGTH_MAX = 80

/** Known name with the smallest edit distance, if close enough. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  if (name.length > NAME_LENGTH_MAX) return undefined
  const bound = Math.min(DISTANCE_MAX, Math.floor(name.length / 2))
  const [best] = known
    .map((other) => ({ other, edits: distance(name, other) }))
    .filter(({ edits }) => edits <= bound)
    .sort((a, b) => a.edits - b.edits)
  return best?.other
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (const [i, letter] of a.split('').entries()) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j += 1)
      next.push(Math.min(row[j + 1]! + 1, next[j]! + 1, row[j]! + (letter === b[j] ? 0 : 1)))
    row = next
  }
  return row[b.length]!
}

function setting(path: string, name: string, kind: Setting['kind']): Setting {
  const flag = `--${name.toLowerCase().replaceAll('_', '-')}`
  return { path: path.split('.'), variable: `MAYFLY_${name}`, flag, kind }
}

/** Converts a text by its kind; unparsable text stays text, for which the schema reports the expected form. */
function read(text: string, kind: Setting['kind']): string | number | boolean {
  if (kind === 'quantity' && /^-?\d+(\.\d+)?$/.test(text)) return Number(text)
  if (kind === 'boolean' && (text === 'true' || text === '1')) return true
  if (kind === 'boolean' && (text === 'false' || text === '0')) return false
  return text
}
