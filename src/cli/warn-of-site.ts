import { opendir, readFile, stat } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { refusedMarkup } from '../gateway/doors/refused-markup.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import { note, paint, type Globals } from './print.ts'

/** Bounds of a look at a site; what is beyond is not looked at. */
const ENTRIES_MAX = 5000
const PAGE_BYTES_MAX = 2 ** 20
const LINES_MAX = 20

/** Reports what of a site's pages their content policy refuses, since a browser says so in its console alone. */
export async function warnOfSite(site: string, flags: Globals): Promise<void> {
  const lines: string[] = []
  for await (const path of pagesOf(site))
    for (const { line, what } of refusedMarkup(await readFile(path, 'utf8')))
      lines.push(sanitiseLine(`  ${relative(site, path)}:${line}  ${what}`))
  if (lines.length === 0) return
  const more = lines.length > LINES_MAX ? [`  and ${lines.length - LINES_MAX} more`] : []
  const told = [
    'The content policy of pages refuses what is below: put code into scripts and styles of the site',
    ...lines.slice(0, LINES_MAX),
    ...more,
  ]
  note(flags, paint('yellow', told.join('\n')))
}

async function* pagesOf(site: string): AsyncGenerator<string> {
  let seen = 0
  for await (const entry of await opendir(site, { recursive: true })) {
    if ((seen += 1) > ENTRIES_MAX) return
    const path = join(entry.parentPath, entry.name)
    const isHidden = /(?:^|\/)\./.test(relative(site, path))
    if (isHidden || !entry.isFile() || !/\.html?$/i.test(entry.name)) continue
    if ((await stat(path)).size <= PAGE_BYTES_MAX) yield path
  }
}
