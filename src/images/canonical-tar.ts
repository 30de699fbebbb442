import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { openDescriptor } from '../lib/file-descriptor.ts'
import { tarEnd, tarPadding } from '../lib/tar.ts'
import { tarHeader } from './tar.ts'
import { modeOf, type ImageNode } from './tree.ts'

export type ImageEntry = readonly [place: string, node: ImageNode]

/** 1 January 1980: the earliest time of a ZIP archive, so that Python can zip files of an image. */
export const imageSeconds = 315_532_800

export interface CanonicalTar {
  /** Sorted by path, parents first. */
  readonly entries: readonly ImageEntry[]
  /** Returns the bytes of a file in pieces, whose lengths add up to its size. */
  readonly read: (place: string, node: Extract<ImageNode, { kind: 'file' }>) => Iterable<Uint8Array>
  /** Output file, which must not exist; without it the stream is only hashed. */
  readonly to?: string
}

/** Writes the stream that an image is made of, and returns its SHA-256. Deterministic for equal files. */
export function writeCanonicalTar({ entries, read, to }: CanonicalTar): string {
  const hash = createHash('sha256')
  using output = to === undefined ? undefined : openDescriptor(to, 'wx', 0o600)
  const write = (bytes: Uint8Array) => {
    hash.update(bytes)
    if (output) writeFileSync(output.fd, bytes)
  }
  // Without an entry for the root, mkfs.erofs makes the root world-writable.
  for (const [place, node] of [['.', { kind: 'folder' }] as const, ...entries]) {
    const size = node.kind === 'file' ? node.size : 0
    const target = node.kind === 'link' ? node.target : ''
    const header = { kind: node.kind, path: place, mode: modeOf(node), size, target }
    write(tarHeader(header, imageSeconds))
    if (node.kind !== 'file') continue
    for (const piece of read(place, node)) write(piece)
    write(tarPadding(size))
  }
  write(tarEnd)
  return hash.digest('hex')
}
