import { statAsOwner } from '../lib/owner-files.ts'

/** Splits the `PATH=NAME` of `--file` after the longest path that exists, because a path may contain equals signs itself. */
export function splitFileFlag(given: string): { readonly from: string; readonly as?: string } {
  if (statAsOwner(given)) return { from: given }
  const signs = [...given.matchAll(/=/g)].map(({ index }) => index)
  const at = signs.findLast((one) => statAsOwner(given.slice(0, one))) ?? signs[0]
  return at === undefined ? { from: given } : { from: given.slice(0, at), as: given.slice(at + 1) }
}
