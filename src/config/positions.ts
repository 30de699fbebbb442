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
  const found: PositionTree = new PathTree()
  for (const statement of statementsOf(toml)) {
    if (statement.type === 'TOMLKeyValue') noteMember(statement, found)
    else noteTable(statement, found)
  }
  return (path) => found.find(path)?.value
}

/** Values by path, as a tree: paths as texts would take the square of a file that has deep tables or long names. */
export class PathTree<T> {
  value: T | undefined
  #inner = new Map<string | number, PathTree<T>>()

  /** Tree of a name, made if it is missing. */
  inner(name: string | number): PathTree<T> {
    return this.#inner.getOrInsertComputed(name, () => new PathTree())
  }

  find([name, ...rest]: KeyPath): PathTree<T> | undefined {
    return name === undefined ? this : this.#inner.get(name)?.find(rest)
  }

  /** Removes the values of all longer paths. */
  clearInner(): void {
    this.#inner = new Map()
  }
}

type PositionTree = PathTree<Position>

/** Result for a path, or else for the nearest one above it that has a result. */
export function nearest<T>(path: KeyPath, find: (path: KeyPath) => T | undefined): T | undefined {
  for (let length = path.length; length > 0; length -= 1) {
    const found = find(path.slice(0, length))
    if (found !== undefined) return found
  }
  return undefined
}

function statementsOf(toml: string): readonly (AST.TOMLKeyValue | AST.TOMLTable)[] {
  return attempt(() => load().parseTOML(toml, { tomlVersion: 'latest' }).body[0].body) ?? []
}

/** In `resolvedKey`, an index after the name of an array of tables selects its element. */
function noteTable({ key, resolvedKey, body }: AST.TOMLTable, root: PositionTree): void {
  const segments = key.keys.values()
  let segment: AST.TOMLNode = key
  let table = root
  for (const name of resolvedKey) {
    if (typeof name === 'string') segment = segments.next().value ?? segment
    table = note(table, name, segment)
  }
  for (const member of body) noteMember(member, table)
}

function noteMember({ key, value }: AST.TOMLKeyValue, table: PositionTree): void {
  let inner = table
  for (const segment of key.keys)
    inner = note(inner, segment.type === 'TOMLBare' ? segment.name : segment.value, segment)
  noteValue(value, inner)
}

function noteValue(value: AST.TOMLContentNode, tree: PositionTree): void {
  if (value.type === 'TOMLInlineTable') for (const member of value.body) noteMember(member, tree)
  if (value.type === 'TOMLArray')
    for (const [index, item] of value.elements.entries()) noteValue(item, note(tree, index, item))
}

/** Records the first position of a name below a tree. */
function note(
  tree: PositionTree,
  name: string | number,
  { loc: { start } }: AST.TOMLNode,
): PositionTree {
  const inner = tree.inner(name)
  inner.value ??= { line: start.line, column: start.column + 1 }
  return inner
}
