/**
 * Caches the result of `look` for `ms` milliseconds, so that concurrent callers share one lookup and changes are
 * still noticed soon. Errors are not cached.
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
