import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../contract/error.ts'
import { imageSeconds, writeCanonicalTar, type ImageEntry } from './canonical-tar.ts'
import { diskFull, saysDiskFull } from './image-error.ts'
import type { Architecture } from './recipe.ts'
import { runTool } from './run-program.ts'
import type { Spool } from './spool.ts'
import type { ImageNode, ImageTree } from './tree.ts'

/**
 * Writes the file system with mkfs.erofs of locked packages, started by the loader and libraries of those packages:
 * its output depends on its release, so the machine's own mkfs.erofs would give other images on each machine.
 */
export interface FileSystemParts {
  readonly entries: readonly ImageEntry[]
  readonly spool: Spool
  /** Files of mkfs.erofs, its libraries and the loader. */
  readonly makerTree: ImageTree
  readonly architecture: Architecture
  readonly image: string
  readonly signal: AbortSignal | undefined
}

/** Recipe of mkfs.erofs. */
export const MAKER = 'maker'
const makeMsMax = 600_000
/** Folder of libraries, and the loader, in Debian's packages. */
export const libraries = {
  amd64: { folder: 'usr/lib/x86_64-linux-gnu', loader: 'usr/lib64/ld-linux-x86-64.so.2' },
  arm64: { folder: 'usr/lib/aarch64-linux-gnu', loader: 'usr/lib/ld-linux-aarch64.so.1' },
} as const

/** Throws MayflyError DISK_FULL and INTERNAL. */
export async function makeFileSystem(parts: FileSystemParts): Promise<void> {
  const { image, signal } = parts
  const tar = `${image}.tar`
  const { entries, spool } = parts
  const read = (_: string, node: Extract<ImageNode, { kind: 'file' }>) => spooled(spool, node)
  const digest = writeCanonicalTar({ entries, read, to: tar })
  const maker = writeErofsTool('mkfs.erofs', { ...parts, folder: `${image}.maker` })
  const { code, stderr } = await runTool({
    command: [
      ...maker,
      '--quiet',
      '--tar=f',
      '-zlz4hc',
      '-x-1',
      '--all-root',
      '--workers=1',
      `-T${imageSeconds}`,
      '-U',
      uuidOf(digest),
      image,
      tar,
    ],
    msMax: makeMsMax,
    signal,
  })
  rmSync(tar)
  if (code === 0) return
  rmSync(image, { force: true })
  if (saysDiskFull(stderr, image)) throw diskFull('write the file system of an image')
  throw new MayflyError('INTERNAL', `Cannot write the file system: mkfs.erofs ended with ${code}`, {
    detail: stderr,
  })
}

const pieceBytes = 2 ** 20

function* spooled(spool: Spool, { at, size }: { readonly at: number; readonly size: number }) {
  for (let from = 0; from < size; from += pieceBytes)
    yield spool.read(at + from, Math.min(pieceBytes, size - from))
}

/** UUID of an image's file system: the beginning of the SHA-256 of its canonical stream. */
export function uuidOf(digest: string): string {
  return digest.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, '$1-$2-$3-$4-$5')
}

export interface ErofsToolParts {
  readonly makerTree: ImageTree
  readonly spool: Spool
  readonly architecture: Architecture
  /** Folder that must not exist. */
  readonly folder: string
}

/** Writes a program of erofs-utils, its loader and libraries into one folder; returns the command that starts it. */
export function writeErofsTool(
  program: 'mkfs.erofs' | 'fsck.erofs',
  { makerTree, spool, architecture, folder }: ErofsToolParts,
): [string, ...string[]] {
  mkdirSync(folder, { mode: 0o700 })
  const { folder: lib, loader } = libraries[architecture]
  const put = (from: string, name: string) => {
    const node = makerTree.resolve(from)
    if (!node)
      throw new MayflyError('INTERNAL', `Cannot find "${from}" in the packages of ${program}`)
    writeFileSync(path.join(folder, name), spool.read(node.at, node.size), { mode: 0o700 })
    return path.join(folder, name)
  }
  const file = put(`usr/bin/${program}`, program)
  for (const [place] of makerTree.sorted())
    if (path.posix.dirname(place) === lib && /\.so\.\d+$/.test(place))
      put(place, path.posix.basename(place))
  return [put(loader, 'loader'), '--library-path', folder, file]
}
