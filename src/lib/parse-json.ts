import { parseJsonOfAnybody as parse } from '../../guest/parse-json.js'

/**
 * `JSON.parse` without a bug of V8 (nodejs/node#63785): after a text with a backslash in a key, V8 mistakes later keys
 * for that one, so that one tenant's JSON would change another's. Throws SyntaxError. Costs a second pass (1 ms for
 * 100 kB) for a text with a backslash, and a second parse for an escaped key: some microseconds each, hence the bound
 * of 50,000 such keys.
 *
 *     parseJson('{"a\\"b": 1}')   // { 'a"b': 1 }
 */
export function parseJson(text: string): unknown {
  return parse(text)
}

/** Result of `parseJson`, or undefined for invalid JSON. */
export function tryParseJson(text: string): unknown {
  try {
    return parse(text)
  } catch {
    return undefined
  }
}
