const QUOTE = 0x22
const BACKSLASH = 0x5c

/**
 * Scans JSON before it is parsed: a million levels take V8 half a second to parse, and longer to write. May misjudge text
 * that is not JSON, which `JSON.parse` then rejects.
 *
 *     isJsonDeeper('[[1]]', 1)   // true
 */
export function isJsonDeeper(text: string, depthMax: number): boolean {
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
