import type { Entry, Language } from '../contract/job.ts'
import { languageOfShebang } from '../contract/shebang.ts'
import { dialectOf } from './dialect.ts'

/** What a source is, told from its text alone, when no parser may read it or none came back. */
export function languageWithoutTree(
  source: string,
  asked: Language | undefined,
  name?: string,
): Language {
  if (asked !== undefined) return asked
  const told = languageOfShebang(source)
  if (told !== undefined) return told
  if (NODE_WORD.test(source)) return 'node'
  return (dialectOf(asked, name) ?? 'js') === 'js' ? 'js' : 'ts'
}

/** The same for its entry; `auto` of a Python alone. */
export function entryWithoutTree(asked: Entry, language: Language, source: string): Entry {
  if (asked !== 'auto' || language === 'python') return asked
  if (language !== 'js' && language !== 'ts') return 'program'
  return MODULE_STATEMENT.test(source) ? 'module' : 'body'
}

const NODE_WORD = /\brequire\s*\(|["']node:/

/** A line that begins as only a module's can. */
export const MODULE_STATEMENT = /^[ \t]*(?:import\b(?![ \t]*\()|export\b)/m
/** These words cannot be written with escapes, so that a source without them is no module. */
export const MODULE_WORD = /\b(?:import|export)\b/
