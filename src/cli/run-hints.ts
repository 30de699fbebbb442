import { existsSync } from 'node:fs'
import path from 'node:path'
import type { Outcome } from '../contract/outcome.ts'
import { wordedFor } from '../contract/remedy.ts'
import { shellQuoted } from '../lib/shell-word.ts'
import { isSecretName } from './secret-name.ts'

/** Characters of stderr, from its end, that are searched. */
const TAIL = 8_000
const hintsMax = 3

/** Errors of Python, Node and shell tools that name a file or module which was not found. */
const NOT_FOUND = [
  /No such file or directory: '([^'\n]{1,300})'/g,
  /ENOENT: no such file or directory, \w+ '([^'\n]{1,300})'/g,
  /Cannot find module '([^'\n]{1,300})'/g,
  /No module named '([\w.]{1,300})'/g,
  /: ([^:\s][^:\n]{0,300}): No such file or directory$/gm,
]
/** A missing package and how to bring packages, by language. */
const PACKAGES = [
  [
    /No module named '/,
    `Packages of Python are those of this machine: ${wordedFor('run', { field: 'packages' })} brings those of a virtual environment`,
  ],
  [
    /Cannot find (?:package|module) '[^./\n]/,
    `Packages of Node are those of a node_modules beside the program or above it: install it there, or ${wordedFor('run', { field: 'packages' })}`,
  ],
] as const
const SUFFIXES = ['', '.py', '.js', '.mjs', '.cjs', '.ts', '.json']

/**
 * Hints for a job that failed because it has its own files only: the flags that bring a file of the current folder or
 * packages. The program chose the text in which they are searched, so a hint names nothing but an existing
 * file below the folder of the program or the current one, and never a likely secret.
 */
export function runHints({ status, error, stderr }: Outcome, file: string): string[] {
  if (status !== 'error') return []
  const text = `${error?.message ?? ''}\n${error?.stack ?? ''}\n${stderr.slice(-TAIL)}`
  const files = missingFiles(text, file).map(
    (given) =>
      `The job has no files but those that it brings: ${wordedFor('run', { field: 'files', value: given })}`,
  )
  const packages = PACKAGES.flatMap(([pattern, hint]) => (pattern.test(text) ? [hint] : []))
  return files.length > 0 ? files : packages
}

function missingFiles(text: string, file: string): string[] {
  const named = NOT_FOUND.flatMap((pattern) =>
    [...text.matchAll(pattern)].flatMap(([, name = '']) => [name, name.replaceAll('.', '/')]),
  )
  const given = named.map((name) => givenAs(name, file)).filter((flag) => flag !== undefined)
  return [...new Set(given)].slice(0, hintsMax)
}

/** Value of `--file` that brings the file under the name by which the program looked for it. */
function givenAs(name: string, file: string): string | undefined {
  const inside = path.posix.normalize(name.replace(/^\/work\//, ''))
  if (path.isAbsolute(inside) || inside.split('/').some(isNotOffered)) return undefined
  const folder = file === '-' ? '.' : path.dirname(file)
  for (const suffix of SUFFIXES) {
    const beside = path.join(folder, inside + suffix)
    if (existsSync(beside)) return words(beside, inside + suffix)
    if (existsSync(inside + suffix)) return words(inside + suffix, inside + suffix)
  }
  return undefined
}

const isNotOffered = (part: string) => /^$|^\.|[^\w.@ +-]/.test(part) || isSecretName(part)

function words(from: string, inside: string): string {
  const given = from === inside ? from : `${from}=${inside}`
  return /^[\w./@=+-]+$/.test(given) ? given : shellQuoted(given)
}
