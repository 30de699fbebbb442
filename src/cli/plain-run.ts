import { ownArguments, programArguments } from '../lib/last-flag.ts'
import type { RunFlags } from './run-flags.ts'

/**
 * Parses simple command lines of `mayfly run`: one file, and flags of this table. Undefined for any other line, including
 * ambiguous and invalid ones, which commander parses and reports. A test
 * compares both for the same lines.
 */
export interface PlainRun {
  readonly file: string
  readonly args: readonly string[]
  readonly flags: RunFlags
}

const texts: Readonly<Record<string, keyof RunFlags>> = {
  '--input': 'input',
  '--timeout': 'timeout',
  '--memory': 'memory',
  '--disk': 'disk',
  '--output': 'output',
  '--schedule': 'schedule',
  '--provider': 'provider',
  '--state': 'state',
}
const switches: Readonly<Record<string, Partial<RunFlags>>> = {
  '--json': { json: true },
  '--json=short': { json: true, short: true },
  '--quiet': { quiet: true },
  '--stdin': { stdin: true },
  '--idempotent': { idempotent: true },
  '--pass-exit-code': { passExitCode: true },
  '--explain': { explain: true },
  '--no-packages': { packages: false },
}

export function plainRun(argv: readonly string[]): PlainRun | undefined {
  const own = ownArguments(argv)
  const places: string[] = []
  let flags: RunFlags = {}
  for (let at = 0; at < own.length; at += 1) {
    const word = own[at]!
    const next = own[at + 1]
    const text = Object.hasOwn(texts, word) ? texts[word] : undefined
    if (Object.hasOwn(switches, word)) flags = { ...flags, ...switches[word] }
    else if (text !== undefined) {
      if (next === undefined || next === '' || next.startsWith('-')) return undefined
      flags = { ...flags, [text]: next }
      at += 1
    } else if (word === '-' || (word !== '' && !word.startsWith('-'))) places.push(word)
    else return undefined
  }
  const [verb, file, ...more] = places
  if (verb !== 'run' || file === undefined || more.length > 0) return undefined
  return { file, args: programArguments(argv), flags }
}
