import type { Facts } from './facts.ts'
import type { Found } from './patterns.ts'

export interface InspectedFile {
  readonly path: string
  readonly content: string
  readonly encoding?: 'utf8' | 'base64' | undefined
}

type Read = (source: string, typescript: boolean) => { found: Found[]; facts?: Facts }

/** UTF-16 units of all files that are read as code together. */
export const fileUnitsMax = 4 * 2 ** 20

/**
 * Findings in the files of a job that are code: by their name, or because something that is code loads them. Their
 * lines and columns are those of the file, which the detail names.
 */
export function* inFiles(
  files: readonly InspectedFile[],
  main: Facts,
  read: Read,
): Generator<Found> {
  if (files.length === 0) return
  const byPath = new Map(files.map((file) => [normal(file.path), file]))
  const waiting = [...byPath.keys()].filter((path) => CODE.test(path))
  for (const path of loadedBy(main, '', byPath)) waiting.push(path)
  const seen = new Set<string>()
  let units = 0
  for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
    if (seen.has(path)) continue
    seen.add(path)
    const source = textOfFile(byPath.get(path)!)
    units += source.length
    if (units > fileUnitsMax) {
      yield {
        name: 'UNPARSED',
        line: 1,
        column: 1,
        count: 1,
        detail: `more code in files than ${fileUnitsMax} characters`,
      }
      return
    }
    const { found, facts } = read(source, /\.[cm]?ts$/.test(path))
    for (const one of found) yield { ...one, detail: detailOf(one, path) }
    if (facts) waiting.push(...loadedBy(facts, path, byPath))
  }
}

const CODE = /\.[cm]?[jt]s$/

function detailOf({ detail }: Found, path: string): string {
  const where = `in "${path.slice(0, 100)}"`
  return detail ? `${detail}, ${where}` : where
}

function textOfFile({ content, encoding }: InspectedFile): string {
  return encoding === 'base64' ? Buffer.from(content, 'base64').toString('utf8') : content
}

function normal(path: string): string {
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return parts.join('/')
}

const ENDINGS = ['', '.js', '.mjs', '.cjs', '.ts', '.json', '/index.js']

function* loadedBy(
  facts: Facts,
  from: string,
  byPath: ReadonlyMap<string, unknown>,
): Generator<string> {
  const folder = from.includes('/') ? from.slice(0, from.lastIndexOf('/')) : ''
  for (const { module } of facts.loads) {
    if (module === undefined || !/^\.{0,2}\//.test(module)) continue
    const target = normal(`${folder}/${module}`)
    const path = ENDINGS.map((ending) => target + ending).find((candidate) => byPath.has(candidate))
    if (path !== undefined && !path.endsWith('.json')) yield path
  }
}
