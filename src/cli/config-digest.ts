import type { LoadedConfig } from '../config/load.ts'
import { attempt } from '../lib/attempt.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { sha256 } from '../lib/hash.ts'

/**
 * Digest of an effective configuration; part of the name of a server's record. Null without files: variables and flags
 * are other parts of that name. Undefined for a configuration that runs must not share: with values from arbitrary
 * environment variables (credentials), or with provider modules, whose folders must not contain files of a job.
 */
export function configDigest({ config, files }: LoadedConfig): string | null | undefined {
  const { credentials, egress, providers } = config
  const hasOwn = providers.folder !== undefined || providers.modules.length > 0
  if (hasOwn || credentials.length > 0 || egress.proxy_credentials_env !== undefined)
    return undefined
  return files.length === 0 ? null : digestOf(config)
}

/** Undefined for a value that is not plain data, since two different values could have the same JSON. */
function digestOf(value: unknown): string | undefined {
  return attempt(() => (isPlain(value) ? sha256(canonicalJson(value)) : undefined))
}

function isPlain(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return typeof value !== 'function'
  if (Array.isArray(value)) return value.every(isPlain)
  const prototype: unknown = Object.getPrototypeOf(value)
  const isRecord = prototype === Object.prototype || prototype === null
  return isRecord && Object.values(value).every(isPlain)
}
