import type { Encoding } from '../contract/outcome.ts'
import type { OutcomeError } from '../contract/outcome-error.ts'
import type { Mismatch } from './schema-walk.ts'
import { decodeTagged, TaggedError, taggedDepthMax } from '../lib/tagged.ts'
import { isJsonDeeper } from '../lib/json-depth.ts'
import { parseJson } from '../lib/parse-json.ts'

export type ResultReading =
  | { readonly kind: 'result'; readonly value: unknown }
  | { readonly kind: 'refused'; readonly error: OutcomeError }

/** Nesting limit of JSON before parsing: 512 levels of tagged maps, with their pair arrays. */
export const depthMax = taggedDepthMax

/**
 * Parses a result, which is hostile text, into plain data. Size and depth are checked before parsing. A correct wall
 * writes no raw `__proto__` key and no unknown tag, so both prove a forged result. Lone surrogates become U+FFFD.
 */
export function readResult(text: string, encoding: Encoding, bytesMax: number): ResultReading {
  if (isLonger(text, bytesMax)) {
    return refuseResult('RESULT_TOO_LARGE', tooLarge)
  }
  if (isJsonDeeper(text, depthMax))
    return refuseResult('RESULT_TOO_DEEP', `The result is nested deeper than ${depthMax}`)
  try {
    const value = wellFormed(parseJson(text), text)
    if (encoding === 'tagged') decodeTagged(value)
    if (encoding === 'text' && typeof value !== 'string') throw new Forged('its text is no text')
    return { kind: 'result', value }
  } catch (thrown) {
    if (thrown instanceof Forged || thrown instanceof TaggedError) {
      return refuseResult('RESULT_FORGED', `The result is forged: ${thrown.message}`)
    }
    return refuseResult('RESULT_MALFORMED', 'The result is not JSON')
  }
}

const tooLarge = 'Cannot return the result: it takes more bytes than this job may return'

export function refuseResult(code: string, message: string, details?: unknown): ResultReading {
  const error = { code, message, ...(details !== undefined && { details }) }
  return { kind: 'refused', error }
}

/** Error of a readable result that breaks its schema. */
export function mismatch(found: Mismatch | undefined): OutcomeError | undefined {
  if (!found) return undefined
  const message = `The result does not match its schema at "${found.path}": ${found.why}`
  return { code: 'SCHEMA_MISMATCH', message, details: found }
}

class Forged extends Error {}

/** UTF-8 byte limit; counts only if the length in units is inconclusive. */
function isLonger(text: string, bytesMax: number): boolean {
  if (text.length > bytesMax) return true
  return text.length * 3 > bytesMax && Buffer.byteLength(text) > bytesMax
}

/** Fast path: most results contain neither lone surrogates nor suspicious keys. */
const SUSPECT = /__proto__|\\u/i

function wellFormed(value: unknown, text: string): unknown {
  return SUSPECT.test(text) || !text.isWellFormed() ? inspect(value) : value
}

function inspect(value: unknown): unknown {
  if (typeof value === 'string') return value.toWellFormed()
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(inspect)
  if (Object.hasOwn(value, '__proto__')) throw new Forged('it has a raw key "__proto__"')
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key.toWellFormed(), inspect(item)]),
  )
}
