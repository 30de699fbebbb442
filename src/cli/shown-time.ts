/** Maximum of a JavaScript date. */
const timeMax = 8.64e15

/** Display only: a time in UTC, or `?` for a number that is none. */
export function shownTime(at: number): string {
  return Math.abs(at) <= timeMax ? new Date(at).toISOString() : '?'
}
