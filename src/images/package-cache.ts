import { createHash } from 'node:crypto'
import { existsSync, fsyncSync, lstatSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../contract/error.ts'
import { cacheFolder, makeCacheFolder } from '../lib/cache-folder.ts'
import {
  type FileDescriptor,
  openDescriptor,
  openToRead,
  piecesOf,
} from '../lib/file-descriptor.ts'
import { ownSource } from './apt-source.ts'
import { diskFull, imageError, saysDiskFull } from './image-error.ts'
import type { LockedPackage } from './recipe.ts'
import { runTool } from './run-program.ts'

/**
 * Packages by their SHA-256 as in the locks. A package is renamed to its final name after its bytes were checked, and
 * hashed again on each use: a build copies it and hashes the copy, so that the checked bytes are the unpacked ones
 * (TOCTOU).
 */
export interface PackageCache {
  readonly folder: string
  has(one: LockedPackage): boolean
  /** Downloads into `work`, checks, and stores. Throws MayflyError PACKAGE_BROKEN, UNAVAILABLE and DISK_FULL. */
  fetch(one: LockedPackage, work: string, signal?: AbortSignal): Promise<void>
  /** Copies a package to `to`. Throws MayflyError PACKAGE_BROKEN if its bytes do not match the lock. */
  take(one: LockedPackage, to: string): void
}

const HELPER = '/usr/lib/apt/apt-helper'
const fetchMsMax = 300_000

/** Cache folder of this user. */
export function packageFolder(): string {
  return cacheFolder('packages')
}

export function openPackageCache(folder: string): PackageCache {
  const placeOf = (one: LockedPackage) => path.join(folder, `${one.sha256}.deb`)
  return {
    folder,
    has: (one) => existsSync(placeOf(one)),
    async fetch(one, work, signal) {
      makeCacheFolder(folder, 0o755)
      const draft = path.join(work, 'download.deb')
      await download(one, draft, signal)
      const kept = path.join(folder, `.${one.sha256}.${process.pid}`)
      try {
        copyChecked(one, draft, kept, 'downloaded')
        renameSync(kept, placeOf(one))
      } finally {
        rmSync(kept, { force: true })
        rmSync(draft, { force: true })
      }
    },
    take: (one, to) => copyChecked(one, placeOf(one), to, 'cached'),
  }
}

/**
 * Uses apt's own downloader: it knows the proxy and credentials of this machine, and stops at the size and hash of the
 * lock.
 */
async function download(one: LockedPackage, to: string, signal?: AbortSignal): Promise<void> {
  const source = ownSource()
  const named = `download package "${one.name}" ${one.version}`
  if (!source || !existsSync(HELPER))
    throw new MayflyError('UNAVAILABLE', `Cannot ${named}: apt has no Debian mirror here`, {
      hint: 'Copy the cached packages of another machine, and name their folder with --packages',
    })
  const hashes = [`SHA256:${one.sha256}`, `Checksum-FileSize:${one.size}`]
  const { code, stderr } = await runTool({
    command: [HELPER, 'download-file', `${source.address}/${one.file}`, to, ...hashes],
    msMax: fetchMsMax,
    hasEnvironment: true,
    signal,
  })
  rmSync(`${to}.FAILED`, { force: true })
  if (code === 0) return
  if (saysDiskFull(stderr, to)) throw diskFull(named)
  if (/Hash Sum mismatch|unexpected size/i.test(stderr))
    throw new MayflyError('PACKAGE_BROKEN', `Cannot ${named}: it differs from the lock`, {
      hint: 'The mirror has other bytes under this name: do not use it',
    })
  const reason = /404 /.test(stderr)
    ? 'the mirror no longer has it'
    : 'the mirror cannot be reached'
  throw new MayflyError('UNAVAILABLE', `Cannot ${named}: ${reason}`, {
    hint: 'A newer Mayfly has newer locks; cached packages of another machine can be named with --packages',
    detail: stderr,
  })
}

/** Copies at most one byte more than the lock allows, follows no link, and hashes the copied bytes. */
function copyChecked(one: LockedPackage, from: string, to: string, kind: string): void {
  const broken = (why: string) =>
    new MayflyError('PACKAGE_BROKEN', `Cannot use the ${kind} package "${one.name}": ${why}`, {
      hint: kind === 'cached' ? `Remove it, and it is downloaded again: "${from}"` : 'Try again',
    })
  if (!lstatSync(from, { throwIfNoEntry: false })?.isFile())
    throw broken('it is not a regular file')
  using input = openToRead(from)
  try {
    using output = openDescriptor(to, 'wx', 0o644)
    const { size, sha256 } = copyHashed(input, output.fd, one.size + 1)
    if (size < one.size) throw broken(`it has ${size} bytes, not ${one.size}`)
    if (size > one.size) throw broken(`it has more than ${one.size} bytes`)
    if (sha256 !== one.sha256) throw broken('its SHA-256 is not that of the lock')
    fsyncSync(output.fd)
  } catch (thrown) {
    rmSync(to, { force: true })
    throw imageError(`copy package "${one.name}"`, thrown)
  }
}

/** Copies up to `bytesMax` bytes. */
export function copyHashed(
  input: FileDescriptor,
  output: number,
  bytesMax: number,
): { readonly size: number; readonly sha256: string } {
  const hash = createHash('sha256')
  let size = 0
  for (const piece of piecesOf(input)) {
    const bytes = piece.subarray(0, bytesMax - size)
    hash.update(bytes)
    writeFileSync(output, bytes)
    size += bytes.length
    if (size === bytesMax) break
  }
  return { size, sha256: hash.digest('hex') }
}
