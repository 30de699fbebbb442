import { ownArguments, programArguments } from '../lib/last-flag.ts'

/** Global flags with a value. */
const valued: ReadonlySet<string> = new Set(['--config', '--state'])

/** Arguments that are neither flags nor values of global flags: the verb, then its subcommand. */
export function positionals(argv: readonly string[]): readonly string[] {
  return argv.filter((word, at) => !word.startsWith('-') && !valued.has(argv[at - 1] ?? ''))
}

/** Other names of verbs. */
export const verbAliases = { record: 'audit' } as const
const aliases = new Map<string, string>(Object.entries(verbAliases))

/** Words of the command: with those after `--`, which the parser takes for a verb, a subcommand or their arguments too. */
export function commandWords(argv: readonly string[]): readonly string[] {
  const [verb, ...rest] = [...positionals(ownArguments(argv)), ...programArguments(argv)]
  return verb === undefined ? [] : [aliases.get(verb) ?? verb, ...rest]
}

/** True for `FLAG` and `FLAG=VALUE`. */
export function hasFlag(own: readonly string[], flag: string): boolean {
  return own.some((word) => word === flag || word.startsWith(`${flag}=`))
}

export function asksForHelp(own: readonly string[]): boolean {
  return own.includes('--help') || own.includes('-h')
}

/** True if a `serve` command line controls running servers (`--stop`, `--status`) and starts none. */
export function isOrder(argv: readonly string[]): boolean {
  return argv.includes('--status') || argv.includes('--stop')
}
