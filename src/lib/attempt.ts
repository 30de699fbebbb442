/**
 * Result of `act`; undefined if it throws. For calls whose failures all have one meaning, such as a read of a file that may be gone.
 *
 *     const names = attempt(() => readdirSync('/opt')) ?? []
 */
export function attempt<T>(act: () => T): T | undefined {
  try {
    return act()
  } catch {
    return undefined
  }
}
