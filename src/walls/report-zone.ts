import type { ZoneListener } from '../contract/provider.ts'
import type { ZoneReport } from '../contract/warden.ts'

/** Passes a report of the warden on a zone of programs to its listener. */
export function reportZone(listener: ZoneListener, told: ZoneReport): void {
  const { what, zone, kind, program, parent, entered, why = 'ended', peakBytes = 0 } = told
  const { enforced = unheld } = told
  if (what !== 'gone') listener.began(zone, kind, { program, parent, entered, enforced })
  if (what !== 'began') listener.gone(zone, why, { peakBytes })
}

/** Bounds of a zone that was ended as it was found. */
const unheld = { memory: 'none', cpu: 'none', processes: 'none' } as const
