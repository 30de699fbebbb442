import { readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import * as z from 'zod'
import { makeCacheFolder } from '../../lib/cache-folder.ts'
import { tryParseJson } from '../../lib/parse-json.ts'
import { replaceFile } from '../../lib/replace-file.ts'

const FILE_BYTES_MAX = 4_096
const KEY_MAX = 64

/**
 * Cached facts of a slow probe, from a file of this user. `key` identifies the probed programs and kernel. Undefined
 * for another key, another shape, or an unreadable file.
 */
export function cachedFacts<T>(file: string, key: string, facts: z.ZodType<T>): T | undefined {
  try {
    if (statSync(file).size > FILE_BYTES_MAX) return undefined
    const shape = z.strictObject({ key: z.string().max(KEY_MAX), facts })
    const cached = shape.safeParse(tryParseJson(readFileSync(file, 'utf8'))).data
    return cached?.key === key ? cached.facts : undefined
  } catch {
    return undefined
  }
}

/** Writes the cache; a failure is ignored, and costs a probe at each start. */
export function cacheFacts(file: string, key: string, facts: unknown): void {
  try {
    makeCacheFolder(path.dirname(file), 0o700)
    replaceFile(file, JSON.stringify({ key, facts }))
  } catch {
    // Probed again at the next start.
  }
}
