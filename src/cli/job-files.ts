import { lstatSync, readdirSync, readlinkSync, statSync } from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../contract/error.ts'
import type { JobFile } from '../contract/job.ts'
import { splitFileFlag } from './file-flag.ts'
import { attempt } from '../lib/attempt.ts'
import { asOwner } from '../lib/owner-files.ts'
import { whyUnreadable } from '../lib/why-unreadable.ts'
import { isSecretName } from './secret-name.ts'
import { readBytes } from './source.ts'

const FILES_MAX = 2000
const BYTES_MAX = 64 * 2 ** 20

export interface JobFilesOptions {
  /** Includes likely secrets. */
  readonly withSecrets?: boolean
  /** Called with each notice of omitted files. */
  readonly note?: (text: string) => void
}

interface Entry {
  readonly from: string
  readonly place: string
  readonly kind: 'file' | 'folder' | 'link'
}

interface Walk {
  readonly root: string
  readonly withSecrets: boolean
  readonly entries: Entry[]
  bytes: number
  readonly secrets: string[]
  readonly strays: string[]
}

/**
 * Reads `PATH`, or `PATH=NAME` to rename it inside the job. A folder includes all its files, empty folders and
 * internal symlinks, except likely secrets; a file named explicitly is always included. Throws MayflyError USAGE.
 */
export async function jobFiles(given: string, asked: JobFilesOptions = {}): Promise<JobFile[]> {
  const { from, as } = splitFileFlag(given)
  const place =
    as ??
    (path.isAbsolute(from) || from.startsWith('..') ? path.basename(from) : path.normalize(from))
  try {
    if (!statOf(from).isDirectory()) return [await read({ from, place, kind: 'file' })]
    const { withSecrets = false, note } = asked
    const walk: Walk = { root: from, withSecrets, entries: [], bytes: 0, secrets: [], strays: [] }
    below(from, place, walk)
    for (const line of omissions(walk)) note?.(line)
    return await Promise.all(walk.entries.map(read))
  } catch (cause) {
    if (cause instanceof MayflyError) throw cause
    const { because, ...hint } = whyUnreadable((cause as NodeJS.ErrnoException).path ?? from, cause)
    throw new MayflyError('USAGE', `Cannot include "${from}": ${because}`, { ...hint, cause })
  }
}

const statOf = (place: string) => asOwner(place, (at) => statSync(at))
const targetOf = (link: string) => asOwner(link, (at) => readlinkSync(at), false)

function below(folder: string, place: string, walk: Walk): void {
  const names = asOwner(folder, (at) => readdirSync(at)).sort()
  if (names.length === 0 && path.normalize(place) !== '.')
    walk.entries.push({ from: folder, place, kind: 'folder' })
  for (const name of names) {
    const entry = { from: path.join(folder, name), place: path.join(place, name) }
    // A name that is not UTF-8 was decoded lossily, so lstat(2) does not find it; the entry is skipped.
    const facts = attempt(() => asOwner(entry.from, (at) => lstatSync(at), false))
    if (!walk.withSecrets && isSecretName(name)) walk.secrets.push(entry.place)
    else if (facts?.isDirectory()) below(entry.from, entry.place, walk)
    else if (facts?.isFile()) {
      walk.entries.push({ ...entry, kind: 'file' })
      walk.bytes += facts.size
    } else if (facts?.isSymbolicLink() && staysWithin(entry.from, walk.root))
      walk.entries.push({ ...entry, kind: 'link' })
    else walk.strays.push(entry.place)
    check(walk)
  }
}

/** Checks the limits before reading content. */
function check({ root, entries, bytes }: Walk): void {
  if (entries.length > FILES_MAX) throw tooMuch(root, `it contains more than ${FILES_MAX} files`)
  if (bytes > BYTES_MAX) throw tooMuch(root, `it contains more than ${BYTES_MAX} bytes`)
}

function tooMuch(root: string, why: string): MayflyError {
  return new MayflyError('USAGE', `Cannot include "${root}": ${why}`, {
    hint: 'Name only folders that the program reads; use --packages for node_modules or a virtual environment',
  })
}

function staysWithin(link: string, root: string): boolean {
  const written = targetOf(link)
  if (path.isAbsolute(written)) return false
  const target = path.relative(root, path.join(path.dirname(link), written))
  return target !== '..' && !target.startsWith(`..${path.sep}`)
}

function* omissions({ secrets, strays }: Walk): Generator<string> {
  const names = (all: readonly string[]) => {
    const some = all.slice(0, 5).map((name) => JSON.stringify(name))
    return `${some.join(', ')}${all.length > 5 ? ` and ${all.length - 5} more` : ''}`
  }
  if (secrets.length > 0)
    yield `Files: left out ${names(secrets)}, where secrets may be (--file-secrets brings them, and so does naming the file itself)`
  if (strays.length > 0)
    yield `Files: left out ${names(strays)}: neither a file, a folder nor a link that stays inside`
}

async function read({ from, place, kind }: Entry): Promise<JobFile> {
  if (kind === 'folder') return { path: place, content: '', encoding: 'utf8', type: 'folder' }
  if (kind === 'link')
    return { path: place, content: targetOf(from), encoding: 'utf8', type: 'link' }
  const bytes = await readBytes(from)
  const executable = (statOf(from).mode & 0o111) !== 0 && { executable: true }
  const text = bytes.toString()
  return Buffer.from(text).equals(bytes)
    ? { path: place, content: text, encoding: 'utf8', ...executable }
    : { path: place, content: bytes.toString('base64'), encoding: 'base64', ...executable }
}
