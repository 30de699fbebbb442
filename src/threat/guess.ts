import type { Entry, Job, Language } from '../contract/job.ts'
import { languageOfShebang } from '../contract/shebang.ts'
import { dialectOf } from './dialect.ts'
import type { Inspection } from './inspection.ts'
import { unparsedMatch } from './unparsed-match.ts'

/** Inspection of a source that is not parsed, with the reason. */
export function unparsed(asked: UnparsedSource, detail: string): Inspection {
  const language = languageWithoutTree(asked.code, asked.language, asked.name)
  return {
    language,
    entry: entryWithoutTree(asked.entry, language, asked.code),
    found: [unparsedMatch(detail)],
    complexityScore: 0,
    behaviorScore: 0,
  }
}

type UnparsedSource = Pick<Job['asked'], 'code' | 'language' | 'name' | 'entry'>

/** Guesses the language from the text alone, when no parse is possible. */
function languageWithoutTree(source: string, asked: Language | undefined, name?: string): Language {
  if (asked !== undefined) return asked
  const told = languageOfShebang(source)
  if (told !== undefined) return told
  if (NODE_WORD.test(source)) return 'node'
  return (dialectOf(asked, name) ?? 'js') === 'js' ? 'js' : 'ts'
}

/** Guesses the entry likewise; `auto` only for Python. */
function entryWithoutTree(asked: Entry, language: Language, source: string): Entry {
  if (asked !== 'auto' || language === 'python') return asked
  if (language !== 'js' && language !== 'ts') return 'program'
  return MODULE_STATEMENT.test(source) ? 'module' : 'body'
}

const NODE_WORD = /\brequire\s*\(|["']node:/

/** A line that can only start a module's statement. */
export const MODULE_STATEMENT = /^[ \t]*(?:import\b(?![ \t]*\()|export\b)/m
/** Keywords that cannot be written with escapes: a source without them is no module. */
export const MODULE_WORD = /\b(?:import|export)\b/
