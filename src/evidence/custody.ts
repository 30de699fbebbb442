import type { Point } from '../contract/event.ts'
import type { Evidence } from '../contract/evidence.ts'
import { MayflyError } from '../contract/error.ts'
import type { KeepCapture } from '../contract/pipeline.ts'
import type { Bodies } from './bodies.ts'
import {
  askedCaptures,
  createCaptures,
  forgetCapture,
  keptCaptures,
  readCaptured,
} from './captures.ts'

export interface Custody {
  readonly keep: KeepCapture
  readonly evidence: Evidence
}

export interface CustodyParts {
  readonly bodies: () => Bodies
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** Bytes of captures that one tenant asked for; of more than that the oldest go. */
  readonly askedBytesMax?: number
  /** How many of them. */
  readonly askedMax?: number
  /** Writes a line of the record. Throws MayflyError STATE. */
  readonly tell: (
    point: Point,
    fields: Readonly<Record<string, unknown>>,
    about: { readonly run: string; readonly tenant: string; readonly actor: string },
  ) => void
}

/** Whoever asks for many captures has the newest of them, and what others have does not go for it. */
export const askedBytes = 256 * 2 ** 20
/** What is kept beside a capture takes room and time also where the capture has hardly any bytes. */
export const askedCount = 500

/**
 * Keeps what walls had to show, and gives it to whoever may see it. Either has its line: what was kept is told with its
 * digests, so that whoever reads it later can tell it from what somebody put there, and nobody reads it unseen.
 */
export function createCustody({
  bodies,
  now,
  tell,
  askedBytesMax = askedBytes,
  askedMax = askedCount,
}: CustodyParts): Custody {
  const keep = createCaptures(bodies, now)
  return {
    async keep(of, capture) {
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
    },
    evidence: {
      of(run, { tenant }) {
        const kept = keptCaptures(bodies(), { tenant, run })
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

/** All of them count, however many came after them. */
async function forgetBeyond(
  bodies: Bodies,
  tenant: string,
  bytesMax: number,
  countMax: number,
): Promise<void> {
  let total = 0
  const beyond = askedCaptures(bodies, tenant).filter(
    ({ size }, at) => (total += size) > bytesMax || at >= countMax,
  )
  for (const { run, name } of beyond.toReversed())
    await forgetCapture(bodies, { tenant, run, name })
}
