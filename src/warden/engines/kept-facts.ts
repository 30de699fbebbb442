import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import * as z from 'zod'
import { makeCacheFolder } from '../../lib/cache-folder.ts'
import { tryParseJson } from '../../lib/parse-json.ts'

const FILE_BYTES_MAX = 4_096
const KEY_MAX = 64

/**
 * Facts of a slow probe, kept in a file of this user under the key of what they were probed from. Undefined for another
 * key, another shape, and a file that cannot be read.
 */
export function keptFacts<T>(file: string, key: string, facts: z.ZodType<T>): T | undefined {
  try {
    if (statSync(file).size > FILE_BYTES_MAX) return undefined
    const shape = z.strictObject({ key: z.string().max(KEY_MAX), facts })
    const kept = shape.safeParse(tryParseJson(readFileSync(file, 'utf8'))).data
    return kept?.key === key ? kept.facts : undefined
  } catch {
    return undefined
  }
}

/** Facts that cannot be written cost a probe at each start. */
export function keepFacts(file: string, key: string, facts: unknown): void {
  const draft = `${file}.${process.pid}`
  try {
    makeCacheFolder(path.dirname(file), 0o700)
    writeFileSync(draft, JSON.stringify({ key, facts }), { mode: 0o600, flag: 'wx' })
    renameSync(draft, file)
  } catch {
    rmSync(draft, { force: true })
  }
}
