import { createHmac, hash, randomBytes } from 'node:crypto'
import {
  appendFileSync,
  existsSync,
  fstatSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { openToRead } from '../lib/file-descriptor.ts'
import { draftOf, replaceFile } from '../lib/replace-file.ts'
import { seal, unseal } from '../lib/sealed.ts'
import { latestKnown } from '../lib/state-folder.ts'

/**
 * On-disk cache of replies of the analysis process, so that a run of a known source starts no parser.
 *
 * Mechanism: one file per reply, encrypted and authenticated (AES-256-GCM) with a key of this state folder; the file
 * name is the associated data. The name is an HMAC of tenant, source, entry, files, rules and analyser version, so a
 * change of any of them, or another tenant, finds nothing. The cache holds the reply, not the verdict: a cached reply
 * is validated like a fresh one, and scored by the thresholds in force.
 *
 * Relies on: only the first reply of a process is stored, since a source that compromised the parser can forge replies
 * for later sources. Any defect is a cache miss: a file that was altered, truncated, swapped or is a link, another
 * owner, a missing key. Not handled: rollback to an older reply for the same source.
 */
export interface ReplyCache {
  recall(parts: readonly string[]): string | undefined
  /** Never throws: if nothing can be written, nothing is stored. */
  keep(parts: readonly string[], reply: string): void
}

export interface ReplyCacheOptions {
  /** Version of the analyser; a change invalidates all replies. */
  readonly version?: string
  readonly entriesMax?: number
  /** Limit of all files together, in bytes. */
  readonly bytesMax?: number
}

const ENTRIES_MAX = 512
const BYTES_MAX = 16 * 2 ** 20
const ENTRY_BYTES_MAX = 2 ** 20
const KEY = 'key'
const KEY_BYTES = 32
const NAME = /^[0-9a-f]{64}$/
const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** Sources of the analysis process: in a checkout, or bundled in an installed package. */
const SOURCES = ['src/threat', 'src/contract', 'src/lib', 'guest/analyst.js', 'package.json']
const INSTALLED = ['dist/joined/guest/analyst.js', 'package.json']

/** Opens or creates the folder. Undefined if the folder or its key is accessible to another user. */
export function openReplyCache(
  folder: string,
  options: ReplyCacheOptions = {},
): ReplyCache | undefined {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const { uid, mode } = lstatSync(folder)
    if (uid !== process.getuid?.() || (mode & 0o077) !== 0 || !lstatSync(folder).isDirectory())
      return undefined
    const key = readOwn(path.join(folder, KEY), KEY_BYTES) ?? makeKey(path.join(folder, KEY))
    return key?.length === KEY_BYTES ? new Folder(folder, key, options) : undefined
  } catch {
    return undefined
  }
}

class Folder implements ReplyCache {
  readonly #folder: string
  readonly #key: Buffer
  readonly #version: string
  readonly #entriesMax: number
  readonly #bytesMax: number

  constructor(folder: string, key: Buffer, options: ReplyCacheOptions) {
    this.#folder = folder
    this.#key = key
    this.#version = options.version ?? analyserVersion()
    this.#entriesMax = options.entriesMax ?? ENTRIES_MAX
    this.#bytesMax = options.bytesMax ?? BYTES_MAX
  }

  recall(parts: readonly string[]): string | undefined {
    const name = this.#nameOf(parts)
    const reply = this.#open(name)
    this.#writeHint(reply !== undefined)
    return reply
  }

  keep(parts: readonly string[], reply: string): void {
    try {
      const name = this.#nameOf(parts)
      const sealed = seal(this.#keyFor('reply'), name, Buffer.from(reply))
      if (sealed.length > ENTRY_BYTES_MAX) return
      replaceFile(path.join(this.#folder, name), sealed)
      this.#sweep(name)
      this.#writeHint(true)
    } catch {
      // Disk full or read-only: the source is analysed again next time.
    }
  }

  #nameOf(parts: readonly string[]): string {
    const text = JSON.stringify([this.#version, ...parts])
    return createHmac('sha256', this.#keyFor('name')).update(text).digest('hex')
  }

  #keyFor(purpose: string): Buffer {
    return createHmac('sha256', this.#key).update(purpose).digest()
  }

  #open(name: string): string | undefined {
    const file = path.join(this.#folder, name)
    try {
      const sealed = readOwn(file, ENTRY_BYTES_MAX)
      return sealed && unseal(this.#keyFor('reply'), name, sealed).toString()
    } catch {
      rmSync(file, { recursive: true, force: true })
      return undefined
    }
  }

  /** Removes the oldest files until both limits are met, and drafts of killed processes. */
  #sweep(kept: string): void {
    const entries = readdirSync(this.#folder).flatMap((name) => {
      const facts = statSync(path.join(this.#folder, name), { throwIfNoEntry: false })
      const isEntry = NAME.test(name) || name.includes('.draft-')
      return facts && isEntry ? [{ name, bytes: facts.size, made: facts.mtimeMs }] : []
    })
    entries.sort((a, b) => Number(b.name === kept) - Number(a.name === kept) || b.made - a.made)
    let bytes = 0
    for (const [at, entry] of entries.entries()) {
      bytes += entry.bytes
      if (at >= this.#entriesMax || bytes > this.#bytesMax)
        rmSync(path.join(this.#folder, entry.name), { recursive: true, force: true })
    }
  }

  /** Leaves a hint for the next run: if this source was known, its analysis process need not be started ahead. */
  #writeHint(isKnown: boolean): void {
    const mark = path.join(this.#folder, latestKnown)
    if (existsSync(mark) === isKnown) return
    if (isKnown) appendFileSync(mark, '', { mode: 0o600 })
    else rmSync(mark, { force: true })
  }
}

/** Undefined if the file is missing. Throws Error for a link, and for a file that other users may read or write. */
function readOwn(file: string, bytesMax: number): Buffer | undefined {
  if (!lstatSync(file, { throwIfNoEntry: false })) return undefined
  using opened = openToRead(file)
  const facts = fstatSync(opened.fd)
  const isOwn = facts.isFile() && facts.uid === process.getuid?.() && facts.nlink === 1
  if (!isOwn || (facts.mode & 0o077) !== 0 || facts.size > bytesMax)
    throw new Error(`"${file}" is accessible to other users`)
  return readFileSync(opened.fd)
}

/** Race: of two processes the first one to link its key wins. */
function makeKey(file: string): Buffer | undefined {
  const draft = draftOf(file)
  writeFileSync(draft, randomBytes(KEY_BYTES), { mode: 0o600, flag: 'wx' })
  try {
    if (!existsSync(file)) linkSync(draft, file)
  } finally {
    rmSync(draft, { force: true })
  }
  return readOwn(file, KEY_BYTES)
}

let version: string | undefined

/** Hash over Node's version, the parser and all files of the analyser, by inode, size and times. */
export function analyserVersion(): string {
  return (version ??= hashOfAnalyser())
}

function hashOfAnalyser(): string {
  const isCheckout = existsSync(path.join(ROOT, 'src/threat'))
  const sources = isCheckout ? SOURCES : INSTALLED
  const files = sources.flatMap((place) => filesBelow(path.join(ROOT, place)))
  const parser = createRequire(path.join(ROOT, 'package.json')).resolve('oxc-parser/package.json')
  const facts = [...files, parser].map((file) => {
    const found = statSync(file, { throwIfNoEntry: false })
    return found ? `${file} ${found.ino} ${found.size} ${found.mtimeMs} ${found.ctimeMs}` : file
  })
  return hash('sha256', [process.version, ...facts].join('\n'), 'hex')
}

function filesBelow(place: string): readonly string[] {
  if (!statSync(place).isDirectory()) return [place]
  return readdirSync(place, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.includes('.test.'))
    .map((entry) => path.join(entry.parentPath, entry.name))
}
