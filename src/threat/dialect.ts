import type { Language } from '../contract/job.ts'
import type { Dialect } from './parse.ts'

/** What a file is written in, by its name; undefined when that says nothing. */
export function dialectOfFile(name: string): Dialect | undefined {
  const suffix = /\.([cm]?[jt]s|[jt]sx)$/.exec(name)?.[1]
  if (suffix === undefined) return undefined
  if (suffix === 'tsx' || suffix === 'jsx') return suffix
  return suffix.endsWith('ts') ? 'ts' : 'js'
}

/** What a job's own source is written in: by the language that was given, else by its name; undefined when nobody said. */
export function dialectOf(language: Language | undefined, name = ''): Dialect | undefined {
  if (language === 'js') return 'js'
  const named = dialectOfFile(name)
  return language === 'ts' && named !== 'tsx' ? 'ts' : named
}
