import { createRequire } from 'node:module'
import type { AST } from 'toml-eslint-parser'
import { attempt } from '../lib/attempt.ts'

/** Loaded at the first file that is parsed: most runs have none, and loading takes 10 ms of CPU time. */
const load = (): typeof import('toml-eslint-parser') =>
  createRequire(import.meta.url)('toml-eslint-parser')

/** 1-based position of a key in a TOML text; columns count UTF-16 units. */
export interface Position {
  readonly line: number
  readonly column: number
}

export type KeyPath = readonly (string | number)[]

/** Locates keys and array elements of a TOML text by their path in the parsed value. Finds nothing in invalid TOML. */
export function positionsOf(toml: string): (path: KeyPath) => Position | undefined {
  const found = new Map<string, Position>()
  const note = (path: KeyPath, { loc: { start } }: AST.TOMLNode): KeyPath => {
    const position = { line: start.line, column: start.column + 1 }
    found.getOrInsert(keyOf(path), position)
    return path
  }
  for (const statement of statementsOf(toml)) {
    if (statement.type === 'TOMLKeyValue') noteMember(statement, [], note)
    else noteTable(statement, note)
  }
  return (path) => found.get(keyOf(path))
}

/** Result for a path, or else for the nearest one above it that has a result. */
export function nearest<T>(path: KeyPath, find: (path: KeyPath) => T | undefined): T | undefined {
  for (let length = path.length; length > 0; length -= 1) {
    const found = find(path.slice(0, length))
    if (found !== undefined) return found
  }
  return undefined
}

/** Text form of a path, usable as the key of a map. */
export const keyOf = (path: KeyPath): string => JSON.stringify(path)

/** Records the first position of a path. */
type Note = (path: KeyPath, at: AST.TOMLNode) => KeyPath

function statementsOf(toml: string): readonly (AST.TOMLKeyValue | AST.TOMLTable)[] {
  return attempt(() => load().parseTOML(toml, { tomlVersion: 'latest' }).body[0].body) ?? []
}

/** In `resolvedKey`, an index after the name of an array of tables selects its element. */
function noteTable({ key, resolvedKey, body }: AST.TOMLTable, note: Note): void {
  const segments = key.keys.values()
  let segment: AST.TOMLNode = key
  for (const [index, name] of resolvedKey.entries()) {
    if (typeof name === 'string') segment = segments.next().value ?? segment
    note(resolvedKey.slice(0, index + 1), segment)
  }
  for (const member of body) noteMember(member, resolvedKey, note)
}

function noteMember({ key, value }: AST.TOMLKeyValue, table: KeyPath, note: Note): void {
  let path = table
  for (const segment of key.keys)
    path = note([...path, segment.type === 'TOMLBare' ? segment.name : segment.value], segment)
  noteValue(value, path, note)
}

function noteValue(value: AST.TOMLContentNode, path: KeyPath, note: Note): void {
  if (value.type === 'TOMLInlineTable')
    for (const member of value.body) noteMember(member, path, note)
  if (value.type === 'TOMLArray')
    for (const [index, item] of value.elements.entries())
      noteValue(item, note([...path, index], item), note)
}
