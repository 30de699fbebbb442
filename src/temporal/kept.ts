import type { CapturedPart } from '../contract/evidence.ts'
import type { Capture } from '../contract/provider.ts'

/** What is told of a capture: how deep it went, why no deeper, and what its parts are known by where they are kept. */
export function keptOf({ kind, why, parts }: Capture, kept: readonly CapturedPart[] = []) {
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
