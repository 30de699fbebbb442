import { closeSync, constants, openSync, readSync } from 'node:fs'

/** A file descriptor that is closed at the end of its scope. */
export interface FileDescriptor extends Disposable {
  readonly fd: number
}

/** Opens a file as open(2) does. */
export function openDescriptor(
  path: string,
  flags: string | number,
  mode?: number,
): FileDescriptor {
  const fd = openSync(path, flags, mode)
  return { fd, [Symbol.dispose]: () => closeSync(fd) }
}

/** Opens to read, without following a symlink of that name, and without waiting for the writer of a FIFO. */
export function openToRead(path: string): FileDescriptor {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  return openDescriptor(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
}

const pieceBytes = 2 ** 20

/** Bytes of a file from its beginning, in pieces. */
export function* piecesOf({ fd }: FileDescriptor): Generator<Buffer> {
  for (let at = 0; ;) {
    const piece = readAt(fd, at, pieceBytes)
    if (piece.length === 0) return
    at += piece.length
    yield piece
  }
}

/** Bytes from a position on; fewer than `length` only if the file ends before. */
export function readAt(fd: number, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  let read = 0
  for (let got = -1; got !== 0 && read < length; read += got)
    got = readSync(fd, bytes, read, length - read, at + read)
  return bytes.subarray(0, read)
}
