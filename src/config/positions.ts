/** 1-based position of a key in a TOML text; columns count UTF-16 units. */
export interface Position {
  readonly line: number
  readonly column: number
}

export type KeyPath = readonly (string | number)[]

/**
 * Finds the position of each key and array element of a TOML text, by its path in the parsed value. The text
 * must have been parsed without error before: invalid TOML gives meaningless positions, but always terminates.
 */
export function positionsOf(toml: string): (path: KeyPath) => Position | undefined {
  const offsets = new Scan(toml).run()
  const lines = lineStarts(toml)
  return (path) => {
    const offset = offsets.get(keyOf(path))
    return offset === undefined ? undefined : positionAt(lines, offset)
  }
}

/** Text form of a path, usable as the key of a map. */
export const keyOf = (path: KeyPath): string => JSON.stringify(path)

function lineStarts(text: string): readonly number[] {
  const starts = [0]
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
  return starts
}

function positionAt(starts: readonly number[], offset: number): Position {
  let low = 0
  let high = starts.length - 1
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (starts[middle]! <= offset) low = middle
    else high = middle - 1
  }
  return { line: low + 1, column: offset - starts[low]! + 1 }
}

interface Segment {
  readonly name: string
  readonly offset: number
}

const BARE_KEY = /[A-Za-z0-9_-]+/y
const SPACE = /[ \t]*/y
/** Between statements and within arrays and inline tables: blanks, line ends, commas, comments. */
const GAP = /(?:[\s,]|#[^\n]*)*/y
const SCALAR = /[^,\]}#\n]*/y
const REST_OF_LINE = /[^\n]*/y

/**
 * Single-pass scanner of valid TOML that records the start of each path; every step advances, so it terminates.
 */
class Scan {
  readonly #text: string
  readonly #offsets = new Map<string, number>()
  /** Index of the newest element of each array of tables. */
  readonly #newest = new Map<string, number>()
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  run(): ReadonlyMap<string, number> {
    let table: KeyPath = []
    for (this.#skip(GAP); this.#at < this.#text.length; this.#skip(GAP)) {
      const before = this.#at
      if (this.#text[this.#at] === '[') table = this.#header()
      else this.#assignment(table)
      if (this.#at === before) this.#at += 1
    }
    return this.#offsets
  }

  #header(): KeyPath {
    const isArray = this.#text.startsWith('[[', this.#at)
    this.#at += isArray ? 2 : 1
    const segments = this.#key()
    this.#skip(REST_OF_LINE)
    let path: KeyPath = []
    for (const [index, segment] of segments.entries()) {
      path = this.#note([...path, segment.name], segment.offset)
      if (isArray && index === segments.length - 1) return this.#element(path, segment.offset)
      const newest = this.#newest.get(keyOf(path))
      if (newest !== undefined) path = [...path, newest]
    }
    return path
  }

  #element(path: KeyPath, offset: number): KeyPath {
    const index = (this.#newest.get(keyOf(path)) ?? -1) + 1
    this.#newest.set(keyOf(path), index)
    return this.#note([...path, index], offset)
  }

  #assignment(table: KeyPath): void {
    let path = table
    for (const { name, offset } of this.#key()) path = this.#note([...path, name], offset)
    this.#skip(SPACE)
    if (this.#text[this.#at] === '=') this.#at += 1
    this.#skip(SPACE)
    this.#value(path)
  }

  #key(): Segment[] {
    const segments: Segment[] = []
    do {
      if (segments.length > 0) this.#at += 1
      this.#skip(SPACE)
      const offset = this.#at
      const quote = this.#text[offset]
      const name = quote === '"' || quote === "'" ? this.#string() : this.#skip(BARE_KEY)
      segments.push({ name, offset })
      this.#skip(SPACE)
    } while (this.#text[this.#at] === '.')
    return segments
  }

  #value(path: KeyPath): void {
    const first = this.#text[this.#at]
    if (first === '"' || first === "'") this.#string()
    else if (first === '[') this.#array(path)
    else if (first === '{') this.#inlineTable(path)
    else this.#skip(SCALAR)
  }

  #array(path: KeyPath): void {
    this.#at += 1
    for (let index = 0; this.#opens(']'); index += 1) {
      const before = this.#at
      this.#value(this.#note([...path, index], before))
      if (this.#at === before) this.#at += 1
    }
  }

  #inlineTable(path: KeyPath): void {
    this.#at += 1
    while (this.#opens('}')) {
      const before = this.#at
      this.#assignment(path)
      if (this.#at === before) this.#at += 1
    }
  }

  /** True if another member follows; else skips the closing bracket. */
  #opens(closing: string): boolean {
    this.#skip(GAP)
    if (this.#at >= this.#text.length) return false
    if (this.#text[this.#at] !== closing) return true
    this.#at += 1
    return false
  }

  /** Skips a string of any of the four kinds; returns its text, for those that may be keys. */
  #string(): string {
    const quote = this.#text[this.#at]!
    const start = this.#at
    const fence = this.#text.startsWith(quote.repeat(3), start) ? quote.repeat(3) : quote
    let end = start + fence.length
    while (end < this.#text.length && !this.#text.startsWith(fence, end))
      end += quote === '"' && this.#text[end] === '\\' ? 2 : 1
    end += fence.length
    // A multi-line string may end in one or two quotes of its own.
    for (let own = 0; own < 2 && fence.length === 3 && this.#text[end] === quote; own += 1) end += 1
    this.#at = Math.min(end, this.#text.length)
    const body = this.#text.slice(start + fence.length, this.#at - fence.length)
    return quote === '"' ? unescaped(body) : body
  }

  #note(path: KeyPath, offset: number): KeyPath {
    const key = keyOf(path)
    if (!this.#offsets.has(key)) this.#offsets.set(key, offset)
    return path
  }

  #skip(pattern: RegExp): string {
    pattern.lastIndex = this.#at
    const [found = ''] = pattern.exec(this.#text) ?? []
    this.#at += found.length
    return found
  }
}

const ESCAPE = /\\(?:u([0-9a-f]{4})|U([0-9a-f]{8})|x([0-9a-f]{2})|(.))/gi
const ESCAPED: Readonly<Record<string, string>> = {
  b: '\b',
  t: '\t',
  n: '\n',
  f: '\f',
  r: '\r',
  e: '\u001b',
}

function unescaped(body: string): string {
  return body.replace(ESCAPE, (_, u4?: string, u8?: string, x?: string, letter = '') => {
    const hex = u4 ?? u8 ?? x
    return hex === undefined
      ? (ESCAPED[letter as string] ?? (letter as string))
      : String.fromCodePoint(Math.min(Number.parseInt(hex, 16), 0x10_ff_ff))
  })
}
