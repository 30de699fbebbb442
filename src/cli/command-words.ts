/** Global flags with a value. */
const valued: ReadonlySet<string> = new Set(['--config', '--state'])

/** Words of a command line that are neither flags nor the value of a global one: the verb, then its part. */
export function commandWords(argv: readonly string[]): readonly string[] {
  return argv.filter((word, at) => !word.startsWith('-') && !valued.has(argv[at - 1] ?? ''))
}
