import { MayflyError } from '../contract/error.ts'
import { systemClock, type Clock } from '../contract/clock.ts'
import type { Emitter } from '../contract/event.ts'
import type { Job, JobAccount } from '../contract/job.ts'
import type { LayerCode } from '../contract/pipeline.ts'
import { shownScores, type Analysis, type CachedAnalysis } from '../contract/verdict.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { sha256 } from '../lib/hash.ts'
import { inspectedFiles, isOfPackage } from './files.ts'
import { unparsed } from './guess.ts'
import { inspectionSchema, type ErasedFile, type Inspection } from './inspection.ts'
import { mergeMatches } from './merge-matches.ts'
import { patterns } from './patterns.ts'
import { analyserVersion, type ReplyCache } from './reply-cache.ts'
import { createLayerAnalyst, type LayerMatcher } from './layers.ts'
import { NoAnalystError } from './no-analyst.ts'
import { analysisOf } from './verdict.ts'
import { parseJson } from '../lib/parse-json.ts'

const START_ERRORS: ReadonlySet<string> = new Set(['OVERLOADED', 'DRAINING', 'WARDEN_LOST'])

const BLANK: ReadonlySet<string> = new Set([' ', '\t', '\n', '\r', ';'])

export interface AnalystParts {
  /**
   * Sends a request to the tenant's own disposable process, JSON text both ways, and charges its time to the account. Rejects
   * if the process crashed, timed out or could not be started.
   */
  readonly ask: (tenant: string, requestText: string, account?: JobAccount) => Promise<string>
  /** Cached analyses of all tenants together. Default 512. */
  readonly cacheEntriesMax?: number
  readonly emitter: Pick<Emitter, 'emit'>
  /** Version of the rules in force; a change invalidates every cached entry. */
  readonly rulesVersion?: () => string
  /** True if zones of the job's source are analysed as well; false by default. */
  readonly zones?: (job: Job) => boolean
  readonly clock?: Pick<Clock, 'now'>
  /** Stored replies of earlier processes; the first reply of this process is stored too. */
  readonly kept?: ReplyCache | undefined
  /** Code of package layers; without it, no layer is analysed. */
  readonly layers?: LayerCode
}

/** Maximum reply, in UTF-16 units: a source and its files without types, and findings. */
const replyUnitsMax = 18 * 2 ** 20
/** Cached analyses that carry a source also count by length; the cache keeps 64 Mi units of those. */
const cacheUnitsMax = 64 * 2 ** 20
/** Cache weight of one zone's positions. */
const placeUnits = 2048
/** Cache weight of one edit of a cell. */
const editUnits = 32

/**
 * Analyses a job. Never throws for a property of the code: every failure before a trustworthy reply is the finding
 * UNPARSED, which is never cached.
 */
export function createAnalyst(parts: AnalystParts): (job: Job) => Promise<CachedAnalysis> {
  const { cacheEntriesMax = 512, emitter, kept, rulesVersion = () => tableVersion } = parts
  const { clock = systemClock, zones = () => false } = parts
  const cache = new Cache(cacheEntriesMax, cacheUnitsMax)
  let asks = 0
  const ask: AnalystParts['ask'] = (...asked) => {
    asks++
    return parts.ask(...asked)
  }
  // Results are stored beside the layers, and outlive an update of the rules.
  const version = () => `${rulesVersion()} ${analyserVersion()}`
  const inLayers = createLayerAnalyst({ ask, layers: parts.layers, version, emitter })
  // Only the first reply is stored: a parser that an earlier source compromised may return false replies for later
  // ones.
  const keep: ReplyCache['keep'] = (of, reply) => void (asks === 1 && kept?.keep(of, reply))
  const recalling = kept && { recall: (of: readonly string[]) => kept.recall(of), keep }
  return async (job) => {
    const began = clock.now()
    const digest = digestOf(job, rulesVersion())
    const withZones = zones(job)
    const key = `${job.tenant}\0${withZones ? 'zones' : ''}\0${digest}`
    const known = cache.get(key)
    const analysis =
      known ??
      (await inspectElsewhere(job, digest, withZones, { ask, emitter, inLayers, kept: recalling }))
    if (analysis.isTrusted) cache.set(key, analysis)
    const cached = known !== undefined || analysis.isFromStore === true
    const facts = { ...factsAbout(analysis.value), tenant: job.tenant, cached }
    emitter.emit('threat/analysed', { ...facts, took: clock.now() - began }, { run: job.id })
    return { ...analysis.value, cached }
  }
}

interface CacheEntry {
  readonly value: Analysis
  /** True for a valid reply; other results are not cached. */
  readonly isTrusted: boolean
  /** True if read from a stored reply of an earlier process. */
  readonly isFromStore?: boolean
}

function factsAbout({ kind, verdict }: Analysis): Record<string, unknown> {
  const { language, entry, findings } = verdict
  const { threatScore, risk, judged } = shownScores(verdict)
  const patterns = findings.map(({ name }) => name)
  return { kind, threatScore, risk, judged, language, entry, patterns }
}

const tableVersion = sha256(canonicalJson(patterns))

/** Digest of all inputs of an analysis except the tenant. */
function digestOf({ asked, packages = [], session }: Job, rulesVersion: string): string {
  const { code, name = '', language, entry, files } = asked
  const parts = [sha256(code), String(code.length), name, language ?? '', entry, rulesVersion]
  for (const { path, content, encoding, type = 'file' } of files)
    parts.push(path, encoding, type, sha256(content))
  if (session?.kind === 'exec') parts.push('cell')
  for (const { kind, layer } of packages) parts.push('layer', kind, layer)
  return `sha256:${sha256(JSON.stringify(parts))}`
}

async function inspectElsewhere(
  job: Job,
  digest: string,
  zones: boolean,
  parts: Pick<AnalystParts, 'ask' | 'emitter' | 'kept'> & { inLayers: LayerMatcher },
): Promise<CacheEntry> {
  const { ask, emitter, inLayers, kept } = parts
  const recalled = recall(job, [job.tenant, digest, String(zones)], kept)
  const { code, name, language, entry, files } = job.asked
  const hasPackages = files.some(({ path }) => isOfPackage(path))
  /** If the parser crashes on a package, the job's own source is analysed without packages. */
  const inspect = async (packages: boolean): Promise<CacheEntry> => {
    const inspected = inspectedFiles(files, { packages })
    const request = {
      code,
      name,
      language,
      entry,
      files: inspected,
      ...(zones && { zones }),
      ...(job.session?.kind === 'exec' && { cell: true }),
    }
    try {
      const text = recalled ?? (await ask(job.tenant, JSON.stringify(request), job.account))
      const reply = readReply(text, job)
      const isTrusted = packages || !hasPackages
      if (!recalled && isTrusted && !holdsSource(reply))
        kept?.keep([job.tenant, digest, String(zones)], text)
      const found = [...reply.found, ...(await inLayers(job))]
      const value = analysisOf({ ...reply, found: mergeMatches(found) }, digest)
      return { value, isTrusted, isFromStore: recalled !== undefined }
    } catch (thrown) {
      if (couldNotStart(thrown)) throw thrown
      const fields = { why: reasonOf(thrown), tenant: job.tenant }
      emitter.emit('threat/unparsed', fields, { run: job.id })
      if (packages && hasPackages) return inspect(false)
      const unread = unparsed(job.asked, 'the analysis did not end')
      return { value: analysisOf(unread, digest), isTrusted: false }
    }
  }
  return inspect(true)
}

/** Looks up a stored reply and validates it like a fresh one; undefined if there is none, or it is invalid. */
function recall(
  job: Job,
  parts: readonly string[],
  kept: ReplyCache | undefined,
): string | undefined {
  const text = kept?.recall(parts)
  if (text === undefined) return undefined
  try {
    readReply(text, job)
    return text
  } catch {
    return undefined
  }
}

/** True for a reply that contains code of the job, which must not be stored: the operator did not ask for it. */
function holdsSource({ javascript, erased, split, cell }: Inspection): boolean {
  return [javascript, erased, split, cell].some((part) => part !== undefined)
}

/**
 * True if this machine could not analyse: a full queue, no process, no memory. The job is then neither judged nor run. A machine
 * without a jail judges it as unparsed instead: what can run there is decided by its walls.
 */
function couldNotStart(thrown: unknown): boolean {
  if (thrown instanceof NoAnalystError) return true
  return thrown instanceof MayflyError && START_ERRORS.has(thrown.code)
}

function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? `${thrown.name}: ${thrown.message}`.slice(0, 200) : 'unknown'
}

/** Validates a reply of the untrusted process: requested fields must match, and text must keep its length. */
function readReply(text: string, { asked }: Job): Inspection {
  if (text.length > replyUnitsMax)
    throw new RangeError(`Cannot read a reply of ${text.length} units`)
  const reply = inspectionSchema.parse(parseJson(text))
  if (asked.language !== undefined && reply.language !== asked.language) {
    throw new TypeError(`Cannot trust a reply for language "${reply.language}"`)
  }
  // Python's guest decides the entry itself, because `main` may be called only if the source does not call it.
  if (reply.entry === 'auto' && reply.language !== 'python')
    throw new TypeError('Cannot trust a reply whose entry is not decided')
  if (reply.javascript !== undefined && !isStripped(asked.code, reply.javascript)) {
    throw new TypeError('Cannot trust a reply whose source has another length')
  }
  assertErased(asked, reply.erased ?? [])
  return reply
}

function assertErased({ files }: Job['asked'], erased: readonly ErasedFile[]): void {
  if (erased.length === 0) return
  const sources = new Map(files.map(({ path, content, encoding }) => [path, { content, encoding }]))
  for (const { path, javascript } of erased) {
    const source = sources.get(path)
    if (source?.encoding !== 'utf8' || !isStripped(source.content, javascript))
      throw new TypeError('Cannot trust a reply about a file that was not sent')
  }
}

/** LRU cache, bounded in entries and in text. */
class Cache {
  readonly #entries = new Map<string, CacheEntry>()
  readonly #entriesMax: number
  readonly #unitsMax: number
  #units = 0

  constructor(entriesMax: number, unitsMax: number) {
    this.#entriesMax = entriesMax
    this.#unitsMax = unitsMax
  }

  get(key: string): CacheEntry | undefined {
    return this.#entries.get(key)
  }

  /** Inserts an entry, or moves it to the end. */
  set(key: string, entry: CacheEntry): void {
    this.#forget(key)
    this.#entries.set(key, entry)
    this.#units += unitsOf(entry)
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#entriesMax && this.#units <= this.#unitsMax) return
      this.#forget(oldest)
    }
  }

  #forget(key: string): void {
    const entry = this.#entries.get(key)
    if (!entry) return
    this.#entries.delete(key)
    this.#units -= unitsOf(entry)
  }
}

function unitsOf({ value }: CacheEntry): number {
  if (value.kind !== 'verdict') return 0
  const edits = editUnits * (value.cell?.edits.length ?? 0)
  const places = value.split ? placeUnits * value.split.zones.length : 0
  const files = (value.erased ?? []).reduce((sum, one) => sum + one.javascript.length, 0)
  return (value.javascript?.length ?? 0) + files + places + edits
}

/**
 * True if the text is the source with parts blanked out: stripping types turns characters into white space, or
 * into a semicolon that separates two lines. A compromised parser can then only remove the user's code, never
 * add any.
 */
function isStripped(source: string, text: string): boolean {
  if (text.length !== source.length) return false
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== source[at] && !BLANK.has(text[at]!)) return false
  }
  return true
}
