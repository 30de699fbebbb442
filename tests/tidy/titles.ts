import { parseSync, Visitor } from 'oxc-parser'
import type { Source } from './tree.ts'

/**
 * Every string literal and template of a source. A title may stand in a table of cases, so that it is no argument of
 * `test`. Comments are left out: a title that only a comment names is no test.
 */
export function titlesIn({ path, text }: Source): ReadonlySet<string> {
  const titles = new Set<string>()
  const visitor = new Visitor({
    Literal({ value }) {
      if (typeof value === 'string') titles.add(value)
    },
    TemplateLiteral({ start, end }) {
      titles.add(text.slice(start + 1, end - 1))
    },
  })
  visitor.visit(parseSync(path, text).program)
  return titles
}
