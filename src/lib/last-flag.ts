/** Value of the last `FLAG VALUE` or `FLAG=VALUE` before `--`; undefined if there is none. */
export function lastFlag(argv: readonly string[], flag: string): string | undefined {
  const dashes = argv.indexOf('--')
  const own = dashes < 0 ? argv : argv.slice(0, dashes)
  const at = own.findLastIndex((word) => word === flag || word.startsWith(`${flag}=`))
  if (at < 0) return undefined
  return own[at] === flag ? own[at + 1] : own[at]!.slice(flag.length + 1)
}
