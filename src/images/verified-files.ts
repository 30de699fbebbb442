import { lstatSync } from 'node:fs'

const FILES_MAX = 64

/**
 * Digests that files were found to have, so that a large file is hashed once and not at each use. Any change of a file changes its
 * time of change (ctime), which only the kernel sets, or its inode. For checks before a copy or a read that hashes the bytes again:
 * between this check and the use the file may be replaced.
 */
export class VerifiedFiles {
  /** By path. */
  readonly #known = new Map<string, string>()

  /** True if the file was found right before and has not changed since, or if `isRight` says so now; a failure is not kept. */
  check(file: string, digest: string, isRight: () => boolean): boolean {
    const identity = identityOf(file, digest)
    if (identity !== undefined && this.#known.get(file) === identity) return true
    this.#known.delete(file)
    // Changed while it was hashed: right now, and to be hashed again.
    if (!isRight()) return false
    if (identity !== undefined && identity === identityOf(file, digest))
      this.#known.set(file, identity)
    if (this.#known.size > FILES_MAX) this.#known.delete(this.#known.keys().next().value!)
    return true
  }
}

function identityOf(file: string, digest: string): string | undefined {
  const stats = lstatSync(file, { throwIfNoEntry: false, bigint: true })
  return stats && [digest, stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(' ')
}
