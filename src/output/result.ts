import type { Encoding, OutcomeError } from '../contract/outcome.ts'
import type { Mismatch } from './schema-walk.ts'
import { decodeTagged, TaggedError, taggedDepthMax } from '../lib/tagged.ts'
import { parseJson } from '../lib/parse-json.ts'

export type Read =
  | { readonly kind: 'result'; readonly value: unknown }
  | { readonly kind: 'refused'; readonly error: OutcomeError }

/** Nesting of JSON that is parsed at all: what 512 levels of maps take, and the pairs of objects. */
export const depthMax = taggedDepthMax

/**
 * Reads a result as the hostile text it is, into plain data. Size and depth are settled before it is parsed. An
 * honest wall writes no raw `__proto__` key and no tag that its grammar does not have, so both mean a forged result.
 * Half a surrogate pair becomes U+FFFD.
 */
export function readResult(text: string, encoding: Encoding, bytesMax: number): Read {
  if (isLonger(text, bytesMax)) {
    return refused('RESULT_TOO_LARGE', `The result is larger than ${bytesMax} bytes`)
  }
  if (isDeeper(text))
    return refused('RESULT_TOO_DEEP', `The result is nested deeper than ${depthMax}`)
  try {
    const value = wellFormed(parseJson(text), text)
    if (encoding === 'tagged') decodeTagged(value)
    if (encoding === 'text' && typeof value !== 'string') throw new Forged('its text is no text')
    return { kind: 'result', value }
  } catch (thrown) {
    if (thrown instanceof Forged || thrown instanceof TaggedError) {
      return refused('RESULT_FORGED', `The result is forged: ${thrown.message}`)
    }
    return refused('RESULT_MALFORMED', 'The result is not JSON')
  }
}

export function refused(code: string, message: string, details?: unknown): Read {
  const error = { code, message, ...(details !== undefined && { details }) }
  return { kind: 'refused', error }
}

/** Why a result that can be read may still not leave. */
export function mismatch(found: Mismatch | undefined): OutcomeError | undefined {
  if (!found) return undefined
  const message = `The result does not match its schema at "${found.path}": ${found.why}`
  return { code: 'SCHEMA_MISMATCH', message, details: found }
}

class Forged extends Error {}

/** Bytes of UTF-8; a string is measured only where its length leaves a doubt. */
function isLonger(text: string, bytesMax: number): boolean {
  if (text.length > bytesMax) return true
  return text.length * 3 > bytesMax && Buffer.byteLength(text) > bytesMax
}

const QUOTE = 0x22
const BACKSLASH = 0x5c

/** One pass, before anything is parsed. What is not JSON may be measured wrong; JSON.parse will refuse it. */
function isDeeper(text: string): boolean {
  if (text.length < 2 * depthMax) return false
  let depth = 0
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    if (unit === QUOTE) at = endOfString(text, at)
    else if (unit === 0x5b || unit === 0x7b) depth += 1
    else if (unit === 0x5d || unit === 0x7d) depth -= 1
    if (depth > depthMax) return true
  }
  return false
}

function endOfString(text: string, start: number): number {
  let at = start + 1
  while (at < text.length && text.charCodeAt(at) !== QUOTE) {
    at += text.charCodeAt(at) === BACKSLASH ? 2 : 1
  }
  return at
}

/** Most results hold neither half a pair nor a key that has to be looked for, and their text says so. */
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
