import type { FileHandle } from 'node:fs/promises'
import {
  type MappedMemory,
  mappingsOf,
  mergeRuns,
  pageBytes,
  type Mapping,
  type PageRun,
} from '../../../os/mapped-memory.ts'
import { changedPages, type GuestPages } from '../agent-guest/memory-frames.ts'
import { machinePaths } from './machine.ts'

/**
 * Memory of a paused machine: the pages that differ from its template, or all touched pages if it has none.
 *
 * Problem: a guest has a gigabyte of memory, of which a job changes a few hundred pages, and the machine must not be paused for
 * more than a second.
 *
 * Mechanism: a clone maps its template's file privately, so the kernel knows which pages were copied on write (`MappedMemory`).
 * The warden reads these from the process and compares them with the file, in groups of at most 1 MiB of memory. Zero pages of
 * a machine without a template are left out.
 *
 * Relies on one private mapping of exactly the memory's size. A QEMU compromised by its guest can present another mapping, which
 * is then copied. Not handled: a page in swap that was never written (it equals the file's).
 */
const MIB = 2 ** 20
const PAGES_A_GROUP = MIB / pageBytes

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

/** Memory of a machine, and what it may differ from. */
export interface ComparedMemory {
  readonly memory: MappedMemory
  readonly base: FileHandle | undefined
  /** Pages of the mapped file that differ from `base`: those of a forked machine, which maps the save of its parent. */
  readonly inherited?: readonly PageRun[]
}

/** Groups of pages that differ from `base`, in ascending order. Rejects with the error of the file system. */
export async function* changedPageGroups({
  memory,
  base,
  inherited = [],
}: ComparedMemory): AsyncGenerator<readonly GuestPages[]> {
  let group: GuestPages[] = []
  let count = 0
  const own = await memory.ownPages(PAGES_A_GROUP)
  for (const run of mergeRuns([...own, ...inherited], PAGES_A_GROUP)) {
    const theirs = base && (await pagesOf(base, run))
    for (const pages of changedPages(await memory.read(run), run.first, theirs)) {
      if (count + pages.run.count > PAGES_A_GROUP) {
        yield group
        group = []
        count = 0
      }
      group.push(pages)
      count += pages.run.count
    }
  }
  if (count > 0) yield group
}

async function pagesOf(base: FileHandle, { first, count }: PageRun): Promise<Buffer> {
  const bytes = Buffer.alloc(count * pageBytes)
  await base.read(bytes, 0, bytes.length, first * pageBytes)
  return bytes
}
