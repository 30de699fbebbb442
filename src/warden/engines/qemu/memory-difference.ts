import type { FileHandle } from 'node:fs/promises'
import {
  MappedMemory,
  mappingsOf,
  pageBytes,
  type Mapping,
  type PageRun,
} from '../../../os/mapped-memory.ts'
import { packPages } from '../agent-guest/pack-pages.ts'
import { machinePaths } from './machine.ts'

/**
 * Memory of a paused machine: the pages that differ from its template, or all touched pages if it has none.
 *
 * Problem: a guest has a gigabyte of memory, of which a job changes a few hundred pages, and the machine must not be paused for
 * more than a second.
 *
 * Mechanism: a clone maps its template's file privately, so the kernel knows which pages were copied on write (`MappedMemory`).
 * The warden reads these from the process, compares them with the file, and compresses them in frames of 1 MiB of memory;
 * concatenated they are a zstd file (RFC 8878). Zero pages of a machine without a template are left out.
 *
 * Relies on one private mapping of exactly the memory's size. A QEMU compromised by its guest can present another mapping, which
 * is then copied. Not handled: a page in swap that was never written (it equals the file's).
 */
export interface MemoryFrame {
  readonly runs: readonly PageRun[]
  /** A zstd frame. */
  readonly bytes: Buffer
}

const MIB = 2 ** 20
const PAGES_A_FRAME = MIB / pageBytes
const ZEROS = Buffer.alloc(pageBytes)

/** Throws the error of the file system, or Error if not exactly one mapping can be the guest's memory. */
export function memoryMapping(pid: number, memoryMiB: number, isCloned: boolean): Mapping {
  const path = isCloned ? machinePaths.templateMemory : ''
  const fit = mappingsOf(pid).filter(
    (one) =>
      one.rights === 'rw-p' &&
      one.bytes === memoryMiB * MIB &&
      one.path.replace(/ \(deleted\)$/, '') === path,
  )
  const [mapping] = fit
  if (fit.length === 1 && mapping) return mapping
  throw new Error(`${fit.length} mappings of its process match the size of its memory`)
}

/** Frames of the pages that differ from `base`, in ascending order. Rejects with the error of the file system. */
export async function* changedFrames(
  memory: MappedMemory,
  base: FileHandle | undefined,
): AsyncGenerator<MemoryFrame> {
  let runs: PageRun[] = []
  let held: Buffer[] = []
  let count = 0
  for (const run of await memory.ownPages(PAGES_A_FRAME))
    for (const { first, bytes } of await changedIn(memory, run, base)) {
      const pages = bytes.length / pageBytes
      if (count + pages > PAGES_A_FRAME) {
        yield { runs, bytes: await packPages(held) }
        runs = []
        held = []
        count = 0
      }
      runs.push({ first, count: pages })
      held.push(bytes)
      count += pages
    }
  if (count > 0) yield { runs, bytes: await packPages(held) }
}

/** Sub-runs in which every page differs. */
async function changedIn(memory: MappedMemory, run: PageRun, base: FileHandle | undefined) {
  const own = await memory.read(run)
  const theirs = base && (await pagesOf(base, run))
  const found: { first: number; bytes: Buffer }[] = []
  for (let at = 0, from = -1; at <= run.count; at++) {
    const isChanged = at < run.count && !isSame(own, theirs, at)
    if (isChanged && from < 0) from = at
    if (isChanged || from < 0) continue
    const bytes = own.subarray(from * pageBytes, at * pageBytes)
    found.push({ first: run.first + from, bytes })
    from = -1
  }
  return found
}

function isSame(own: Buffer, theirs: Buffer | undefined, page: number): boolean {
  const at = page * pageBytes
  const other = theirs ? theirs.subarray(at, at + pageBytes) : ZEROS
  return own.subarray(at, at + pageBytes).equals(other)
}

async function pagesOf(base: FileHandle, { first, count }: PageRun): Promise<Buffer> {
  const bytes = Buffer.alloc(count * pageBytes)
  await base.read(bytes, 0, bytes.length, first * pageBytes)
  return bytes
}
