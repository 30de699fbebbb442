import { lstatSync } from 'node:fs'
import { fileSha256 } from '../../../lib/file-sha256.ts'

/**
 * A file that must not change after it was hashed. Comparing its inode is cheap enough for each use: a write, also through a
 * shared mapping, sets its change time, which only a change of the system clock can set back. Comparing the hash is certain.
 */
export interface HashedFile {
  readonly path: string
  readonly sha256: string
  readonly inode: string
}

/** Hashes in pieces, without blocking the event loop. Rejects with the error of the file system. */
export async function hashFile(path: string): Promise<HashedFile> {
  const inode = inodeOf(path)
  return { path, sha256: await fileSha256(path), inode }
}

/** Reason why the file differs from the hashed one, judged by its inode alone; undefined if it does not. */
export function whyChanged({ path, inode }: HashedFile): string | undefined {
  try {
    return inodeOf(path) === inode ? undefined : `"${path}" was changed`
  } catch {
    return `"${path}" is missing`
  }
}

/** Reason why the file differs from the hashed one, judged by inode and bytes. */
export async function whyBytesChanged(file: HashedFile): Promise<string | undefined> {
  const why = whyChanged(file)
  if (why) return why
  const found = await fileSha256(file.path).catch(() => undefined)
  return found === file.sha256 ? undefined : `"${file.path}" has other bytes`
}

function inodeOf(path: string): string {
  const facts = lstatSync(path, { bigint: true })
  if (!facts.isFile()) throw new Error(`"${path}" is no file`)
  const { dev, ino, size, mtimeNs, ctimeNs } = facts
  return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
}
