import type { Point } from '../contract/event.ts'
import type { Evidence } from '../contract/evidence.ts'
import { MayflyError } from '../contract/error.ts'
import type { KeepCapture } from '../contract/pipeline.ts'
import { type Bodies, forgetExpired } from './bodies.ts'
import type { MemoryBases } from './memory-bases.ts'
import {
  requestedCaptures,
  createCaptures,
  forgetCapture,
  storedCaptures,
  readCaptured,
} from './captures.ts'

export interface Custody {
  readonly keep: KeepCapture
  readonly evidence: Evidence
}

export interface CustodyParts {
  readonly bodies: () => Bodies
  /** Store of template memory; without it a capture of a clone reports that memory as missing. */
  readonly bases?: MemoryBases
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** Byte limit of captures requested by one tenant; the oldest are evicted. */
  readonly askedBytesMax?: number
  /** Count limit of the same. */
  readonly askedMax?: number
  /** Appends an audit line. Throws MayflyError STATE. */
  readonly tell: (
    point: Point,
    fields: Readonly<Record<string, unknown>>,
    about: { readonly run: string; readonly tenant: string; readonly actor: string },
  ) => void
}

/** Per-tenant limit, so that requesting many captures evicts only the requester's own. */
export const requestedBytesMax = 256 * 2 ** 20
/** Count limit, because an almost empty capture also takes space and time. */
export const requestedCountMax = 500

/**
 * Stores captures and serves them to authorised readers. Both leave an audit line: digests of what was stored prove
 * later that it is unchanged, and every read is recorded before it starts.
 */
export function createCustody({
  bodies,
  bases,
  now,
  tell,
  askedBytesMax = requestedBytesMax,
  askedMax = requestedCountMax,
}: CustodyParts): Custody {
  const keep = createCaptures(bodies, now, bases)
  return {
    async keep(of, capture) {
      try {
        const parts = await keep(of, capture)
        const { run, tenant, because } = of
        if (parts.length > 0)
          tell(
            'evidence/kept',
            { because, kind: capture.kind, parts },
            { run, tenant, actor: 'evidence' },
          )
        if (because === 'asked') await forgetBeyond(bodies(), tenant, askedBytesMax, askedMax)
        return parts
      } finally {
        // Also after a capture that found no room. Others wait for the end of this one, so not for the sweep: it deletes
        // the bodies of all. A failed one is retried at the next capture.
        void forgetExpired(bodies(), now()).catch(() => undefined)
      }
    },
    evidence: {
      of(run, { tenant }) {
        const kept = storedCaptures(bodies(), { tenant, run })
        if (kept.length > 0) return kept.toReversed()
        throw new MayflyError('NOT_FOUND', 'Cannot find evidence of this execution')
      },
      read(run, name, by) {
        const found = readCaptured(bodies(), { tenant: by.tenant, run }, name)
        tell('evidence/read', { ...found.part }, { run, tenant: found.tenant, actor: by.principal })
        return found
      },
    },
  }
}

/** Counts all of them, with no limit on how many. */
async function forgetBeyond(
  bodies: Bodies,
  tenant: string,
  bytesMax: number,
  countMax: number,
): Promise<void> {
  let total = 0
  const beyond = requestedCaptures(bodies, tenant).filter(
    ({ size }, at) => (total += size) > bytesMax || at >= countMax,
  )
  for (const { run, name } of beyond.toReversed())
    await forgetCapture(bodies, { tenant, run, name })
}
