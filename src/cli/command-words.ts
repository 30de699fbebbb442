/** Global flags with a value. */
const valued: ReadonlySet<string> = new Set(['--config', '--state'])

/** Value of a flag; the last one counts, as for commander. */
export function valueOf(argv: readonly string[], flag: string): string | undefined {
  const at = argv.findLastIndex((word) => word === flag || word.startsWith(`${flag}=`))
  if (at < 0) return undefined
  return argv[at]!.includes('=') ? argv[at]!.slice(flag.length + 1) : argv[at + 1]
}

/** Words of a command line that are neither flags nor the value of a global one: the verb, then its part. */
export function commandWords(argv: readonly string[]): readonly string[] {
  return argv.filter((word, at) => !word.startsWith('-') && !valued.has(argv[at - 1] ?? ''))
}

/** Whether a command line of `serve` is an order to servers that are there, and starts none. */
export function isOrder(argv: readonly string[]): boolean {
  return argv.includes('--status') || argv.includes('--stop')
}
