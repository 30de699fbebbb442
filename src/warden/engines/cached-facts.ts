import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import * as z from 'zod'
import { attempt } from '../../lib/attempt.ts'
import { makeCacheFolder } from '../../lib/cache-folder.ts'
import { tryParseJson } from '../../lib/parse-json.ts'
import { replaceFile } from '../../lib/replace-file.ts'

const FILE_BYTES_MAX = 4_096
const KEY_MAX = 64

/**
 * Facts of a slow probe, cached in a file of this user. `key` identifies the probed programs and kernel. A file with another
 * key or shape, or that cannot be read, costs a probe; so does one that could not be written.
 */
export async function cachedFacts<T>(
  file: string,
  { key, shape, probe }: { key: string; shape: z.ZodType<T>; probe: () => Promise<T> },
): Promise<T> {
  const kept = z.strictObject({ key: z.string().max(KEY_MAX), facts: shape })
  const text = attempt(() =>
    statSync(file).size > FILE_BYTES_MAX ? '' : readFileSync(file, 'utf8'),
  )
  const cached = kept.safeParse(tryParseJson(text ?? '')).data
  if (cached?.key === key) return cached.facts
  const facts = await probe()
  attempt(() => {
    makeCacheFolder(path.dirname(file), 0o700)
    replaceFile(file, JSON.stringify({ key, facts }))
  })
  return facts
}

/** Runs a probe with a new folder that other users, such as the uid of the jail, can read. */
export async function withProbeFolder<T>(probe: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-probe-'))
  try {
    chmodSync(folder, 0o755)
    return await probe(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
