import { existsSync, lstatSync, readdirSync } from 'node:fs'
import path from 'node:path'
import * as z from 'zod'
import { MayflyError, messageOf } from '../contract/error.ts'
import { openToRead, piecesOf } from '../lib/file-descriptor.ts'
import { readStrictJson, StrictJsonError } from '../lib/strict-json.ts'
import { tryParseJson } from '../lib/parse-json.ts'
import type { Advisory, AdvisoryOf } from './advisory.ts'
import { advisoriesOfTracker, releasesOf, trackerEntry } from './debian-tracker.ts'
import { readFeedFiles, type FeedBounds, type FeedFile } from './feed-files.ts'
import { imageError } from './image-error.ts'
import { jsonMembers } from './json-members.ts'
import { advisoriesOfOsv, osvEcosystem, osvRecord } from './osv.ts'
import { imageName } from './recipe.ts'
import type { ImageStore } from './store.ts'

/**
 * Vulnerability feeds in the store.
 *
 * An import reads OSV records or the JSON of Debian's security tracker, keeps the entries for Debian, npm and Node,
 * and writes one file: a line of facts about the feed, then one line per package and ecosystem, sorted. So a scan
 * parses only the lines of packages in the image. Hostile JSON is parsed only at import, with limits on bytes,
 * records, depth and keys, by a parser that refuses duplicate keys and invalid UTF-8. A malformed record refuses the
 * whole feed: skipping it could hide a vulnerability.
 *
 * The date of a feed is that of its newest record, or the file time for the tracker, whose JSON has no date; a date in
 * the future counts as the time of the import.
 */
export const feedFactsSchema = z
  .strictObject({
    format: z.literal(1),
    name: imageName,
    kind: z.enum(['osv', 'debian-tracker']),
    asOf: z.number().int().describe('milliseconds since 1970'),
    importedAt: z.number().int(),
    records: z.number().int(),
    advisories: z.number().int(),
    ecosystems: z.array(z.string()).readonly(),
  })
  .readonly()

export type FeedFacts = z.infer<typeof feedFactsSchema>

export interface FeedImport {
  readonly place: string
  /** Name of the feed; by default that of the file. */
  readonly name: string | undefined
  /** Date in milliseconds since 1970, which overrides that of the feed. */
  readonly asOf: number | undefined
  readonly store: ImageStore
  readonly now: () => number
}

const boundsOfFeed: FeedBounds = {
  recordBytesMax: 2 ** 28,
  bytesMax: 2 ** 30,
  recordsMax: 500_000,
}
const osvBytesMax = 2 ** 23
const advisoriesMax = 3_000_000
/** Characters of ids and aliases: a record has ten thousand packages at most, and a million characters of aliases. */
const repeatedMax = 2 ** 28
const jsonDepthMax = 32
const jsonPartsMax = 4_000_000
const lineBytesMax = 2 ** 28

/** Throws MayflyError FEED_BROKEN, NOT_FOUND, INVALID and DISK_FULL; the store is then unchanged. */
export async function importFeed(given: FeedImport): Promise<FeedFacts> {
  const { place, store } = given
  const stats = lstatSync(place, { throwIfNoEntry: false })
  if (!stats) throw new MayflyError('NOT_FOUND', `Cannot import feed "${place}": it does not exist`)
  const name = feedName(given)
  const draft = new FeedDraft()
  try {
    await readFeedFiles(place, boundsOfFeed, (file) => draft.take(file))
    const facts = draft.facts({ ...given, name, fileTime: Math.floor(stats.mtimeMs) })
    store.put({ kind: 'feeds', name }, (write) => draft.write(facts, write))
    return facts
  } catch (thrown) {
    throw imageError(`import feed "${place}"`, thrown, 'FEED_BROKEN')
  }
}

function feedName({ place, name }: FeedImport): string {
  const own = path.basename(path.resolve(place)).replace(/(?:\.(?:json|zip|tar|tgz|gz|zst))+$/, '')
  const checked = imageName.safeParse(name ?? own.toLowerCase())
  if (checked.success) return checked.data
  throw new MayflyError('INVALID', `Cannot name a feed "${name ?? own}"`, {
    hint: 'Give a name of a-z, 0-9, ".", "_" and "-" with --name',
  })
}

/** Advisories by ecosystem and package, while a feed is imported. */
class FeedDraft {
  readonly #lines = new Map<string, Advisory[]>()
  readonly #ecosystems = new Set<string>()
  #kind: FeedFacts['kind'] | undefined
  #newest = 0
  #records = 0
  #advisories = 0
  #repeated = 0

  take(file: FeedFile): void {
    try {
      if (isOsv(file)) this.#takeOsv(file)
      else this.#takeTracker(file)
    } catch (thrown) {
      const at = positionOf(file.bytes, thrown)
      throw new RangeError(`${JSON.stringify(file.name)}: ${at}${messageOf(thrown)}`, {
        cause: thrown,
      })
    }
  }

  facts(given: FeedImport & { readonly name: string; readonly fileTime: number }): FeedFacts {
    if (this.#kind === undefined) throw new RangeError('it has no record')
    const now = given.now()
    const own = this.#kind === 'osv' ? this.#newest : given.fileTime
    return {
      format: 1,
      name: given.name,
      kind: this.#kind,
      asOf: Math.min(given.asOf ?? own, now),
      importedAt: now,
      records: this.#records,
      advisories: this.#advisories,
      ecosystems: [...this.#ecosystems].sort(),
    }
  }

  write(facts: FeedFacts, write: (text: string) => void): void {
    write(`${JSON.stringify(facts)}\n`)
    for (const key of [...this.#lines.keys()].sort())
      write(`${key}\t${JSON.stringify(this.#lines.get(key))}\n`)
  }

  #takeOsv({ bytes }: FeedFile): void {
    if (this.#kind === 'debian-tracker') throw new RangeError('it is an OSV record')
    if (bytes.length > osvBytesMax) throw new RangeError('it is too large')
    this.#kind = 'osv'
    this.#records += 1
    const record = checked(osvRecord, strict(bytes))
    const modified = Date.parse(record.modified)
    if (Number.isNaN(modified)) throw new RangeError('its time is unreadable')
    this.#newest = Math.max(this.#newest, modified)
    for (const { package: named } of record.affected ?? [])
      if (named && osvEcosystem.test(named.ecosystem)) this.#ecosystems.add(named.ecosystem)
    const all = advisoriesOfOsv(record)
    // Stored with each package that the record affects.
    const ids = [record.id, ...(record.aliases ?? []), ...(record.upstream ?? [])]
    this.#repeated += all.length * ids.join('').length
    if (this.#repeated > repeatedMax) throw new RangeError('it has too many aliases')
    for (const one of all) this.#add(one)
  }

  #takeTracker({ bytes }: FeedFile): void {
    if (this.#kind !== undefined) throw new RangeError('it is not an OSV record')
    this.#kind = 'debian-tracker'
    const seen = new Set<string>()
    for (const [key, value] of jsonMembers(bytes)) {
      const source = strictPart(key, bytes)
      if (typeof source !== 'string' || !/^[a-z0-9][a-z0-9+.-]{0,127}$/.test(source))
        throw new RangeError(`${JSON.stringify(source)} is not a source package`)
      if (seen.has(source)) throw new RangeError(`it has "${source}" twice`)
      seen.add(source)
      const entry = checked(trackerEntry, strictPart(value, bytes), source)
      this.#records += Object.keys(entry).length
      for (const one of releasesOf(entry)) this.#ecosystems.add(one)
      for (const one of advisoriesOfTracker(source, entry)) this.#add(one)
    }
    if (seen.size === 0) throw new RangeError('it has no record')
  }

  #add({ ecosystem, package: name, advisory }: AdvisoryOf): void {
    // oxlint-disable-next-line no-control-regex
    if (/[\0-\x1f\x7f]/.test(name)) throw new RangeError('it has a name with a control character')
    if (++this.#advisories > advisoriesMax)
      throw new RangeError(`it has more than ${advisoriesMax} vulnerabilities`)
    this.#lines.getOrInsert(`${ecosystem}\t${name}`, []).push(advisory)
  }
}

/** An OSV record has a top-level id; in the tracker's object every member is an object. */
function isOsv({ bytes }: FeedFile): boolean {
  if (bytes.length > osvBytesMax) return false
  return z.object({ id: z.string() }).safeParse(strict(bytes)).success
}

function strict(bytes: Buffer): unknown {
  return readStrictJson(bytes, { depthMax: jsonDepthMax, partsMax: jsonPartsMax }).value
}

/** Parses a view of `whole`; the position of an error is that in `whole`. */
function strictPart(part: Buffer, whole: Buffer): unknown {
  try {
    return strict(part)
  } catch (thrown) {
    if (!(thrown instanceof StrictJsonError)) throw thrown
    const { message, offset, path: at } = thrown
    const start = part.byteOffset - whole.byteOffset
    // V8 reports no position for some errors.
    if (offset === undefined)
      throw new StrictJsonError(`${message} in the record that begins here`, start, at)
    throw new StrictJsonError(message, start + offset, at)
  }
}

/** Line and byte of a JSON error, each from 1, for people; empty for another error. */
function positionOf(bytes: Buffer, thrown: unknown): string {
  if (!(thrown instanceof StrictJsonError) || thrown.offset === undefined) return ''
  const before = bytes.subarray(0, thrown.offset)
  let line = 1
  for (let at = before.indexOf(LF); at >= 0; at = before.indexOf(LF, at + 1)) line += 1
  return `line ${line}, byte ${thrown.offset - before.lastIndexOf(LF)}: `
}

function checked<T>(schema: z.ZodType<T>, value: unknown, at = ''): T {
  const read = schema.safeParse(value)
  if (read.success) return read.data
  const [issue] = read.error.issues
  const where = [at, ...(issue?.path ?? [])].filter((part) => part !== '').join('.')
  throw new RangeError(`${where.slice(0, 300)}: ${issue?.message.slice(0, 300)}`)
}

/** Feed in the store. */
export interface StoredFeed {
  readonly facts: FeedFacts
  readonly file: string
}

/** All feeds, by name. Throws MayflyError FEED_BROKEN for a broken one: skipping it would hide its vulnerabilities. */
export function listFeeds(folder: string): readonly StoredFeed[] {
  const feeds = path.join(folder, 'feeds')
  if (!existsSync(feeds)) return []
  const names = readdirSync(feeds).flatMap((file) => /^(.+)\.json$/.exec(file)?.[1] ?? [])
  return names.sort().map((name) => {
    const file = path.join(feeds, `${name}.json`)
    const facts = feedFactsSchema.safeParse(tryParseJson(firstLine(file)))
    if (facts.success && facts.data.name === name) return { facts: facts.data, file }
    throw new MayflyError(
      'FEED_BROKEN',
      `Cannot read feed "${name}": its line 1 has no facts of a feed`,
      {
        hint: `Import it again, or run "mayfly images feeds remove ${name}"`,
      },
    )
  })
}

/**
 * Advisories of the packages in `wanted`, whose elements are "ECOSYSTEM TAB PACKAGE". Throws MayflyError FEED_BROKEN.
 */
export function* readAdvisories(
  { facts, file }: StoredFeed,
  wanted: ReadonlySet<string>,
): Generator<AdvisoryOf> {
  let number = 0
  for (const line of linesOf(file)) {
    const tab = ++number === 1 ? -1 : line.indexOf(0x09, line.indexOf(0x09) + 1)
    if (tab < 0) continue
    const key = line.toString('utf8', 0, tab)
    if (!wanted.has(key)) continue
    const [ecosystem = '', name = ''] = key.split('\t')
    const advisories = tryParseJson(line.toString('utf8', tab + 1))
    if (!Array.isArray(advisories))
      throw new MayflyError(
        'FEED_BROKEN',
        `Cannot read feed "${facts.name}": line ${number} is broken`,
        {
          hint: 'Import it again',
        },
      )
    for (const advisory of advisories as readonly Advisory[])
      yield { ecosystem, package: name, advisory }
  }
}

/** First line; empty if the path is not a regular file, such as a planted link. */
function firstLine(file: string): string {
  if (!lstatSync(file, { throwIfNoEntry: false })?.isFile()) return ''
  const [first] = linesOf(file)
  return first?.toString('utf8') ?? ''
}

function* linesOf(file: string): Generator<Buffer> {
  using descriptor = openToRead(file)
  const broken = (why: string) =>
    new MayflyError('FEED_BROKEN', `Cannot read feed "${file}": ${why}`)
  let parts: Buffer[] = []
  let held = 0
  let line = 1
  for (const piece of piecesOf(descriptor)) {
    let from = 0
    for (let end = piece.indexOf(LF); end >= 0; end = piece.indexOf(LF, from)) {
      yield Buffer.concat([...parts, piece.subarray(from, end)])
      parts = []
      held = 0
      line += 1
      from = end + 1
    }
    parts.push(piece.subarray(from))
    held += piece.length - from
    if (held > lineBytesMax) throw broken(`line ${line} is too long`)
  }
  if (held > 0) throw broken(`it is truncated in line ${line}`)
}

const LF = 0x0a
