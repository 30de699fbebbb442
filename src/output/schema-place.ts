/**
 * Where in a result a look is: its key and the place above it; undefined is the whole result. A pointer is written
 * only for the one mismatch that is told, since keys may be as long as the result.
 */
export interface Place {
  readonly above: Place | undefined
  readonly key: string | number
}

/** UTF-16 units of a pointer that is told; what is behind them is cut and marked with "…". */
const unitsMax = 1000

/** JSON Pointer of a place, "" for the whole result. One of more than 1,000 units is cut. */
export function pointer(place: Place | undefined): string {
  const keys: string[] = []
  for (let at = place; at !== undefined; at = at.above) {
    keys.push(typeof at.key === 'number' ? `${at.key}` : escapePointer(cut(at.key)))
  }
  const text = keys.toReversed().map((key) => `/${key}`)
  return cut(text.join(''))
}

/** The first 1,000 units of a text; what is cut off is marked with "…". */
export function cut(text: string): string {
  return text.length > unitsMax ? `${text.slice(0, unitsMax).toWellFormed()}…` : text
}

/** A key as a JSON Pointer has it. */
export function escapePointer(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1')
}
