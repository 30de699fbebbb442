import type { LoadedConfig } from '../config/load.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { sha256 } from '../lib/hash.ts'

/**
 * Digest of an effective configuration, for the name of the server that has it. Null without files: the rest of what
 * decides it is part of the name. Undefined for one that no run shares: with values from variables of any name, or with
 * code of the operator's own, whose folders must not hold files of a job.
 */
export function configDigest({ config, files }: LoadedConfig): string | null | undefined {
  const { credentials, egress, providers } = config
  const hasOwn = providers.folder !== undefined || providers.modules.length > 0
  if (hasOwn || credentials.length > 0 || egress.proxy_credentials_env !== undefined)
    return undefined
  return files.length === 0 ? null : digestOf(config)
}

/** Undefined for a value that is not plain data: two different ones could have the same text. */
function digestOf(value: unknown): string | undefined {
  try {
    return isPlain(value) ? sha256(canonicalJson(value)) : undefined
  } catch {
    return undefined
  }
}

function isPlain(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return typeof value !== 'function'
  if (Array.isArray(value)) return value.every(isPlain)
  const prototype: unknown = Object.getPrototypeOf(value)
  const isRecord = prototype === Object.prototype || prototype === null
  return isRecord && Object.values(value).every(isPlain)
}
