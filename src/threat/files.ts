import { folderOf, isCodePath, normalPath, plainFiles } from '../contract/files.ts'
import type { JobFile, Language } from '../contract/job.ts'
import type { Facts } from './facts.ts'
import type { PatternMatch } from './pattern-match.ts'
import { unparsedMatch } from './unparsed-match.ts'

export interface InspectedFile {
  readonly path: string
  readonly content: string
  readonly encoding?: 'utf8' | 'base64' | undefined
  /** Content omitted from the request: importing it loads unanalysed code. */
  readonly unread?: true | undefined
}

/** Source of the job, and its path among the job's files. */
export interface Main {
  readonly name: string
  readonly facts: Facts
}

export type FileInspector = (
  source: string,
  file: InspectedFile,
) => { found: PatternMatch[]; facts?: Facts }

/** Maximum code in the job's own files together, in UTF-16 units. */
export const fileUnitsMax = 4 * 2 ** 20
/**
 * The same for packages, which are read whole or not at all: this takes half a second to parse, and most jobs
 * bring more.
 */
export const packageUnitsMax = 2 ** 20
/** Prefix of a file without a code suffix that is searched for NUL, as a sign of binary data. */
const SNIFFED_UNITS = 8192

/**
 * Files for an analysis: the job's own before those of packages, with content only for files that are, or may
 * be loaded as, code, up to a bound. A data file is no code, however large.
 */
export function inspectedFiles(
  files: readonly JobFile[],
  { packages }: { readonly packages: boolean },
): readonly InspectedFile[] {
  const plain = plainFiles(files)
  const ofPackages = plain.filter(({ path }) => isOfPackage(path) && isCodePath(path))
  const units = ofPackages.reduce((sum, { content }) => sum + content.length, 0)
  const room = { own: fileUnitsMax, package: packages && units <= packageUnitsMax ? units : -1 }
  const inspected = plain.map(({ path, content, encoding }): InspectedFile => {
    const kind = kindOf(path)
    const isRead = isCodePath(path) || (kind === 'own' && isLoadable(path, content, encoding))
    if (isRead) room[kind] -= content.length
    return isRead && room[kind] >= 0
      ? { path, content, encoding }
      : { path, content: '', unread: true }
  })
  return inspected.toSorted((a, b) => Number(isOfPackage(a.path)) - Number(isOfPackage(b.path)))
}

/**
 * Findings in the job's code files: by suffix, or because other code loads them. Lines and columns are those of
 * the file, which the detail names. Unreadable code is UNPARSED in the job's own files and UNREAD_DEPENDENCY in
 * a package.
 */
export function* inFiles(
  files: readonly InspectedFile[],
  main: Main,
  { language, read }: { readonly language: Language; readonly read: FileInspector },
): Generator<PatternMatch> {
  if (files.length === 0) return
  const byPath = new Map(files.map((file) => [normalPath(file.path), file]))
  const waiting = [...byPath.keys()].filter(isCodePath)
  for (const path of loadedBy(main.facts, main.name, byPath)) waiting.push(path)
  const seen = new Set<string>()
  const units = { own: 0, package: 0 }
  for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
    if (seen.has(path)) continue
    seen.add(path)
    const kind = kindOf(path)
    if (units[kind] > unitsMax[kind]) continue
    const file = byPath.get(path)!
    const source = textOfFile(file)
    units[kind] += file.unread ? Infinity : source.length
    if (units[kind] > unitsMax[kind]) {
      yield unreadIn(kind)
      continue
    }
    const { found, facts } = read(source, file)
    for (const one of found) {
      const told = inKind(one, kind, language)
      yield { ...told, detail: detailOf(told, path) }
    }
    if (facts) waiting.push(...loadedBy(facts, path, byPath))
  }
}

/**
 * Facts of the job's own files that its source loads, transitively, if readable. Packages are excluded.
 */
export function* loadedFacts(
  files: readonly InspectedFile[],
  main: Main,
  read: (source: string, file: InspectedFile) => Facts | undefined,
): Generator<Facts> {
  const byPath = new Map(files.map((file) => [normalPath(file.path), file]))
  const waiting = [...loadedBy(main.facts, main.name, byPath)]
  const seen = new Set([main.name])
  let units = 0
  for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
    const file = byPath.get(path)!
    if (seen.has(path) || isOfPackage(path) || file.unread) continue
    seen.add(path)
    const source = textOfFile(file)
    units += source.length
    if (units > fileUnitsMax) return
    const facts = read(source, file)
    if (!facts) continue
    yield facts
    waiting.push(...loadedBy(facts, path, byPath))
  }
}

type Kind = 'own' | 'package'
const unitsMax: Readonly<Record<Kind, number>> = { own: fileUnitsMax, package: packageUnitsMax }

function kindOf(path: string): Kind {
  return isOfPackage(path) ? 'package' : 'own'
}

/** Finding for unanalysed code. */
export function unreadIn(kind: Kind): PatternMatch {
  const detail = `more code in files than ${unitsMax[kind]} characters`
  return inKind(unparsedMatch(detail), kind)
}

/**
 * Adapts a finding to its file. Unreadable package code raises the tier and never blocks. The same holds for
 * VM_ESCAPE with language `node`: shims of language features are written that way, and a Node program has no
 * realm to escape. In an isolate a package runs in the job's realm, so the finding stands.
 */
function inKind(found: PatternMatch, kind: Kind, language?: Language): PatternMatch {
  const isLess = found.name === 'UNPARSED' || (found.name === 'VM_ESCAPE' && language === 'node')
  if (kind === 'own' || !isLess) return found
  const detail = found.detail ?? (found.name === 'VM_ESCAPE' ? 'it reaches for a constructor' : '')
  return { ...found, name: 'UNREAD_DEPENDENCY', ...(detail && { detail }) }
}

/** True below `node_modules`, or below a folder of installed Python packages. */
export function isOfPackage(path: string): boolean {
  return PACKAGE_FOLDER.test(normalPath(path))
}

const PACKAGE_FOLDER = /(?:^|\/)(?:node_modules|site-packages|dist-packages)\//
/** Declarations, which no program loads. */
const DECLARATIONS = /\.d\.[cm]?ts$/
/** Suffixes that no program loads as JavaScript. */
const DATA =
  /\.(?:json|node|wasm|css|html?|md|txt|csv|tsv|map|svg|png|jpe?g|gif|pdf|zip|gz|whl|py|sh)$/i

/** True for a file without a known suffix that other code may load. */
function isLoadable(path: string, content: string, encoding: JobFile['encoding']): boolean {
  if (DATA.test(path) || DECLARATIONS.test(path) || encoding === 'base64') return false
  return !content.slice(0, SNIFFED_UNITS).includes('\0')
}

function detailOf({ detail }: PatternMatch, path: string): string {
  const where = `in "${path.slice(0, 100)}"`
  return detail ? `${detail}, ${where}` : where
}

function textOfFile({ content, encoding }: InspectedFile): string {
  return encoding === 'base64' ? Buffer.from(content, 'base64').toString('utf8') : content
}

const ENDINGS = ['', '.ts', '.tsx', '.js', '.jsx', '.mjs', '.cjs', '.mts', '.cts', '.json']
const INDEXES = ENDINGS.slice(1).map((ending) => `/index${ending}`)

/** Candidate files of an import: TypeScript imports name the emitted file. */
function writtenAs(target: string): readonly string[] {
  const typed = target.replace(/\.([cm]?)js(x?)$/, '.$1ts$2')
  return typed === target ? [target] : [target, typed, `${typed}x`]
}

function* loadedBy(
  facts: Facts,
  from: string,
  byPath: ReadonlyMap<string, unknown>,
): Generator<string> {
  const folder = folderOf(from)
  for (const { module } of facts.loads) {
    const name = module?.startsWith('file:///') ? module.slice('file://'.length) : module
    if (name === undefined || !/^(?:\/|\.\.?(?:\/|$))/.test(name)) continue
    const target = normalPath(name.startsWith('/') ? name : `${folder}/${name}`)
    const path = [
      ...writtenAs(target),
      ...[...ENDINGS, ...INDEXES].map((end) => target + end),
    ].find((candidate) => byPath.has(candidate))
    if (path !== undefined && !path.endsWith('.json')) yield path
  }
}
