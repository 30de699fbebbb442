import { closeSync, openSync, readSync } from 'node:fs'
import path from 'node:path'
import { resourceLimit } from './libc.js'
import { withReservedFd } from './read.ts'

/**
 * Files of one control group by descriptors that stay open: a read is one pread(2) in place of open, read, read, close.
 * kernfs makes the text anew at each read from offset 0, and answers ENODEV once the group is removed; an open file keeps
 * no group from being removed. Opened for reading alone. Beyond `keptMax` descriptors of this process, and at EMFILE, a
 * file is opened for each read.
 */
export class KeptFiles {
  readonly #fds = new Map<string, number>()

  /** The whole text, of at most 16 KiB. Throws what the file system does. */
  read(folder: string, file: string): string {
    const place = path.join(folder, file)
    const kept = this.#fds.get(place)
    if (kept !== undefined) return textOf(kept)
    return withReservedFd(() => this.#open(place))
  }

  /** Closes all; a later read opens anew. */
  close(): void {
    for (const fd of this.#fds.values()) closeSync(fd)
    count -= this.#fds.size
    this.#fds.clear()
  }

  #open(place: string): string {
    const fd = openSync(place, 'r')
    try {
      const text = textOf(fd)
      if (count < keptMax()) this.#fds.set(place, fd)
      return text
    } finally {
      if (this.#fds.get(place) === fd) count++
      else closeSync(fd)
    }
  }
}

const TEXT_BYTES_MAX = 16_384
/** Part of the descriptors of this process; the others are for sockets of walls. */
const PART_KEPT = 0.25
const text = Buffer.alloc(TEXT_BYTES_MAX)
let count = 0
let most: number | undefined

/** Number of descriptors that all instances keep together at most. */
function keptMax(): number {
  return (most ??= Math.floor(resourceLimit('nofile') * PART_KEPT))
}

function textOf(fd: number): string {
  return text.toString('latin1', 0, readSync(fd, text, 0, TEXT_BYTES_MAX, 0))
}
