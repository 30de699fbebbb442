import { fstatSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import * as z from 'zod'
import { MayflyError } from '../contract/error.ts'
import { remedyText, type Remedy } from '../contract/remedy.ts'
import { attempt } from '../lib/attempt.ts'
import { openToRead } from '../lib/file-descriptor.ts'
import { sha256 } from '../lib/hash.ts'
import { tryParseJson } from '../lib/parse-json.ts'
import { replacePrivate } from '../lib/private-file.ts'
import { realPath } from '../lib/real-path.ts'
import { loosenings } from './loosens.ts'
import type { Issue, ParsedToml } from './parse.ts'
import { type KeyPath, nearest } from './positions.ts'

/**
 * Trust in configuration files. A `mayfly.toml` found in the current folder may have come with cloned or
 * unpacked content, and Mayfly is started in such folders to contain exactly that content. So the file may restrict but
 * not grant, until the user explicitly trusts this text at this path, as in direnv. The trust list stores path and
 * SHA-256, so a change of the file revokes its trust.
 *
 * Relies on: the state folder is accessible to its owner alone. A list that is a link, has another owner, or is
 * accessible to others is ignored. Not handled: an attacker with the rights of the state folder's owner, who
 * needs no such file.
 */
export interface TrustedFile {
  /** Absolute path, links resolved. */
  readonly path: string
  readonly sha256: string
  /** ISO 8601. */
  readonly since: string
}

/** File with the bytes that were parsed; the same bytes are hashed for the trust check (no TOCTOU). */
export interface ConfigFile {
  readonly path: string
  readonly bytes: Uint8Array
  readonly parsed: ParsedToml
}

const entriesMax = 1000
const bytesMax = 2 ** 20
const listSchema = z.strictObject({
  format: z.literal(1),
  trusted: z
    .array(z.strictObject({ path: z.string(), sha256: z.string(), since: z.string() }))
    .max(entriesMax),
})

export const trustFile = (stateFolder: string): string =>
  join(stateFolder, 'trusted-configurations.json')

/** Lists the loosening values of each file whose current content is not trusted, with file, line and column. */
export function untrustedIssues(
  files: readonly ConfigFile[],
  stateFolder: string | undefined,
): readonly Issue[] {
  return files.flatMap((file) => {
    const found = loosenings(file.parsed.values)
    if (found.length === 0) return []
    const known = stateFolder === undefined ? [] : readTrusted(stateFolder)
    if (known.some((one) => isOf(one, file))) return []
    return found.map(({ path, because }) => issueAt(file.parsed, path, because))
  })
}

export function untrustedError(issues: readonly [Issue, ...Issue[]]): MayflyError {
  const [first] = issues
  const file = first.file ?? 'mayfly.toml'
  const config: Remedy = { field: 'config', value: file }
  const lines = issues.map(({ where, message }) => `\n  ${where}: ${message}`).join('')
  return new MayflyError(
    'CONFIG_UNTRUSTED',
    `Cannot use "${file}" of the current folder: it is looser than the defaults and not trusted${lines}`,
    {
      details: { issues },
      hint: `Review it, then run "mayfly policy trust ${file}", or name it with ${remedyText(config)}`,
      remedies: [config],
    },
  )
}

/** Trusts a file's current content, replacing earlier trust of its path. Throws MayflyError STATE. */
export function trustConfiguration(
  stateFolder: string,
  { path, sha256 }: Pick<TrustedFile, 'path' | 'sha256'>,
  now: Date,
): TrustedFile {
  const entry = { path, sha256, since: now.toISOString() }
  change(stateFolder, (all) => {
    const others = all.filter((one) => one.path !== path)
    if (others.length < entriesMax) return [...others, entry]
    throw new MayflyError('STATE', `Cannot trust more than ${entriesMax} configurations`, {
      hint: 'Remove some: "mayfly policy trust --list", then "--remove FILE"',
    })
  })
  return entry
}

/** Revokes trust; true if there was any. The file may no longer exist. */
export function removeTrust(stateFolder: string, path: string): boolean {
  let found = false
  change(stateFolder, (all) => {
    const left = all.filter((one) => one.path !== path && one.path !== realPath(path))
    found = left.length < all.length
    return left
  })
  return found
}

/** Returns the trusted files; empty if another user than the owner of the state folder could have written the list. */
export function readTrusted(stateFolder: string): readonly TrustedFile[] {
  const text = attempt(() => readOwn(stateFolder))
  if (text === undefined) return []
  return listSchema.safeParse(tryParseJson(text)).data?.trusted ?? []
}

function change(
  stateFolder: string,
  work: (all: readonly TrustedFile[]) => readonly TrustedFile[],
): void {
  try {
    replacePrivate(trustFile(stateFolder), () => {
      const trusted = work(readTrusted(stateFolder))
      return `${JSON.stringify({ format: 1, trusted })}\n`
    })
  } catch (cause) {
    if (cause instanceof MayflyError) throw cause
    const where = trustFile(stateFolder)
    throw new MayflyError('STATE', `Cannot change "${where}": ${(cause as Error).message}`, {
      cause,
    })
  }
}

/** Reads the list's text; undefined if another user than its owner could have written it. Throws if it is missing. */
function readOwn(stateFolder: string): string | undefined {
  using file = openToRead(trustFile(stateFolder))
  const [folder, list] = [statSync(stateFolder), fstatSync(file.fd)]
  const me = process.geteuid?.()
  const isOurs = me === undefined || me === 0 || folder.uid === me
  const isOwners = list.uid === folder.uid && (folder.mode & 0o022) === 0
  const isPlain = list.isFile() && list.nlink === 1 && (list.mode & 0o077) === 0
  if (!isOurs || !isOwners || !isPlain || list.size > bytesMax) return undefined
  return readFileSync(file.fd, 'utf8')
}

function isOf({ path, sha256: known }: TrustedFile, file: ConfigFile): boolean {
  // A symbolic link is never trusted: relative paths in the file would be resolved in the link's folder.
  const own = join(realPath(dirname(file.path)), basename(file.path))
  return path === own && path === realPath(file.path) && known === sha256(file.bytes)
}

function issueAt(parsed: ParsedToml, path: KeyPath, because: string): Issue {
  const key = path.map(plainName).join('.')
  const at = nearest(path, parsed.locate)
  const where = at ? `${parsed.file}:${at.line}:${at.column}` : parsed.file
  return { message: `${key}: ${because}`, key, where, file: parsed.file, ...at }
}

/** A name in an untrusted file may contain terminal escape sequences. */
function plainName(part: string | number): string {
  return /^[\w-]+$/.test(String(part)) ? String(part) : JSON.stringify(part)
}
