import type { Language } from '../contract/job.ts'
import type { Dialect } from './parse.ts'

/** Dialect by file name; undefined for an unknown suffix. */
export function dialectOfFile(name: string): Dialect | undefined {
  const suffix = /\.([cm]?[jt]s|[jt]sx)$/.exec(name)?.[1]
  if (suffix === undefined) return undefined
  if (suffix === 'tsx' || suffix === 'jsx') return suffix
  return suffix.endsWith('ts') ? 'ts' : 'js'
}

/** Dialect of a job's own source, by the given language, else by its name; undefined without either. */
export function dialectOf(language: Language | undefined, name = ''): Dialect | undefined {
  if (language === 'js') return 'js'
  const named = dialectOfFile(name)
  return language === 'ts' && named !== 'tsx' ? 'ts' : named
}
