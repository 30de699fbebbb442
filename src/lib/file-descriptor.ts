import { closeSync, constants, openSync, readSync, statSync } from 'node:fs'
import { attempt } from './attempt.ts'
import { doze } from './doze.ts'

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

/** True for a FIFO, which can be read once alone; false for what cannot be looked at. */
export const isPipe = (path: string): boolean => attempt(() => statSync(path).isFIFO()) === true

const plainBytesMax = 2 ** 20

/**
 * Text of a file that a configuration names, its first megabyte. Opens regular files alone: open(2) of a FIFO blocks, that of a
 * device may have an effect, which a configuration that nobody trusts yet must not have, and one such as /dev/zero never ends.
 */
export function readPlainFile(path: string): string {
  if (!statSync(path).isFile()) throw new Error('it is no plain file')
  using file = openDescriptor(path, constants.O_RDONLY | constants.O_NONBLOCK)
  return readAt(file.fd, 0, plainBytesMax).toString('utf8')
}

const writerMsMax = 2_000
const pipeStepMs = 5

/**
 * Bytes of a pipe that was opened with O_NONBLOCK, `length` at most; waits for its writer as long as that has it open. The
 * writer of a FIFO may open it in the same moment, so that an empty one gets `writerMsMax`. Throws Error without any bytes.
 */
export function readPipe(fd: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  let read = 0
  for (let waited = 0; read < length && waited < writerMsMax;) {
    const got = readNow(fd, bytes, read)
    if (got === 0 && read > 0) return bytes.subarray(0, read)
    read += got ?? 0
    if (got) continue
    doze(pipeStepMs)
    if (got === 0) waited += pipeStepMs
  }
  if (read === 0) throw new Error('it is a pipe that nothing was written to')
  return bytes.subarray(0, read)
}

/** Bytes that were read, 0 at the end, undefined if there are none yet. */
function readNow(fd: number, bytes: Buffer, at: number): number | undefined {
  try {
    return readSync(fd, bytes, at, bytes.length - at, null)
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'EAGAIN') return undefined
    throw thrown
  }
}
