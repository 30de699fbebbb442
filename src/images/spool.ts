import { closeSync, openSync, writeFileSync } from 'node:fs'
import { readAt } from '../lib/file-descriptor.ts'

/** Bytes of all files of an image, concatenated in one file. */
export interface Spool extends Disposable {
  readonly descriptor: number
  readonly size: number
  /** Returns the offset of the first byte. */
  write(bytes: Uint8Array): number
  /** Accounts for bytes that were written to the fd directly. */
  skip(bytes: number): void
  read(at: number, size: number): Buffer
}

const readBytesMax = 2 ** 30

export function openSpool(path: string): Spool {
  const descriptor = openSync(path, 'wx+', 0o600)
  let size = 0
  return {
    descriptor,
    get size() {
      return size
    },
    write(bytes) {
      writeFileSync(descriptor, bytes)
      size += bytes.length
      return size - bytes.length
    },
    skip(bytes) {
      size += bytes
    },
    read(at, length) {
      if (length > readBytesMax) throw new RangeError('a file of it is too large')
      const bytes = readAt(descriptor, at, length)
      if (bytes.length < length) throw new Error('its spool file is too short')
      return bytes
    },
    [Symbol.dispose]: () => closeSync(descriptor),
  }
}
