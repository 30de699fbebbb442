/**
 * Reads the head of a request or an answer, HTTP/1.1 (RFC 9112) and stricter: lines end with CRLF and nothing else,
 * nothing is folded, no header is read in two ways. What is refused here is refused before anybody else sees a byte of
 * it, and what is sent on is written anew from what was read.
 */
export const headBytesMax = 32 * 1024
const lineCharactersMax = 8 * 1024
const headersMax = 100

/** A header's name as written, and its value without the space around it; Latin-1, a byte a character. */
export type Header = readonly [name: string, value: string]

export interface Lines {
  readonly first: string
  readonly headers: readonly Header[]
  /** Bytes that the head took, its empty line included. */
  readonly size: number
}

export interface RequestHead {
  readonly method: string
  readonly target: string
  readonly minor: 0 | 1
  readonly headers: readonly Header[]
  readonly size: number
}

export interface Refused {
  readonly kind: 'refused'
  readonly status: 400 | 403 | 413 | 431 | 502 | 503 | 504
  readonly because: string
  /** More of it, for whoever runs the server alone. */
  readonly detail?: string
}

export type Read<T> = { readonly kind: 'more' } | Refused | { readonly kind: 'read'; value: T }

/** Reads the head of a request that begins at the first byte. */
export function readRequestHead(bytes: Buffer): Read<RequestHead> {
  if (bytes.length > 0 && (bytes[0]! < 0x41 || bytes[0]! > 0x5a))
    return refused('this is no HTTP request')
  const read = readLines(bytes)
  if (read.kind !== 'read') return read
  const { first, headers, size } = read.value
  const [, method, target, minor] =
    /^([A-Z]{1,20}) ([\x21-\x7e]+) HTTP\/1\.([01])$/.exec(first) ?? []
  if (!method || !target) return refused('the request line is not one of HTTP/1.1')
  return {
    kind: 'read',
    value: { method, target, minor: minor === '0' ? 0 : 1, headers, size },
  }
}

/** Reads a first line and headers up to the empty line. */
export function readLines(bytes: Buffer, bytesMax = headBytesMax): Read<Lines> {
  const end = bytes.subarray(0, bytesMax).indexOf('\r\n\r\n')
  if (end < 0)
    return bytes.length < bytesMax ? { kind: 'more' } : refused('the head is too long', 431)
  const [first = '', ...rest] = bytes.toString('latin1', 0, end).split('\r\n')
  if (rest.length > headersMax) return refused('it has too many headers', 431)
  const headers: Header[] = []
  for (const line of [first, ...rest]) {
    if (line.length > lineCharactersMax) return refused('a line of the head is too long', 431)
    // What is left of CR and LF after the split stands alone.
    if (hasControl(line)) return refused('the head has a control character')
  }
  for (const line of rest) {
    const header = readHeader(line)
    if (!header) return refused('a header cannot be read in one way')
    headers.push(header)
  }
  return { kind: 'read', value: { first, headers, size: end + 4 } }
}

/** All values of one header. */
export function valuesOf(headers: readonly Header[], name: string): readonly string[] {
  return headers.filter(([own]) => own.toLowerCase() === name).map(([, value]) => value)
}

/** The words of a header that is a list, in lower case. */
export function wordsOf(headers: readonly Header[], name: string): readonly string[] {
  return valuesOf(headers, name)
    .flatMap((value) => value.split(','))
    .map((word) => word.trim().toLowerCase())
    .filter((word) => word !== '')
}

export function refused(because: string, status: Refused['status'] = 400): Refused {
  return { kind: 'refused', status, because }
}

function hasControl(line: string): boolean {
  for (let at = 0; at < line.length; at++) {
    const code = line.charCodeAt(at)
    if ((code < 0x20 && code !== 0x09) || code === 0x7f) return true
  }
  return false
}

function readHeader(line: string): Header | undefined {
  const colon = line.indexOf(':')
  const name = line.slice(0, colon)
  if (colon < 1 || !/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}$/.test(name)) return undefined
  let [start, end] = [colon + 1, line.length]
  while (start < end && isSpace(line, start)) start++
  while (end > start && isSpace(line, end - 1)) end--
  return [name, line.slice(start, end)]
}

function isSpace(line: string, at: number): boolean {
  return line[at] === ' ' || line[at] === '\t'
}
