import {
  chmodSync,
  constants,
  fchmodSync,
  fstatSync,
  futimesSync,
  mkdirSync,
  readlinkSync,
  readSync,
  symlinkSync,
  writeSync,
} from 'node:fs'
import path from 'node:path'
import { setImmediate as yieldOnce } from 'node:timers/promises'
import { MayflyError } from '../contract/error.ts'
import { asOwner } from '../lib/owner-files.ts'
import { whyUnreadable } from '../lib/why-unreadable.ts'
import { type FileDescriptor, openDescriptor } from '../lib/file-descriptor.ts'
import type { Survey, SurveyedFile } from './survey.ts'

const CHUNK_BYTES = 2 ** 20
/** Files copied between yields to the event loop: some milliseconds. */
const FILES_AT_ONCE = 32
/** Never blocks on a FIFO nor acquires a controlling terminal. */
const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY
const FOLDER_MODE = 0o755

/**
 * Copies the surveyed tree from `root` into the empty folder `to`. TOCTOU: the owner of the source may change it
 * during the copy, so each file is opened with O_NOFOLLOW, its real path is read back from the fd, and at most its
 * surveyed size is copied. Owners and set-uid bits are dropped; mtimes are kept, because compiled Python is validated
 * by them. Throws MayflyError USAGE if the source changed.
 */
export async function copyTree(root: string, to: string, { folders, files, links }: Survey) {
  for (const folder of folders) mkdirSync(path.join(to, folder), { mode: FOLDER_MODE })
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
  let copied = 0
  for (const file of files) {
    if (copied++ % FILES_AT_ONCE === 0) await yieldOnce()
    copyFile(root, to, file, chunk)
  }
  for (const link of links) symlinkSync(link.target, path.join(to, link.path))
  // chmod explicitly: the umask may have removed bits that other uids need.
  for (const folder of ['', ...folders]) chmodSync(path.join(to, folder), FOLDER_MODE)
}

function copyFile(root: string, to: string, file: SurveyedFile, chunk: Buffer): void {
  const place = path.join(root, file.path)
  using source = openWithin(place)
  const from = source.fd
  if (readlinkSync(`/proc/self/fd/${from}`) !== place) throw changed(place)
  const facts = fstatSync(from)
  const { size, mtimeMs } = facts
  if (!facts.isFile() || size !== file.size || mtimeMs !== file.modifiedMs) throw changed(place)
  using target = openDescriptor(path.join(to, file.path), 'wx', 0o600)
  copyBytes(from, target.fd, size, chunk, place)
  if (fstatSync(from).size !== size) throw changed(place)
  fchmodSync(target.fd, file.isExecutable ? 0o755 : 0o644)
  futimesSync(target.fd, file.modifiedMs / 1000, file.modifiedMs / 1000)
}

function openWithin(place: string): FileDescriptor {
  try {
    return asOwner(place, (at) => openDescriptor(at, READ), false)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ELOOP' || code === 'ENOTDIR') throw changed(place)
    const { because, ...hint } = whyUnreadable(place, cause)
    throw new MayflyError('USAGE', `Cannot read "${place}": ${because}`, { ...hint, cause })
  }
}

function copyBytes(from: number, into: number, size: number, chunk: Buffer, place: string): void {
  for (let at = 0; at < size;) {
    const got = readSync(from, chunk, 0, Math.min(chunk.length, size - at), at)
    if (got === 0) throw changed(place)
    for (let written = 0; written < got;)
      written += writeSync(into, chunk, written, got - written, at + written)
    at += got
  }
}

function changed(place: string): MayflyError {
  return new MayflyError('USAGE', `Cannot copy "${place}": it changed while it was copied`, {
    hint: 'Run it again when nothing is being installed there',
  })
}
