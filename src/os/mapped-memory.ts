import { open, type FileHandle } from 'node:fs/promises'
import { readText } from './read.ts'

/**
 * Memory of another process, by /proc/PID/maps, pagemap and mem (proc(5)).
 *
 * Problem: a large private mapping consists mostly of unmodified pages of its file; a copy needs only the pages that
 * the process has written.
 *
 * Mechanism: bits 61 to 63 of a pagemap entry (Documentation/admin-guide/mm/pagemap.rst) distinguish a private page,
 * present or swapped, from a page of the file. Frame numbers, which need a capability, are not read.
 *
 * Relies on the right to trace the process, and on the process being stopped: otherwise a page may change during the
 * copy. Not handled: mappings of hugetlbfs.
 */
export const pageBytes = 4096

export interface Mapping {
  readonly from: number
  readonly bytes: number
  /** `rw-p` and the like. */
  readonly rights: string
  /** Place of its first byte in the file, in bytes. */
  readonly offset: number
  /** As the process sees it; empty for anonymous memory. */
  readonly path: string
}

/** Consecutive pages, by their numbers in a mapping. */
export interface PageRun {
  readonly first: number
  readonly count: number
}

const ENTRY_BYTES = 8
const PRESENT = 2 ** 31
const SWAPPED = 2 ** 30
const OF_FILE = 2 ** 29
const line = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) \S+ \S+ *(.*)$/

/** Throws the error of the file system: ENOENT, EACCES without the right to trace it. */
export function mappingsOf(pid: number): readonly Mapping[] {
  return readText(`/proc/${pid}/maps`)
    .split('\n')
    .flatMap((text) => {
      const [, from = '', to = '', rights = '', offset = '', path = ''] = line.exec(text) ?? []
      if (from === '') return []
      const start = Number.parseInt(from, 16)
      const bytes = Number.parseInt(to, 16) - start
      return [{ from: start, bytes, rights, offset: Number.parseInt(offset, 16), path }]
    })
}

/** Runs that cover the same pages in ascending order, each page once, with at most `countMax` pages a run. */
export function mergeRuns(runs: readonly PageRun[], countMax: number): readonly PageRun[] {
  const merged: { first: number; count: number }[] = []
  let covered = 0
  for (const { first, count } of runs.toSorted((a, b) => a.first - b.first)) {
    for (let from = Math.max(first, covered); from < first + count;) {
      const last = merged.at(-1)
      const isNext = last && last.first + last.count === from && last.count < countMax
      const most = isNext ? countMax - last.count : countMax
      const added = Math.min(most, first + count - from)
      if (isNext) last.count += added
      else merged.push({ first: from, count: added })
      from += added
    }
    covered = Math.max(covered, first + count)
  }
  return merged
}

/** Pages of a mapping, and the bytes in them. */
export class MappedMemory implements AsyncDisposable {
  readonly #mapping: Mapping
  readonly #memory: FileHandle
  readonly #pages: FileHandle

  private constructor(mapping: Mapping, memory: FileHandle, pages: FileHandle) {
    this.#mapping = mapping
    this.#memory = memory
    this.#pages = pages
  }

  /** Rejects with the error of the file system. */
  static async open(pid: number, mapping: Mapping): Promise<MappedMemory> {
    const memory = await open(`/proc/${pid}/mem`, 'r')
    try {
      return new MappedMemory(mapping, memory, await open(`/proc/${pid}/pagemap`, 'r'))
    } catch (error) {
      await memory.close()
      throw error
    }
  }

  /** Pages that the process has written, or that are anonymous and were touched; `countMax` in each run at most. */
  async ownPages(countMax: number): Promise<readonly PageRun[]> {
    const count = this.#mapping.bytes / pageBytes
    const entries = new Uint32Array(count * 2)
    const bytes = Buffer.from(entries.buffer)
    await readWhole(this.#pages, bytes, (this.#mapping.from / pageBytes) * ENTRY_BYTES)
    const runs: { first: number; count: number }[] = []
    for (let page = 0; page < count; page++) {
      if (!isOwn(entries[page * 2 + 1]!)) continue
      const last = runs.at(-1)
      if (last && last.first + last.count === page && last.count < countMax) last.count++
      else runs.push({ first: page, count: 1 })
    }
    return runs
  }

  async read({ first, count }: PageRun): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(count * pageBytes)
    await readWhole(this.#memory, bytes, this.#mapping.from + first * pageBytes)
    return bytes
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#memory.close(), this.#pages.close()])
  }
}

function isOwn(upper: number): boolean {
  const has = (bit: number) => Math.floor(upper / bit) % 2 === 1
  return has(SWAPPED) || (has(PRESENT) && !has(OF_FILE))
}

async function readWhole(file: FileHandle, into: Buffer, position: number): Promise<void> {
  for (let at = 0; at < into.length;) {
    const { bytesRead } = await file.read(into, at, into.length - at, position + at)
    if (bytesRead === 0) throw new Error('the process is gone')
    at += bytesRead
  }
}
