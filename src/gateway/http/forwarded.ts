/**
 * Last element of the header `Forwarded` (RFC 7239), written by the nearest proxy.
 *
 * Problem: the client controls the text to the left of it, including an unterminated quote, which misleads a parser from the left.
 *
 * Mechanism: the element is cut off from the right, at the first comma outside a quoted string, and then read by the grammar of
 * the standard, strictly. An element that does not match this grammar, or has `for` twice, is ignored.
 */
export interface LastElement {
  /** The text before it, without the comma. */
  readonly rest: string
  /** Value of its `for`. */
  readonly from: string | undefined
}

export function lastForwarded(text: string): LastElement {
  const comma = lastComma(text)
  return { rest: text.slice(0, Math.max(0, comma)), from: fromOf(text.slice(comma + 1).trim()) }
}

function lastComma(text: string): number {
  let isQuoted = false
  for (let at = text.length - 1; at >= 0; at--) {
    if (text[at] === '"' && !isEscaped(text, at)) isQuoted = !isQuoted
    else if (text[at] === ',' && !isQuoted) return at
  }
  return -1
}

function isEscaped(text: string, at: number): boolean {
  let first = at
  while (text[first - 1] === '\\') first--
  return (at - first) % 2 === 1
}

function fromOf(element: string): string | undefined {
  let from: string | undefined
  let end = 0
  while (end < element.length) {
    pair.lastIndex = end
    const [whole, name, token, quoted] = pair.exec(element) ?? []
    if (whole === undefined) return undefined
    end += whole.length
    if (name!.toLowerCase() !== 'for') continue
    if (from !== undefined) return undefined
    from = token ?? quoted!.replaceAll(/\\(.)/g, '$1')
  }
  // A semicolon is allowed only between two pairs.
  return element.endsWith(';') ? undefined : from
}

/** `name=value` of an element, with the semicolon behind it. */
const pair = /([\w!#$%&'*+.^`|~-]+)=(?:([\w!#$%&'*+.^`|~-]+)|"((?:[^"\\]|\\.)*)")(?:;|$)/y
