import { closeSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { resourceLimit } from './libc.js'
import { withReservedFd } from './read.ts'

/**
 * Files of one cgroup by descriptors that stay open: a read is one pread(2) instead of open, read, read, close. kernfs
 * generates the text at each read from offset 0, and returns ENODEV once the group is removed; an open file does not
 * prevent its removal. Read-only. Beyond `openFilesMax` descriptors of this process, and at EMFILE, a file is opened for
 * each read.
 */
export class OpenFileCache {
  readonly #fds = new Map<string, number>()

  /** The whole text, of at most 16 KiB. Throws the error of the file system. */
  read(folder: string, file: string): string {
    const path = join(folder, file)
    const open = this.#fds.get(path)
    if (open !== undefined) return textOf(open)
    return withReservedFd(() => this.#open(path))
  }

  /** Closes all; a later read opens the file again. */
  close(): void {
    for (const fd of this.#fds.values()) closeSync(fd)
    count -= this.#fds.size
    this.#fds.clear()
  }

  #open(path: string): string {
    const fd = openSync(path, 'r')
    try {
      const text = textOf(fd)
      if (count < openFilesMax()) this.#fds.set(path, fd)
      return text
    } finally {
      if (this.#fds.get(path) === fd) count++
      else closeSync(fd)
    }
  }
}

const TEXT_BYTES_MAX = 16_384
/** Share of the descriptors of this process; the others are for sockets of walls. */
const OPEN_SHARE = 0.25
const text = Buffer.alloc(TEXT_BYTES_MAX)
let count = 0
let most: number | undefined

/** Limit of cached descriptors of all instances together. */
function openFilesMax(): number {
  return (most ??= Math.floor(resourceLimit('nofile') * OPEN_SHARE))
}

function textOf(fd: number): string {
  return text.toString('latin1', 0, readSync(fd, text, 0, TEXT_BYTES_MAX, 0))
}
