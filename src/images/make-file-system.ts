import { createHash } from 'node:crypto'
import { closeSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../contract/error.ts'
import { diskFull, isFull } from './image-error.ts'
import { writeAll } from './package-cache.ts'
import type { Architecture } from './recipe.ts'
import { runTool } from './run-program.ts'
import type { Spool } from './spool.ts'
import { tarBlock, tarHeader, tarPadding } from './tar.ts'
import { modeOf, type ImageNode, type ImageTree } from './tree.ts'

/**
 * Writes the file system by mkfs.erofs of locked packages, started by the loader and with the libraries of the same packages:
 * its release decides the bytes, so that of the machine would give each machine other images.
 */
export interface FileSystemParts {
  readonly entries: readonly (readonly [place: string, node: ImageNode])[]
  readonly spool: Spool
  /** Files of mkfs.erofs, its libraries and the loader. */
  readonly makerTree: ImageTree
  readonly architecture: Architecture
  readonly image: string
  readonly signal: AbortSignal | undefined
}

/** Recipe of mkfs.erofs. */
export const MAKER = 'maker'
/** 1 January 1980: the earliest time that a ZIP archive can hold, which Python makes of files. */
const SECONDS = 315_532_800
const makeMsMax = 600_000
const libraries = {
  amd64: { folder: 'usr/lib/x86_64-linux-gnu', loader: 'usr/lib64/ld-linux-x86-64.so.2' },
  arm64: { folder: 'usr/lib/aarch64-linux-gnu', loader: 'usr/lib/ld-linux-aarch64.so.1' },
} as const

/** Throws MayflyError DISK_FULL and INTERNAL. */
export async function makeFileSystem(parts: FileSystemParts): Promise<void> {
  const { image, signal } = parts
  const tar = `${image}.tar`
  const digest = writeTar(parts, tar)
  const uuid = digest.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, '$1-$2-$3-$4-$5')
  const maker = writeMaker(parts)
  const { code, said } = await runTool({
    command: [
      ...maker,
      '--quiet',
      '--tar=f',
      '-zlz4hc',
      '-x-1',
      '--all-root',
      '--workers=1',
      `-T${SECONDS}`,
      '-U',
      uuid,
      image,
      tar,
    ],
    msMax: makeMsMax,
    signal,
  })
  rmSync(tar)
  if (code === 0) return
  rmSync(image, { force: true })
  if (isFull(said, image)) throw diskFull('write the file system of an image')
  throw new MayflyError('INTERNAL', `Cannot write the file system: mkfs.erofs ended with ${code}`, {
    detail: said,
  })
}

/** Writes the canonical stream, and returns its SHA-256. */
function writeTar({ entries, spool }: FileSystemParts, to: string): string {
  const hash = createHash('sha256')
  const output = openSync(to, 'wx', 0o600)
  const write = (bytes: Uint8Array) => {
    hash.update(bytes)
    writeAll(output, bytes)
  }
  try {
    // Without an entry for the root, mkfs.erofs lets everybody write to it.
    for (const [place, node] of [['.', { kind: 'folder' }] as const, ...entries]) {
      const size = node.kind === 'file' ? node.size : 0
      const target = node.kind === 'link' ? node.target : ''
      write(tarHeader({ kind: node.kind, path: place, mode: modeOf(node), size, target }, SECONDS))
      if (node.kind !== 'file') continue
      for (let at = 0; at < size; at += pieceBytes)
        write(spool.read(node.at + at, Math.min(pieceBytes, size - at)))
      write(tarPadding(size))
    }
    write(Buffer.alloc(2 * tarBlock))
  } finally {
    closeSync(output)
  }
  return hash.digest('hex')
}

const pieceBytes = 2 ** 20

/** Writes program, loader and libraries into one folder, and returns the command that starts them. */
function writeMaker({
  makerTree,
  spool,
  architecture,
  image,
}: FileSystemParts): [string, ...string[]] {
  const folder = `${image}.maker`
  mkdirSync(folder, { mode: 0o700 })
  const { folder: lib, loader } = libraries[architecture]
  const put = (from: string, name: string) => {
    const node = makerTree.resolve(from)
    if (!node)
      throw new MayflyError('INTERNAL', `Cannot find "${from}" in the packages of mkfs.erofs`)
    writeFileSync(path.join(folder, name), spool.read(node.at, node.size), { mode: 0o700 })
    return path.join(folder, name)
  }
  const program = put('usr/bin/mkfs.erofs', 'mkfs.erofs')
  for (const [place] of makerTree.sorted())
    if (path.posix.dirname(place) === lib && /\.so\.\d+$/.test(place))
      put(place, path.posix.basename(place))
  return [put(loader, 'loader'), '--library-path', folder, program]
}
