import type { PatternMatch } from './pattern-match.ts'

/**
 * Finding for code that was not analysed, with the reason. Apart from the schemas, because an analysis process that runs
 * from the sources has no packages but the parsers.
 */
export function unparsedMatch(detail: string): PatternMatch {
  return { name: 'UNPARSED', line: 1, column: 1, count: 1, detail }
}
