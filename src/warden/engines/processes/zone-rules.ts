import { realpathSync } from 'node:fs'
import path from 'node:path'
import { attempt } from '../../../lib/attempt.ts'
import type { ZoneRule } from '../../../contract/zone-rules.ts'

/** Names of an executed program: path as called, canonical file, and its interpreters if it is a script. */
export interface Executed {
  readonly path: string
  readonly real: string
  readonly by: readonly string[]
}

/** Folders in which a name without a path is looked up. */
const FOLDERS = ['/usr/local/bin', '/usr/bin', '/bin', '/usr/sbin', '/sbin']

/** Returns a lookup of the first rule that names a program. A symlink is one more name of its target. */
export function ruleFinder(
  rules: readonly ZoneRule[],
): (executed: Executed) => ZoneRule | undefined {
  const all = rules.map((rule) => ({
    rule,
    patterns: rule.programs.flatMap((program) => [program, ...filesOf(program)]),
  }))
  return ({ path: asked, real, by }) => {
    // The kernel adds a suffix to the path of an unlinked file.
    const names = [asked, real, ...by]
      .filter(Boolean)
      .map((name) => name.replace(/ \(deleted\)$/, ''))
    return all.find(({ patterns }) =>
      patterns.some((pattern) => names.some((name) => isNamed(pattern, name))),
    )?.rule
  }
}

function isNamed(pattern: string, name: string): boolean {
  return matches(pattern, pattern.startsWith('/') ? name : path.posix.basename(name))
}

/** Each part between two stars matches at its first occurrence: linear time, however many stars there are. */
export function matches(pattern: string, text: string): boolean {
  const [first = '', ...parts] = pattern.split('*')
  const last = parts.pop()
  if (last === undefined) return pattern === text
  if (!text.startsWith(first)) return false
  let at = first.length
  for (const part of parts) {
    const found = text.indexOf(part, at)
    if (found < 0) return false
    at = found + part.length
  }
  return text.length - last.length >= at && text.endsWith(last)
}

/** A wall's programs are files of the host, so their symlinks are resolved on the host. */
function filesOf(program: string): readonly string[] {
  if (program.includes('*')) return []
  const places = program.startsWith('/')
    ? [program]
    : FOLDERS.map((folder) => path.join(folder, program))
  return [...new Set(places.flatMap((place) => attempt(() => realpathSync(place)) ?? []))]
}
