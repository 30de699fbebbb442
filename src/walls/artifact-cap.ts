import os from 'node:os'

/**
 * Bytes of artifacts that this server holds for all sandboxes of programs together: a guest fills them without using any
 * memory of its own wall, so nothing that holds the wall bounds them.
 */
export interface ArtifactCap {
  /** Returns false, and takes nothing, where they do not fit. */
  take(bytes: number): boolean
  giveBack(bytes: number): void
}

const CAP_BYTES_MAX = 2 ** 30
/** An eighth of the 60 % of memory that jobs may have. */
const SHARE_OF_MEMORY = 0.6 / 8

export function createArtifactCap(bytesMax: number): ArtifactCap {
  let held = 0
  return {
    take(bytes) {
      if (held + bytes > bytesMax) return false
      held += bytes
      return true
    },
    giveBack(bytes) {
      held -= bytes
    },
  }
}

export const artifactCap = createArtifactCap(
  Math.min(
    CAP_BYTES_MAX,
    Math.min(os.totalmem(), process.constrainedMemory() || Infinity) * SHARE_OF_MEMORY,
  ),
)
