/** Global flags with a value. */
const valued: ReadonlySet<string> = new Set(['--config', '--state'])

/** Value of a flag; the last occurrence counts, as in commander. */
export function flagValueOf(argv: readonly string[], flag: string): string | undefined {
  const at = argv.findLastIndex((word) => word === flag || word.startsWith(`${flag}=`))
  if (at < 0) return undefined
  return argv[at]!.includes('=') ? argv[at]!.slice(flag.length + 1) : argv[at + 1]
}

/** Arguments that are neither flags nor values of global flags: the verb, then its subcommand. */
export function positionals(argv: readonly string[]): readonly string[] {
  return argv.filter((word, at) => !word.startsWith('-') && !valued.has(argv[at - 1] ?? ''))
}

/** True if a `serve` command line controls running servers (`--stop`, `--status`) and starts none. */
export function isOrder(argv: readonly string[]): boolean {
  return argv.includes('--status') || argv.includes('--stop')
}
