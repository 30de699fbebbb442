import os from 'node:os'

/**
 * Limit of artifact bytes that this server holds for all sandboxes of programs together: they are in the server's memory,
 * so no limit of the wall bounds them.
 */
export interface ArtifactCap {
  /** Reserves bytes; false, without a reservation, if they do not fit. */
  take(bytes: number): boolean
  giveBack(bytes: number): void
}

const CAP_BYTES_MAX = 2 ** 30
/** An eighth of the memory of jobs, which is 60 % of the machine's. */
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
