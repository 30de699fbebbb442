import { isUtf8 } from 'node:buffer'
import { readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { diff } from 'node:util'
import { attempt } from '../../../lib/attempt.ts'
import { statOf, type ViewChange } from './view-changes.ts'
import { upperOf, type View } from './view-store.ts'

/** A change as a caller sees it. */
export interface ShownChange {
  readonly path: string
  readonly change: 'added' | 'changed' | 'removed'
  readonly kind: string
  /** New permissions in octal, if they differ. */
  readonly mode?: string
  /** Patch as `git diff` writes it: of text of at most 256 KiB and 4,000 lines, and of 64 MiB in all; else sizes, which `git apply` refuses. */
  readonly diff?: string
}

const BYTES_MAX = 256 * 2 ** 10
const LINES_MAX = 4_000
/** Most characters of all diffs of a view: V8 joins no text of more than 2^29, and JSON may need six for one. */
const DIFFS_MAX = 64 * 2 ** 20
const AROUND = 3

/** Changes of a view with their diffs; omits files that were written with equal content. */
export function shownChanges(view: View): readonly ShownChange[] {
  let left = DIFFS_MAX
  return view.changes.flatMap((change) => {
    const some = shown(view, change, Math.min(BYTES_MAX, left))
    left = Math.max(0, left - (some[0]?.diff?.length ?? 0))
    return some
  })
}

function shown(
  view: View,
  { path, to, was }: ViewChange,
  bytesMax: number,
): readonly ShownChange[] {
  const change = was === null ? 'added' : to === null ? 'removed' : 'changed'
  const kind = (to ?? was)!.kind
  const isOther = to !== null && was !== null && to.mode !== was.mode && kind !== 'link'
  const mode = isOther ? { mode: to.mode.toString(8) } : {}
  if (kind === 'folder' || kind === 'other') return [{ path, change, kind, ...mode }]
  const [before, after] = [
    was ? contentOf(join(view.folder, path), kind, bytesMax) : undefined,
    to ? contentOf(join(upperOf(view), path), kind, bytesMax) : undefined,
  ]
  if (before !== undefined && after !== undefined && same(before, after) && !isOther) return []
  return [{ path, change, kind, ...mode, diff: patchOf(path, { was, to }, before, after) }]
}

type Content = Buffer | number | undefined
const same = (a: Content, b: Content) => Buffer.isBuffer(a) && Buffer.isBuffer(b) && a.equals(b)

/** Bytes of a file or text of a link; the number of bytes of a large file; undefined if it does not exist. */
function contentOf(path: string, kind: string, bytesMax: number): Content {
  const facts = statOf(path)
  if (!facts) return undefined
  if (kind === 'link') return facts.isSymbolicLink() ? readlinkSync(path, 'buffer') : undefined
  if (!facts.isFile()) return undefined
  const size = Number(facts.size)
  // A command may have closed a file to its owner.
  return size > bytesMax ? size : (attempt(() => readFileSync(path)) ?? size)
}

/** Line without which git apply takes two binary files for no patch; it asks for ids to apply one. */
const NO_IDS = 'index 0000000..0000000\n'

/** Patch in the extended format of git; empty for a change that git does not know, such as of the permissions of others. */
function patchOf(
  path: string,
  { was, to }: Pick<ViewChange, 'was' | 'to'>,
  before: Content,
  after: Content,
): string {
  const [from, into] = [was && quoted(`a/${path}`), to && quoted(`b/${path}`)]
  const head = `diff --git ${quoted(`a/${path}`)} ${quoted(`b/${path}`)}\n${modesOf(was, to)}`
  const [old, young] = [before, after].map((one) => textOf(one))
  if (!old || !young || old.length + young.length > LINES_MAX)
    return `${head}${NO_IDS}Binary files ${from ?? '/dev/null'} and ${into ?? '/dev/null'} differ\n${bytesOf(before)} bytes became ${bytesOf(after)} bytes\n`
  const changed = hunks(old, young)
  // git apply ends a name with spaces at a tab.
  const line = (name: string | null) => `${name ?? '/dev/null'}${name?.includes(' ') ? '\t' : ''}\n`
  if (changed !== '') return `${head}--- ${line(from)}+++ ${line(into)}${changed}`
  return modesOf(was, to) === '' ? '' : head
}

function modesOf(was: ViewChange['was'], to: ViewChange['to']): string {
  const [before, after] = [was && gitMode(was), to && gitMode(to)]
  if (before === null) return `new file mode ${after}\n`
  if (after === null) return `deleted file mode ${before}\n`
  return before === after ? '' : `old mode ${before}\nnew mode ${after}\n`
}

function gitMode({ kind, mode }: NonNullable<ViewChange['to']>): string {
  if (kind === 'link') return '120000'
  return mode & 0o100 ? '100755' : '100644'
}

/** Name as git quotes it (core.quotePath): with control characters, quotes or backslashes in C's notation. */
function quoted(name: string): string {
  if (!/[\p{Cc}"\\]/u.test(name)) return name
  const octal = (bytes: string) =>
    [...Buffer.from(bytes)].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('')
  return `"${name.replace(/["\\]/g, '\\$&').replace(/\p{Cc}/gu, octal)}"`
}

const bytesOf = (content: Content) => (Buffer.isBuffer(content) ? content.length : (content ?? 0))

/** Lines of text; undefined for other bytes, and for a large file. */
function textOf(content: Content): readonly string[] | undefined {
  if (content === undefined) return []
  if (typeof content === 'number' || content.includes(0) || !isUtf8(content)) return undefined
  const text = content.toString('utf8')
  if (text === '') return []
  const lines = text.split('\n')
  if (lines.at(-1) === '') lines.pop()
  else lines.push(`${lines.pop()}\n\\ No newline at end of file`)
  return lines
}

interface Line {
  readonly sign: ' ' | '-' | '+'
  readonly text: string
  /** Line numbers in the old and the new text, from 0. */
  readonly old: number
  readonly young: number
}

/** Hunks with three lines around each change, in the format of diff(1), `-u`. */
function hunks(before: readonly string[], after: readonly string[]): string {
  const lines = linesOf(before, after)
  const isNear = (at: number) =>
    lines.slice(Math.max(0, at - AROUND), at + AROUND + 1).some(({ sign }) => sign !== ' ')
  const kept: Line[][] = []
  let wasNear = false
  for (const [at, line] of lines.entries()) {
    const near = isNear(at)
    if (near && !wasNear) kept.push([])
    if (near) kept.at(-1)!.push(line)
    wasNear = near
  }
  return kept
    .map((hunk) => headOf(hunk) + hunk.map(({ sign, text }) => `${sign}${text}\n`).join(''))
    .join('')
}

function headOf(hunk: readonly Line[]): string {
  const [{ old, young }] = hunk as [Line]
  const count = (without: string) => hunk.filter(({ sign }) => sign !== without).length
  const range = (start: number, size: number) => `${size === 0 ? start : start + 1},${size}`
  return `@@ -${range(old, count('+'))} +${range(young, count('-'))} @@\n`
}

function linesOf(before: readonly string[], after: readonly string[]): readonly Line[] {
  // node:util's diff throws for two empty lists (Node 26.10).
  if (before.length + after.length === 0) return []
  let [old, young] = [0, 0]
  return diff([...before], [...after]).map(([operation, text]) => {
    // In node:util's diff the first argument is the "actual" text, so its extra lines are the added ones.
    const sign = operation === 0 ? ' ' : operation > 0 ? '-' : '+'
    const line = { sign, text, old, young } as const
    if (sign !== '+') old++
    if (sign !== '-') young++
    return line
  })
}
