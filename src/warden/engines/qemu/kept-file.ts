import { lstatSync } from 'node:fs'
import { fileSha256 } from '../../../lib/file-sha256.ts'

/**
 * A file that must not change after it was hashed. A look at its inode is cheap enough for each use: a write, also through a
 * shared map, sets its change time, which only a change of the system's clock can set back. The hash is for an answer that
 * is sure.
 */
export interface KeptFile {
  readonly path: string
  readonly sha256: string
  readonly inode: string
}

/** Hashes in pieces, so that the caller's loop goes on. Rejects with the error of the file system. */
export async function keptFile(path: string): Promise<KeptFile> {
  const inode = inodeOf(path)
  return { path, sha256: await fileSha256(path), inode }
}

/** Cause for which it is not the file that was hashed, by its inode alone. */
export function whyNotKept({ path, inode }: KeptFile): string | undefined {
  try {
    return inodeOf(path) === inode ? undefined : `"${path}" was changed`
  } catch {
    return `"${path}" is missing`
  }
}

/** The same, by its bytes. */
export async function whyNotKeptWhole(file: KeptFile): Promise<string | undefined> {
  const why = whyNotKept(file)
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
