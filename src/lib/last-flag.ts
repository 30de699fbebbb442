/** Arguments before `--`. */
export function ownArguments(argv: readonly string[]): readonly string[] {
  const dashes = argv.indexOf('--')
  return dashes < 0 ? argv : argv.slice(0, dashes)
}

/** Arguments after `--`, which belong to another program. */
export function programArguments(argv: readonly string[]): readonly string[] {
  return argv.slice(ownArguments(argv).length + 1)
}

/** Value of the last `FLAG VALUE` or `FLAG=VALUE` before `--`; undefined if there is none. */
export function lastFlag(argv: readonly string[], flag: string): string | undefined {
  const own = ownArguments(argv)
  const at = own.findLastIndex((word) => word === flag || word.startsWith(`${flag}=`))
  if (at < 0) return undefined
  return own[at] === flag ? own[at + 1] : own[at]!.slice(flag.length + 1)
}
