import type { CapturedPart } from './evidence.ts'
import type { Capture } from './provider.ts'

/** Deadline for a capture by a wall whose guest is frozen, in milliseconds. */
export const captureMsMax = 5000
/** Longest wait of a life for captures of other lives, in milliseconds. */
export const captureWaitMsMax = 5000

/** Public summary of a capture: its depth, why no deeper, and the stored names of its parts. */
export function captureSummary({ kind, why, parts }: Capture, kept: readonly CapturedPart[] = []) {
  return {
    kind,
    ...(why !== undefined && { why }),
    ...(parts.length > 0 && { parts: kept.length > 0 ? kept : sizesOf(parts) }),
  }
}

function sizesOf(parts: Capture['parts']) {
  return parts.map(({ name, bytes }) => ({
    name,
    size: bytes.reduce((sum, piece) => sum + piece.byteLength, 0),
  }))
}
