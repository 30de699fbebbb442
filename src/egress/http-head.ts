/**
 * Strict parser for HTTP/1.x message heads (RFC 9112).
 *
 * Problem: two parsers that parse the same head differently enable attacks (request smuggling, header injection).
 *
 * Mechanism: CRLF line ends only, no line folding, no control characters, names limited to token characters, bounded
 * sizes. A head that fails is refused before any byte is forwarded; a head that passes is rewritten from its parsed
 * form.
 *
 * Not handled: semantics of single headers (`target.ts`, `http-body.ts`); HTTP/2 and HTTP/3.
 */
export const headBytesMax = 32 * 1024
const lineCharactersMax = 8 * 1024
const headersMax = 100

/** Name as written and value without surrounding whitespace, decoded as Latin-1. */
export type Header = readonly [name: string, value: string]

export interface HeadLines {
  readonly first: string
  readonly headers: readonly Header[]
  /** Size of the head in bytes, including the empty line. */
  readonly size: number
}

export interface RequestHead {
  readonly method: string
  readonly target: string
  readonly minor: 0 | 1
  readonly headers: readonly Header[]
  readonly size: number
}

export interface EgressRefusal {
  readonly kind: 'refused'
  readonly status: 400 | 403 | 413 | 431 | 502 | 503 | 504
  readonly because: string
  /** Details for the operator only. */
  readonly detail?: string
}

export type ParseResult<T> =
  | { readonly kind: 'more' }
  | EgressRefusal
  | { readonly kind: 'read'; value: T }

/** Parses a request head starting at the first byte. */
export function readRequestHead(bytes: Buffer): ParseResult<RequestHead> {
  if (bytes.length > 0 && (bytes[0]! < 0x41 || bytes[0]! > 0x5a))
    return refused('this is not an HTTP request')
  const read = readLines(bytes)
  if (read.kind !== 'read') return read
  const { first, headers, size } = read.value
  const [, method, target, minor] =
    /^([A-Z]{1,20}) ([\x21-\x7e]+) HTTP\/1\.([01])$/.exec(first) ?? []
  if (!method || !target) return refused('the request line is not HTTP/1.1')
  return {
    kind: 'read',
    value: { method, target, minor: minor === '0' ? 0 : 1, headers, size },
  }
}

/** Parses a start line and headers up to the empty line. */
export function readLines(bytes: Buffer, bytesMax = headBytesMax): ParseResult<HeadLines> {
  const end = bytes.subarray(0, bytesMax).indexOf('\r\n\r\n')
  if (end < 0)
    return bytes.length < bytesMax ? { kind: 'more' } : refused('the head is too long', 431)
  const [first = '', ...rest] = bytes.toString('latin1', 0, end).split('\r\n')
  if (rest.length > headersMax) return refused('it has too many headers', 431)
  const headers: Header[] = []
  for (const line of [first, ...rest]) {
    if (line.length > lineCharactersMax) return refused('a line of the head is too long', 431)
    // Catches bare CR and LF as well.
    if (hasControl(line)) return refused('the head has a control character')
  }
  for (const line of rest) {
    const header = readHeader(line)
    if (!header) return refused('a header is malformed')
    headers.push(header)
  }
  return { kind: 'read', value: { first, headers, size: end + 4 } }
}

/** A head as sent: the start line, and a line for each header. */
export function headText(first: string, headers: readonly Header[]): Buffer {
  const lines = headers.map(([name, value]) => `${name}: ${value}`)
  return Buffer.from([first, ...lines, '', ''].join('\r\n'), 'latin1')
}

export function valuesOf(headers: readonly Header[], name: string): readonly string[] {
  return headers.filter(([own]) => own.toLowerCase() === name).map(([, value]) => value)
}

/** Lower-case elements of a comma-separated header. */
export function wordsOf(headers: readonly Header[], name: string): readonly string[] {
  return valuesOf(headers, name)
    .flatMap((value) => value.split(','))
    .map((word) => word.trim().toLowerCase())
    .filter((word) => word !== '')
}

export function refused(because: string, status: EgressRefusal['status'] = 400): EgressRefusal {
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
