import { globSync } from 'node:fs'
import { posix } from 'node:path'
import { titlesIn } from './titles.ts'
import { root, type Source } from './tree.ts'

const folders = 'src|tests|scripts|guest|bin|docs|policies|bench|examples|images'
const quoted = new RegExp(`\`((?:${folders})/[\\w./*{},-]*)\``, 'g')
const link = /\]\((?!https?:|mailto:|#)([^)#\s]+)/g

/** Paths that a document names, in backticks or as a link, and that do not exist. */
export function documentFaults(
  documents: readonly Source[],
  exists: (path: string) => boolean = isThere,
): readonly string[] {
  return documents.flatMap((document) =>
    pathsIn(document)
      .filter((path) => !exists(path))
      .map((path) => `${document.path} names "${path}", which is not there`),
  )
}

/** A filled row of docs/promises.md: the file that implements it, and the test that shows it. */
export interface Promised {
  readonly row: string
  readonly file: string
  readonly test: string
  readonly title: string
}

/** Reads the table of docs/promises.md; rows that say `not yet` are left out. */
export function promisesIn(text: string): readonly Promised[] {
  const rows = text.split('\n').filter((line) => /^\| S\d+-\d+ /.test(line))
  return rows.flatMap((line) => {
    const [row = '', , file = '', test = '', title = ''] = cells(line)
    return file === 'not yet' ? [] : [{ row, file: bare(file), test: bare(test), title }]
  })
}

/**
 * Promises whose file or test file is missing, whose title is no whole string of that test file, or that repeat the row, the
 * file and the title of a line above: a merge of both sides brings an old wording back beside the new one.
 */
export function promiseFaults(
  promised: readonly Promised[],
  textOf: (path: string) => string | undefined,
): readonly string[] {
  const titlesOf = new Map<string, ReadonlySet<string>>()
  const known = new Set<string>()
  return promised.flatMap(({ row, file, test, title }) => {
    const id = JSON.stringify([row, file, test, title])
    if (known.has(id)) return [`${row}: two lines name "${file}" and the test "${title}"`]
    known.add(id)
    if (textOf(file) === undefined) return [`${row}: "${file}" is not there`]
    const text = textOf(test)
    if (text === undefined) return [`${row}: "${test}" is not there`]
    const titles = titlesOf.get(test) ?? titlesIn({ path: test, text })
    titlesOf.set(test, titles)
    return titles.has(title) ? [] : [`${row}: "${test}" has no test "${title}"`]
  })
}

/** The cells of a Markdown table's line, trimmed. */
export function cells(line: string): readonly string[] {
  return line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim())
}

function pathsIn({ path, text }: Source): readonly string[] {
  const inQuotes = [...text.matchAll(quoted)].map(([, found = '']) => found)
  const links = [...text.matchAll(link)].map(([, found = '']) =>
    posix.join(posix.dirname(path), found),
  )
  return [...new Set([...inQuotes, ...links])]
}

function isThere(path: string): boolean {
  return globSync(path.replace(/\/$/, ''), { cwd: root }).length > 0
}

function bare(cell: string): string {
  return cell.replaceAll('`', '')
}
