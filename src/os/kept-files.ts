import { closeSync, openSync, readSync } from 'node:fs'
import path from 'node:path'
import { resourceLimit } from './libc.js'
import { withReservedFd } from './read.ts'

/**
 * Files of one cgroup by descriptors that stay open: a read is one pread(2) instead of open, read, read, close. kernfs
 * generates the text at each read from offset 0, and returns ENODEV once the group is removed; an open file does not
 * prevent its removal. Read-only. Beyond `keptMax` descriptors of this process, and at EMFILE, a file is opened for
 * each read.
 */
export class KeptFiles {
  readonly #fds = new Map<string, number>()

  /** The whole text, of at most 16 KiB. Throws the error of the file system. */
  read(folder: string, file: string): string {
    const place = path.join(folder, file)
    const kept = this.#fds.get(place)
    if (kept !== undefined) return textOf(kept)
    return withReservedFd(() => this.#open(place))
  }

  /** Closes all; a later read opens the file again. */
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
/** Share of the descriptors of this process; the others are for sockets of walls. */
const PART_KEPT = 0.25
const text = Buffer.alloc(TEXT_BYTES_MAX)
let count = 0
let most: number | undefined

/** Limit of open descriptors of all instances together. */
function keptMax(): number {
  return (most ??= Math.floor(resourceLimit('nofile') * PART_KEPT))
}

function textOf(fd: number): string {
  return text.toString('latin1', 0, readSync(fd, text, 0, TEXT_BYTES_MAX, 0))
}
