/**
 * Caches what `look` finds for `ms` milliseconds, so that many callers in a row share one look at the machine and a
 * change is still seen soon after it. An error is not cached.
 *
 *     const folders = cacheBriefly(1_000, () => readdirSync('/opt'))
 *     folders()
 */
export function cacheBriefly<T>(
  ms: number,
  look: () => T,
  clock: () => number = () => performance.now(),
): () => T {
  let found: { readonly value: T; readonly until: number } | undefined
  return () => {
    if (found && clock() < found.until) return found.value
    const value = look()
    found = { value, until: clock() + ms }
    return value
  }
}
