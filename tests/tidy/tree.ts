import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** A text file of the project; `path` is relative to the root, with `/`. */
export interface Source {
  readonly path: string
  readonly text: string
}

export const root = join(import.meta.dirname, '../..')

const patterns = [
  '*.{md,json,toml}',
  '.ci/*',
  '{bin,bench,docs,examples,guest,images,policies,scripts,src,tests}/**/*.{ts,js,md,json,toml,c,html,css}',
]

/** Reads every text file of the project, the generated lock file excepted. */
export function readTree(): readonly Source[] {
  const paths = patterns.flatMap((pattern) => globSync(pattern, { cwd: root })).sort()
  return paths
    .filter((path) => path !== 'package-lock.json' && !isOfOthers(path))
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))
}

/** Installed packages, and the corpus of programs: written as anybody writes, never edited. */
function isOfOthers(path: string): boolean {
  return path.includes('node_modules/') || path.startsWith('tests/everyday/programs/')
}

/** Code that ships: no tests. */
export function isShipped(path: string): boolean {
  return /^(src|guest|bin)\/.*\.(ts|js)$/.test(path) && !isTest(path)
}

export function isTest(path: string): boolean {
  return /\.test\.(ts|js)$/.test(path)
}
