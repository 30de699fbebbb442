import {
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { CapturedPart } from '../contract/evidence.ts'
import { openDescriptor } from '../lib/file-descriptor.ts'
import { draftOf } from '../lib/replace-file.ts'
import { nonZeroRanges } from '../lib/sparse.ts'

/**
 * Writes each part to its own file (mode 0600) below a folder; returns the paths. A file appears only once its part
 * is read and verified; existing files stay. Throws MayflyError.
 */
export async function writeParts(
  folder: string,
  parts: readonly Pick<CapturedPart, 'name'>[],
  write: (name: string, out: number) => Promise<void>,
): Promise<readonly string[]> {
  const written: string[] = []
  for (const { name } of parts) {
    const path = join(folder, name)
    await writeOne(path, (out) => write(name, out))
    written.push(path)
  }
  return written
}

/** Writes to an empty file; zeros become holes, since most of a memory image is zeros. To other descriptors it writes all. */
export async function writePieces(out: number, pieces: AsyncIterable<Uint8Array>): Promise<void> {
  const isSparse = isEmptyFile(out)
  let at = 0
  for await (const piece of pieces) {
    if (isSparse) for (const range of nonZeroRanges(piece)) writeAt(out, range.bytes, at + range.at)
    else writeFileSync(out, piece)
    at += piece.length
  }
  if (isSparse) ftruncateSync(out, at)
}

/** False where that cannot be known. A file opened with O_APPEND ignores the position of a write (pwrite(2)). */
export function isEmptyFile(fd: number): boolean {
  try {
    const facts = fstatSync(fd)
    if (!facts.isFile() || facts.size > 0) return false
    const info = readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1')
    const flags = Number.parseInt(/^flags:\s+(\d+)$/m.exec(info)![1]!, 8)
    return (flags & constants.O_APPEND) === 0
  } catch {
    return false
  }
}

function writeAt(out: number, bytes: Uint8Array, at: number): void {
  for (let done = 0; done < bytes.length;)
    done += writeSync(out, bytes, done, bytes.length - done, at + done)
}

async function writeOne(path: string, write: (out: number) => Promise<void>): Promise<void> {
  if (existsSync(path)) throw cannot(path, 'it is there already')
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  } catch (thrown) {
    throw cannot(path, messageOf(thrown), thrown)
  }
  await writeWhole(path, write)
}

/** Writes all or nothing: a partial file would look like a truncated one. Throws MayflyError STATE, and those of `write`. */
export async function writeWhole(
  path: string,
  write: (out: number) => Promise<void>,
): Promise<void> {
  const draft = draftOf(path)
  try {
    {
      using out = openDescriptor(draft, 'wx', 0o600)
      await write(out.fd)
      fsyncSync(out.fd)
    }
    renameSync(draft, path)
  } catch (thrown) {
    rmSync(draft, { force: true })
    throw thrown instanceof MayflyError ? thrown : cannot(path, messageOf(thrown), thrown)
  }
}

function cannot(path: string, why: string, cause?: unknown): MayflyError {
  return new MayflyError('STATE', `Cannot write "${path}": ${why}`, { cause })
}
