import { open, readdir, readlink, type FileHandle } from 'node:fs/promises'
import { constants } from 'node:fs'
import { MappedMemory, mappingsOf, pageBytes, type Mapping } from '../../../os/mapped-memory.ts'
import {
  changedPages,
  jsonBytes,
  memoryFiles,
  type GuestPages,
} from '../agent-guest/memory-frames.ts'
import type { CopyBounds, GuestCopy, GuestFile } from '../agent-guest/source.ts'

/**
 * Copy of a stopped user-mode kernel: the physical memory of its guest.
 *
 * Problem: most memory of the guest is a file without a name in a tmpfs (O_TMPFILE), which the kernel and the processes of
 * its guest map; no process maps all of its pages, and reading an unmapped page through /proc/PID/mem would allocate it.
 *
 * Mechanism: the file is opened through the descriptor of the kernel (/proc/PID/fd) and read from start to end; holes
 * read as zeros and allocate nothing. An offset in the file is a physical address. The first part has the kernel's own
 * program instead, whose written pages are read from the process. Pages of zeros are left out; the others are compressed
 * in frames of at most 1 MiB of memory, as those of a virtual machine are.
 *
 * Relies on a process that may be hostile, if its guest broke out of the kernel: the file is opened read-only and without
 * waiting, has to be a plain file of the expected size, and its bytes are those that the process shows. There are no
 * device states: a copied kernel cannot go on elsewhere.
 *
 * Bounds: bytes of all files together, and the time of reading; the rest is left out, and reported.
 */
export interface CopiedKernel {
  /** Process of the kernel, paused. Throws MayflyError NOT_FOUND once it has ended. */
  pid(): number
  readonly memoryMiB: number
  /** SHA-256 of the image that is its root. */
  readonly image: string
}

const MIB = 2 ** 20
/** The kernel rounds its memory up, and keeps room for devices behind it. */
const FILE_SLACK_BYTES = 256 * MIB

export class KernelCopy implements GuestCopy {
  /** Without the state of devices no kernel goes on. */
  readonly isResumable = false
  readonly #kernel: CopiedKernel

  constructor(kernel: CopiedKernel) {
    this.#kernel = kernel
  }

  async *files(bytesMax: number): AsyncGenerator<GuestFile, CopyBounds> {
    const { memoryMiB, image } = this.#kernel
    const machine = { format: 1, memoryMiB, ram: 'one range', image, template: null }
    yield { name: 'machine.json', bytes: jsonBytes(machine) }
    const memoryBytes = memoryMiB * MIB
    const used = usedPages(this.#kernel.pid(), memoryBytes)
    return yield* memoryFiles(used, { memoryBytes, bytesMax })
  }
}

/** Pages that are not all zeros, in rising order, at most 1 MiB of memory each time. */
async function* usedPages(pid: number, memoryBytes: number): AsyncGenerator<readonly GuestPages[]> {
  await using file = await memoryFile(pid, memoryBytes)
  const { base, fileFrom } = layoutOf(pid, file.link, memoryBytes)
  for (const mapping of mappingsOf(pid).filter((one) => isProgram(one, base, fileFrom)))
    for await (const pages of writtenPages(pid, mapping, base)) if (pages.length > 0) yield pages
  for (let at = fileFrom; at < memoryBytes;) {
    const length = Math.min(MIB, memoryBytes - at)
    const { bytesRead, buffer } = await file.handle.read(Buffer.alloc(length), 0, length, at)
    if (bytesRead === 0) return
    const pages = changedPages(buffer.subarray(0, bytesRead), at / pageBytes)
    if (pages.length > 0) yield pages
    at += bytesRead
  }
}

/** Data of the kernel's program, which lies below the file in the same range of addresses. */
const isProgram = ({ rights, from, bytes }: Mapping, base: number, fileFrom: number) =>
  rights === 'rw-p' && from >= base && from + bytes <= base + fileFrom

async function* writtenPages(pid: number, mapping: Mapping, base: number) {
  await using memory = await MappedMemory.open(pid, mapping)
  const first = (mapping.from - base) / pageBytes
  for (const run of await memory.ownPages(MIB / pageBytes))
    yield changedPages(await memory.read(run), first + run.first)
}

/**
 * Address of the first byte of physical memory, and offset from which on the file has it. That is within the memory: a hostile
 * process could map the file far behind its end, and a terabyte would count as its program.
 */
function layoutOf(
  pid: number,
  link: string,
  memoryBytes: number,
): { readonly base: number; readonly fileFrom: number } {
  const [first] = mappingsOf(pid).filter(({ path }) => path === link)
  if (!first || first.offset > memoryBytes) throw new Error('its process maps no memory')
  return { base: first.from - first.offset, fileFrom: first.offset }
}

interface MemoryFile extends AsyncDisposable {
  readonly handle: FileHandle
  /** Path as the process sees it. */
  readonly link: string
}

async function memoryFile(pid: number, memoryBytes: number): Promise<MemoryFile> {
  const folder = `/proc/${pid}/fd`
  for (const fd of await readdir(folder)) {
    const link = await readlink(`${folder}/${fd}`).catch(() => '')
    if (!/^\/own\/#\d+ \(deleted\)$/.test(link)) continue
    const handle = await open(`${folder}/${fd}`, constants.O_RDONLY | constants.O_NONBLOCK)
    const facts = await handle.stat()
    const fits = facts.size >= memoryBytes && facts.size <= memoryBytes + FILE_SLACK_BYTES
    if (facts.isFile() && fits) return { handle, link, [Symbol.asyncDispose]: () => handle.close() }
    await handle.close()
  }
  throw new Error('none of its files looks like its memory')
}
