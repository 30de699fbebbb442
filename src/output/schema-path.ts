/**
 * Position in a result: key and parent; undefined is the root. The JSON Pointer is built only for the reported
 * mismatch, since keys may be as long as the result.
 */
export interface ValuePath {
  readonly above: ValuePath | undefined
  readonly key: string | number
}

/** Maximum of a reported pointer in UTF-16 units; the rest is cut and marked "…". */
const unitsMax = 1000

/** JSON Pointer of a position, "" for the root, cut to 1,000 units. */
export function pointer(place: ValuePath | undefined): string {
  const keys: string[] = []
  for (let at = place; at !== undefined; at = at.above) {
    keys.push(typeof at.key === 'number' ? `${at.key}` : escapePointer(cut(at.key)))
  }
  const text = keys.toReversed().map((key) => `/${key}`)
  return cut(text.join(''))
}

/** Cuts text to 1,000 units and marks the cut with "…". */
export function cut(text: string): string {
  return text.length > unitsMax ? `${text.slice(0, unitsMax).toWellFormed()}…` : text
}

/** Escapes a key for a JSON Pointer. */
export function escapePointer(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1')
}
